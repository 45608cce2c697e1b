//! Many sessions at once: how long each step takes, what it costs the API server, and how much memory the operator holds.

use crate::{ApiServer, Operator, Requests};
use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Creations under way at a time.
const CREATORS: usize = 16;
/// Of a call that got no answer.
const TRIES: u32 = 5;
/// Every so many are told of.
const TOLD: usize = 500;
/// Steps in the order in which they come.
const STEPS: [ConditionType; 4] = [
    ConditionType::WorkerReady,
    ConditionType::IngestReady,
    ConditionType::EgressActive,
    ConditionType::Ready,
];

/// What a run showed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// Sessions.
    pub sessions: usize,
    /// Seconds from the first creation to the last Ready.
    pub all_ready_seconds: f64,
    /// Seconds that creating them took.
    pub creating_seconds: f64,
    /// Seconds from a session's creation to a step, by step.
    pub steps: BTreeMap<&'static str, Spread>,
    /// Writes of the operator per session until all were ready.
    pub writes_per_session: f64,
    /// The same by verb and resource.
    pub writes: BTreeMap<String, f64>,
    /// Writes in `steady_seconds` after that.
    pub steady_writes: u64,
    /// The same by verb and resource, per session.
    pub steady_by_kind: BTreeMap<String, f64>,
    /// CPU seconds of the operator in that time.
    pub steady_cpu_seconds: f64,
    /// Length of the look at rest.
    pub steady_seconds: u64,
    /// Memory of the operator before and with all sessions, MB.
    pub megabytes: (f64, f64),
    /// What a thousand sessions add, MB.
    pub megabytes_per_thousand: f64,
    /// CPU seconds of the operator until all were ready.
    pub cpu_seconds: f64,
    /// Seconds from the first deletion to the last of them gone.
    pub all_gone_seconds: f64,
}

/// Of many values.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// Half of them are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// How many, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Sessions.
    pub count: usize,
    /// For all of them to become ready, and for all to go.
    pub patience: Duration,
    /// How long to count writes at rest.
    pub look: Duration,
    /// How many are deleted at the end.
    pub deleted: usize,
}

/// Creates the sessions, waits until all are ready, rests, and deletes them. The rooms are named as the sessions:
/// `scale-<n>`; somebody must be in each.
///
/// # Errors
/// Something does not come in time; with how far it was.
pub async fn run(
    api: &ApiServer,
    operator: &Operator,
    user: &str,
    namespace: &str,
    wanted: Wanted,
) -> anyhow::Result<Scale> {
    let Wanted { count, patience, look, .. } = wanted;
    let client = api.client().await?;
    let pid = operator.pid().context("the operator has ended")?;
    let (before, first) = (resident(pid)?, api.requests(user)?);
    let cpu = cpu_seconds(pid)?;
    let begun = Instant::now();
    let watching = tokio::spawn(watch(client.clone(), namespace.to_owned(), count, patience));
    let created = create(&client, namespace, count).await?;
    let creating_seconds = begun.elapsed().as_secs_f64();
    let seen = watching.await??;
    let all_ready_seconds = begun.elapsed().as_secs_f64();
    let until_ready = api.requests(user)?.since(&first);
    let (with, cpu_seconds) = (resident(pid)?, cpu_seconds(pid)? - cpu);
    let (at_rest, steady_cpu_seconds) = rest(api, user, pid, look).await?;
    let deleting = Instant::now();
    delete(&client, namespace, wanted).await?;
    Ok(Scale {
        sessions: count,
        all_ready_seconds,
        creating_seconds,
        steps: spreads(&created, &seen),
        writes_per_session: until_ready.writes() as f64 / count as f64,
        writes: by_kind(&until_ready, count),
        steady_writes: at_rest.writes(),
        steady_by_kind: by_kind(&at_rest, count),
        steady_cpu_seconds,
        steady_seconds: look.as_secs(),
        megabytes: (before, with),
        megabytes_per_thousand: (with - before) * 1000.0 / count as f64,
        cpu_seconds,
        all_gone_seconds: deleting.elapsed().as_secs_f64(),
    })
}

async fn create(
    client: &Client,
    namespace: &str,
    count: usize,
) -> anyhow::Result<HashMap<String, Timestamp>> {
    let api: Api<TranscriptionSession> = Api::namespaced(client.clone(), namespace);
    let made = stream::iter(0..count).map(|number| {
        let api = api.clone();
        async move {
            let name = name(number);
            let session = TranscriptionSession::new(&name, TranscriptionSessionSpec::for_room(&name));
            create_one(&api, &session).await.with_context(|| format!("create {name}"))?;
            anyhow::Ok((name, Timestamp::now()))
        }
    });
    made.buffer_unordered(CREATORS).try_collect().await
}

/// What an unanswered try has made is what was asked for.
async fn create_one(api: &Api<TranscriptionSession>, session: &TranscriptionSession) -> anyhow::Result<()> {
    let mut tries = 0;
    again(async || {
        tries += 1;
        match api.create(&PostParams::default(), session).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if tries > 1 && status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await
}

type Seen = HashMap<String, BTreeMap<&'static str, Timestamp>>;

/// When each session's steps came, until all are ready.
async fn watch(client: Client, namespace: String, count: usize, patience: Duration) -> anyhow::Result<Seen> {
    let api: Api<TranscriptionSession> = Api::namespaced(client, &namespace);
    let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let (mut seen, mut ready) = (Seen::new(), 0);
    let begun = Instant::now();
    while ready < count {
        let left = patience.saturating_sub(begun.elapsed());
        let next = tokio::time::timeout(left, events.next()).await;
        let next = next.with_context(|| format!("{ready} of {count} ready after {patience:?}"))?;
        let session = match next.context("the watch ended")? {
            Ok(session) => session,
            Err(error) => {
                // It begins again with a list, which shows all steps so far; a server that starts forgets old versions.
                tracing::info!(%error, "the watch begins again");
                continue;
            }
        };
        let conditions = session.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let steps = seen.entry(session.name_any()).or_default();
        for step in STEPS {
            let Some(condition) = condition::find(conditions, step).filter(|found| found.status == "True")
            else {
                continue;
            };
            // The operator's own time of the change, in whole seconds.
            let first = steps.insert(step.as_str(), condition.last_transition_time.0).is_none();
            if first && step == ConditionType::Ready {
                ready += 1;
                if ready % TOLD == 0 {
                    tracing::info!(seconds = begun.elapsed().as_secs(), "{ready} of {count} ready");
                }
            }
        }
    }
    Ok(seen)
}

/// Looks at rest, until one sees no write.
const LOOKS: usize = 3;

/// Waits for the writes that follow from becoming ready, then counts for a while: writes and CPU seconds.
async fn rest(api: &ApiServer, user: &str, pid: u32, look: Duration) -> anyhow::Result<(Requests, f64)> {
    const QUIET: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    let mut before = api.requests(user)?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = api.requests(user)?;
        if now.since(&before).writes() == 0 {
            break;
        }
        before = now;
        ensure!(begun.elapsed() < Duration::from_secs(120), "the operator goes on writing: {before}");
    }
    // On a machine that is busy with something else a simulated egress misses its frames, and that is worth a write. What
    // comes by itself comes in every look.
    for _ in 1..LOOKS {
        let looked = count(api, user, pid, look).await?;
        if looked.0.writes() == 0 {
            return Ok(looked);
        }
    }
    count(api, user, pid, look).await
}

async fn count(api: &ApiServer, user: &str, pid: u32, look: Duration) -> anyhow::Result<(Requests, f64)> {
    let (before, cpu) = (api.requests(user)?, cpu_seconds(pid)?);
    tokio::time::sleep(look).await;
    Ok((api.requests(user)?.since(&before), cpu_seconds(pid)? - cpu))
}

/// Deletes them, and waits until they are gone.
async fn delete(client: &Client, namespace: &str, wanted: Wanted) -> anyhow::Result<()> {
    let Wanted { count, patience, deleted, .. } = wanted;
    let api: Api<TranscriptionSession> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    let asked =
        stream::iter(0..deleted).map(|number| {
            let api = api.clone();
            async move {
                delete_one(&api, &name(number)).await.with_context(|| format!("delete {}", name(number)))
            }
        });
    asked.buffer_unordered(CREATORS).try_collect::<()>().await?;
    loop {
        let left = match api.list_metadata(&ListParams::default()).await {
            Ok(list) => list.items.len(),
            Err(error @ kube::Error::Api(_)) => return Err(error.into()),
            Err(_) => count,
        };
        if left + deleted <= count {
            return Ok(());
        }
        ensure!(begun.elapsed() < patience, "{left} of {count} sessions are still there after {patience:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn delete_one(api: &Api<TranscriptionSession>, name: &str) -> anyhow::Result<()> {
    let gone = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.is_not_found());
    again(async || match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(error) if gone(&error) => Ok(()),
        Err(error) => Err(error),
    })
    .await
}

/// A server under this load closes connections now and then: it is asked again.
async fn again(mut call: impl AsyncFnMut() -> kube::Result<()>) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match call().await {
            Ok(()) => return Ok(()),
            Err(error @ kube::Error::Api(_)) => return Err(error.into()),
            Err(error) if tries == TRIES => return Err(error.into()),
            Err(error) => tracing::info!(%error, "again"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn name(number: usize) -> String {
    format!("scale-{number}")
}

fn spreads(created: &HashMap<String, Timestamp>, seen: &Seen) -> BTreeMap<&'static str, Spread> {
    let spread = |step: &ConditionType| {
        let mut seconds: Vec<f64> = created
            .iter()
            .filter_map(|(name, at)| {
                Some(seen.get(name)?.get(step.as_str())?.duration_since(*at).as_secs_f64().max(0.0))
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = ((seconds.len() as f64 - 1.0) * share).round() as usize;
            seconds.get(index).copied().unwrap_or(f64::NAN)
        };
        (step.as_str(), Spread { p50: at(0.5), p99: at(0.99), max: at(1.0) })
    };
    STEPS.iter().map(spread).collect()
}

fn by_kind(requests: &Requests, count: usize) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    for (verb, resource, _, number) in requests.all() {
        if !matches!(verb, "get" | "list" | "watch") && resource != "leases" {
            *kinds.entry(format!("{verb} {resource}")).or_insert(0.0) += number as f64 / count as f64;
        }
    }
    kinds
}

/// Resident memory of a process, MB.
fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1000.0)
}

/// User and system time of a process, seconds.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime are fields 14 and 15 of the whole line; ticks are 1/100 s on every Linux that we run on.
    Ok((ticks(11) + ticks(12)) / 100.0)
}
