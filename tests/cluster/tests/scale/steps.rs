//! When each step of a session's start came, by the watches of its objects: to the millisecond, where Kubernetes' own times
//! have whole seconds.

use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::{FINALIZER, TranscriptionSession};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// In the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Step {
    /// The operator has put its finalizer.
    Accepted,
    ServiceCreated,
    AddressGiven,
    PodCreated,
    PodScheduled,
    /// Pause container and network.
    SandboxReady,
    ContainerRunning,
    /// Its readiness probe has passed: port 1935 is taken, NATS answers.
    PodReady,
    /// The attempt is written, before anything is asked of LiveKit.
    EgressIntended,
    /// The status names the egress; LiveKit took it before that.
    EgressTold,
    /// Media 0 at the worker, by the transcript's own word.
    FirstAudio,
    /// The operator has heard of it from the worker, and told.
    Ready,
    /// At a viewer of the gateway.
    FirstWord,
}

impl Step {
    pub(crate) const ALL: [Self; 13] = [
        Self::Accepted,
        Self::ServiceCreated,
        Self::AddressGiven,
        Self::PodCreated,
        Self::PodScheduled,
        Self::SandboxReady,
        Self::ContainerRunning,
        Self::PodReady,
        Self::EgressIntended,
        Self::EgressTold,
        Self::FirstAudio,
        Self::Ready,
        Self::FirstWord,
    ];

    /// What it waits for; the first one for the answer to `create`.
    pub(crate) fn follows(self) -> Option<Self> {
        match self {
            Self::Accepted => None,
            Self::ServiceCreated | Self::PodCreated => Some(Self::Accepted),
            Self::AddressGiven => Some(Self::ServiceCreated),
            Self::FirstAudio => Some(Self::EgressIntended),
            later => Self::ALL[..later as usize].last().copied(),
        }
    }
}

/// Seconds after the apply, by session.
type Seen = HashMap<String, (Timestamp, BTreeMap<Step, f64>)>;

/// The steps of all sessions of a namespace, as they come.
pub(crate) struct Steps {
    seen: Arc<Mutex<Seen>>,
    /// Why pods are not scheduled, by session.
    refused: Arc<Mutex<BTreeMap<String, String>>>,
    watches: [JoinHandle<()>; 3],
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

impl Steps {
    pub(crate) fn watch(client: &Client, namespace: &str) -> Self {
        let (seen, refused) = (Arc::<Mutex<Seen>>::default(), Arc::<Mutex<BTreeMap<_, _>>>::default());
        let note = |seen: &Arc<Mutex<Seen>>, name: &str, steps: Vec<Step>| {
            steps.into_iter().for_each(|step| note(seen, name, step, Timestamp::now()));
        };
        let (of_sessions, of_pods, of_services) = (seen.clone(), seen.clone(), seen.clone());
        let refusals = refused.clone();
        let watches = [
            each(client, namespace, move |session: TranscriptionSession| {
                note(&of_sessions, &session.name_any(), of_session(&session));
            }),
            each(client, namespace, move |pod: Pod| {
                let name = pod.name_any();
                let session = name.trim_start_matches("ts-").rsplit_once('-').map_or("", |(name, _)| name);
                note(&of_pods, session, of_pod(&pod));
                match refusal(&pod) {
                    Some(why) => drop(lock(&refusals).insert(session.to_owned(), why)),
                    None => drop(lock(&refusals).remove(session)),
                }
            }),
            each(client, namespace, move |service: Service| {
                note(&of_services, service.name_any().trim_start_matches("ts-"), of_service(&service));
            }),
        ];
        Self { seen, refused, watches }
    }

    /// It is applied now.
    pub(crate) fn applied(&self, session: &str) {
        lock(&self.seen).insert(session.to_owned(), (Timestamp::now(), BTreeMap::new()));
    }

    /// The step came now, if it had not.
    pub(crate) fn note(&self, session: &str, step: Step) {
        note(&self.seen, session, step, Timestamp::now());
    }

    /// It came then.
    pub(crate) fn note_at(&self, session: &str, step: Step, at: Timestamp) {
        note(&self.seen, session, step, at);
    }

    /// How many of these have come so far.
    pub(crate) fn count(&self, sessions: &[String], step: Step) -> usize {
        sessions.iter().filter(|session| self.has_come(session, step)).count()
    }

    pub(crate) fn has_come(&self, session: &str, step: Step) -> bool {
        lock(&self.seen).get(session).is_some_and(|(_, steps)| steps.contains_key(&step))
    }

    /// Why these sessions' pods are not scheduled, a line for each.
    pub(crate) fn refusals(&self, sessions: &[String]) -> Vec<String> {
        let refused = lock(&self.refused);
        sessions.iter().filter_map(|session| refused.get(session).cloned()).collect()
    }

    /// Whether it came to be so in this time.
    pub(crate) async fn until(&self, patience: Duration, is_so: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        while !is_so() {
            if begun.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// A row for each step that came.
    pub(crate) fn rows(&self, sessions: &[String]) -> Vec<Row> {
        let seen = lock(&self.seen);
        let steps: Vec<&BTreeMap<Step, f64>> =
            sessions.iter().filter_map(|session| seen.get(session)).map(|(_, steps)| steps).collect();
        Step::ALL.into_iter().filter_map(|step| Row::of(step, &steps)).collect()
    }
}

/// One step of many sessions.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) step: Step,
    /// Seconds since the apply.
    pub(crate) since_apply: Spread,
    /// Seconds since the step that it waits for, where that was seen.
    pub(crate) by_itself: Option<Spread>,
}

impl Row {
    fn of(step: Step, sessions: &[&BTreeMap<Step, f64>]) -> Option<Self> {
        let since = |steps: &&BTreeMap<Step, f64>| steps.get(&step).copied();
        let alone = |steps: &&BTreeMap<Step, f64>| {
            let before = step.follows().map_or(Some(&0.0), |before| steps.get(&before))?;
            Some((steps.get(&step)? - before).max(0.0))
        };
        Some(Self {
            step,
            since_apply: Spread::of(sessions.iter().filter_map(since).collect())?,
            by_itself: Spread::of(sessions.iter().filter_map(alone).collect()),
        })
    }
}

/// Of many values.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied();
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, max: at(1.0)? })
    }
}

fn note(seen: &Mutex<Seen>, session: &str, step: Step, at: Timestamp) {
    if let Some((applied, steps)) = lock(seen).get_mut(session) {
        steps.entry(step).or_insert_with(|| at.duration_since(*applied).as_secs_f64());
    }
}

fn each<K>(client: &Client, namespace: &str, take: impl Fn(K) + Send + 'static) -> JoinHandle<()>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    tokio::spawn(async move {
        let mut events =
            Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(event) = events.next().await {
            event.into_iter().for_each(&take);
        }
    })
}

fn of_session(session: &TranscriptionSession) -> Vec<Step> {
    let status = session.status.clone().unwrap_or_default();
    let is_ready =
        condition::find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == "True");
    chosen([
        (Step::Accepted, session.finalizers().iter().any(|finalizer| finalizer == FINALIZER)),
        (Step::EgressIntended, status.intent_at.is_some()),
        (Step::EgressTold, !status.egresses.is_empty()),
        (Step::Ready, is_ready),
    ])
}

fn of_pod(pod: &Pod) -> Vec<Step> {
    let status = pod.status.clone().unwrap_or_default();
    let is = |name: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == name && condition.status == "True")
    };
    let runs = |status: &k8s_openapi::api::core::v1::ContainerStatus| {
        status.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    chosen([
        (Step::PodCreated, true),
        (Step::PodScheduled, is("PodScheduled")),
        (Step::SandboxReady, is("PodReadyToStartContainers")),
        (Step::ContainerRunning, status.container_statuses.iter().flatten().any(runs)),
        (Step::PodReady, is("Ready")),
    ])
}

fn of_service(service: &Service) -> Vec<Step> {
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    chosen([(Step::ServiceCreated, true), (Step::AddressGiven, ingress.is_some_and(|all| !all.is_empty()))])
}

fn refusal(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    (scheduled.status == "False").then(|| scheduled.message.clone().unwrap_or_default())
}

fn chosen<const N: usize>(steps: [(Step, bool); N]) -> Vec<Step> {
    steps.into_iter().filter(|(_, has_come)| *has_come).map(|(step, _)| step).collect()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
