//! From settings to a running operator, and its end.

use crate::cells::lock;
use crate::children::{
    Hidden, IngestDefaults, Installation, LogSettings, NatsSettings, SpeechDefaults, WorkerDefaults,
};
use crate::context::Context;
use crate::credentials::{Own, OwnSpeech, Vault, version_of};
use crate::http::Shown;
use crate::index::Index;
use crate::jobs::{Drained, Job};
use crate::leader::{Leader, LeaseSettings};
use crate::listen::listen;
use crate::metrics::{CallLabels, Metrics, ResultLabel};
use crate::settings::{Args, Install, LogArgs, WorkerArgs};
use crate::stream_key::InstallKey;
use crate::wake::Router;
use crate::{collector, http, jobs, keys, run};
use anyhow::Context as _;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use roomscribe_plan::Policy;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Rounds that are running may take so long once the process is asked to end.
const LAST_ROUNDS: Duration = Duration::from_secs(20);

/// Why the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// Its job has ended.
    Job {
        /// As it should.
        done: bool,
        /// For a person.
        said: String,
    },
    /// Another process holds the Lease: begin again as a standby.
    LeaseLost,
}

/// Does one job and ends.
///
/// # Errors
/// When something that it needs cannot be had: the message says which setting or right to mend.
pub async fn work(written: Args, job: Job, stop: impl Future<Output = ()>) -> anyhow::Result<End> {
    let args = keys::read(&written)?;
    args.check()?;
    let (client, namespaces) = (client().await?, namespaces(&args));
    let job = async {
        Ok(match job {
            Job::Drain(drain) => {
                let patience = Duration::from_secs(drain.timeout_seconds);
                let drained = jobs::drain(&client, &namespaces, patience).await?;
                End::Job { done: matches!(drained, Drained::All(_)), said: drained.sentence() }
            }
            Job::SelfTest(test) => {
                let test = jobs::self_test(&client, &namespaces, &args, &test.gateway_url).await;
                End::Job { done: test.passed(), said: test.to_string() }
            }
        })
    };
    tokio::select! {
        end = job => end,
        () = stop => anyhow::bail!("ended by a signal before the job was done"),
    }
}

/// Runs until `stop`, or until the Lease is lost.
///
/// # Errors
/// When something that it needs cannot be had: the message says which setting or right to mend.
pub async fn operate(written: Args, stop: impl Future<Output = ()>) -> anyhow::Result<End> {
    let args = keys::read(&written)?;
    args.check()?;
    let install = args.install()?;
    let client = client().await?;
    let metrics = Metrics::default();
    let namespaces = namespaces(&args);
    let context = Arc::new(context(&args, &install, client.clone(), metrics.clone(), &namespaces)?);
    let listener = listen(args.metrics_listen).with_context(|| {
        format!("METRICS_LISTEN: cannot listen on {}: choose another address", args.metrics_listen)
    })?;
    let (ending, ended) = watch::channel(false);
    let doors = tokio::spawn(http::serve(listener, shown(&context, &ended), told(ended.clone())));
    let follower = tokio::spawn(keys::follow(context.clone(), written));
    let end = lead(&args, &context, &namespaces, ended, &ending, stop).await;
    follower.abort();
    let _ = ending.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), doors).await;
    end
}

/// Waits for the Lease, works, and lets it go.
async fn lead(
    args: &Args,
    context: &Arc<Context>,
    namespaces: &[Option<String>],
    ended: watch::Receiver<bool>,
    ending: &watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<End> {
    tokio::pin!(stop);
    let mut leader = match args.no_leader_election {
        true => None,
        false => Some(Leader::campaign(context.client.clone(), lease(args)).await?),
    };
    if let Some(leader) = &mut leader {
        tracing::info!(lease = args.lease_name, "waiting for the Lease");
        tokio::select! {
            () = leader.elected() => {}
            () = &mut stop => return Ok(End::Stopped),
        }
    }
    context.metrics.lease_held.set(1);
    tracing::info!(install = context.installation().install, "leading: sessions are looked after");
    let controllers = namespaces.iter().enumerate().map(|(watch, namespace)| {
        run::run(context.clone(), watch, namespace.clone(), args.concurrency, told(ended.clone()))
    });
    let mut controllers = tokio::spawn(join_all(controllers.collect::<Vec<_>>()));
    let collector = tokio::spawn(collector::run(context.clone()));
    let lost = async {
        match &leader {
            Some(leader) => leader.lost().await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        () = &mut stop => End::Stopped,
        () = lost => End::LeaseLost,
        _ = &mut controllers => anyhow::bail!("the controller ended by itself; please report this"),
    };
    tracing::info!(?end, "ending: running rounds are finished first");
    let _ = ending.send(true);
    collector.abort();
    let _ = tokio::time::timeout(LAST_ROUNDS, controllers).await;
    context.metrics.lease_held.set(0);
    if let Some(leader) = leader {
        leader.resign().await;
    }
    Ok(end)
}

async fn client() -> anyhow::Result<Client> {
    // Idempotent: the first provider stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config =
        kube::Config::infer().await.context("no Kubernetes API: run in a pod, or set KUBECONFIG")?;
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).context("the Kubernetes API cannot be used")
}

fn namespaces(args: &Args) -> Vec<Option<String>> {
    let mut named: Vec<_> = args.watch_namespaces.iter().map(|name| name.trim().to_owned()).collect();
    named.retain(|name| !name.is_empty());
    named.sort();
    named.dedup();
    if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() }
}

fn context(
    args: &Args,
    install: &Install,
    client: Client,
    metrics: Metrics,
    namespaces: &[Option<String>],
) -> anyhow::Result<Context> {
    let reporter = Reporter { controller: "roomscribe-operator".into(), instance: Some(identity()) };
    let http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(3)).build()?;
    let watches = namespaces.len();
    Ok(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        http,
        installation: Mutex::new(Arc::new(installation(args, install))),
        vault: Vault::new(own(args), args.credentials_per_session, install.id.clone(), tally(&metrics)),
        cells: Default::default(),
        pods: Index::of_watches(watches),
        services: Index::of_watches(watches),
        sessions: Index::of_watches(watches),
        begun: Default::default(),
        renewed: Default::default(),
        max_concurrent: Some(args.speech_max_concurrent).filter(|count| *count > 0),
        policy: Policy { cleanup_deadline_seconds: args.cleanup_deadline_seconds, ..Policy::default() },
        wakes: Arc::new(Router::of(namespaces)),
        metrics,
    })
}

fn installation(args: &Args, install: &Install) -> Installation {
    Installation {
        install: install.id.clone(),
        key: InstallKey::new(install.key.clone()),
        worker: worker(&args.worker),
        speech: speech(args),
        ingest: IngestDefaults {
            annotations: args.worker.worker_service_annotations.clone(),
            node_port_host: args.node_port_host.clone(),
            load_balancer_node_ports: args.load_balancer_node_ports,
            ..IngestDefaults::default()
        },
        log: log(&args.transcripts),
    }
}

fn worker(args: &WorkerArgs) -> WorkerDefaults {
    let defaults = WorkerDefaults::new(&args.worker_image);
    let named = |name: &String| LocalObjectReference { name: name.clone() };
    let pull_secrets = args.worker_pull_secrets.iter().filter(|name| !name.is_empty());
    WorkerDefaults {
        image_pull_policy: args.worker_pull_policy.map(|policy| format!("{policy:?}")),
        image_pull_secrets: pull_secrets.map(named).collect(),
        resources: args.worker_resources.clone().unwrap_or_else(|| defaults.resources.clone()),
        grace_seconds: args.worker_grace_seconds,
        log_filter: args.worker_log.clone(),
        ..defaults
    }
}

fn log(args: &LogArgs) -> LogSettings {
    let nats = args.is_nats().then(|| NatsSettings {
        url: args.nats_url.trim().to_owned(),
        creds: args.creds.as_ref().map(Hidden::new),
        replicas: args.nats_replicas,
        retention_days: args.retention_days,
    });
    LogSettings { nats }
}

fn speech(args: &Args) -> SpeechDefaults {
    SpeechDefaults {
        api_url: Some(args.gladia_api_url.clone()),
        region: args.gladia_region.clone(),
        api_key: Some(&args.gladia_api_key).filter(|key| !key.is_empty()).map(Hidden::new),
    }
}

/// The installation's keys have changed: every session that runs is planned again with them.
pub(crate) fn renew(context: &Context, args: &Args) {
    let renewed = Installation {
        speech: speech(args),
        log: log(&args.transcripts),
        ..context.installation().as_ref().clone()
    };
    *lock(&context.installation) = Arc::new(renewed);
    context.vault.renew(own(args));
    let running = context.sessions.all(|seen| (!seen.finished).then(|| seen.object.clone()));
    running.into_iter().for_each(|object| context.wakes.wake(object));
    context.renewed.notify_one();
}

fn own(args: &Args) -> Own {
    let livekit = args.has_livekit().then(|| roomscribe_livekit::Credentials {
        url: args.livekit_http_url.clone(),
        api_key: args.livekit_api_key.clone(),
        api_secret: args.livekit_api_secret.clone(),
    });
    Own {
        livekit,
        speech: OwnSpeech { api_url: args.gladia_api_url.clone(), has_key: !args.gladia_api_key.is_empty() },
        version: version_of(&[&args.livekit_api_key, &args.livekit_api_secret, &args.gladia_api_key]),
        rate: (args.livekit_rate, args.livekit_burst),
    }
}

fn tally(metrics: &Metrics) -> roomscribe_calls::Tally {
    let metrics = metrics.clone();
    Arc::new(move |method, code| {
        metrics.livekit_calls.get_or_create(&CallLabels { method, code }).inc();
        if method == "StartRoomCompositeEgress" {
            metrics.egress_starts.get_or_create(&ResultLabel { result: code }).inc();
        }
    })
}

fn lease(args: &Args) -> LeaseSettings {
    LeaseSettings {
        namespace: args.namespace.clone(),
        name: args.lease_name.clone(),
        identity: identity(),
        seconds: args.lease_seconds,
    }
}

/// The pod's name; a process that is started again is another one.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".into());
    static OWN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    OWN.get_or_init(|| format!("{host}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])).clone()
}

fn shown(context: &Arc<Context>, ended: &watch::Receiver<bool>) -> Shown {
    let (sessions, leading) = (context.clone(), context.clone());
    let ended = ended.clone();
    Shown {
        metrics: context.metrics.clone(),
        sessions: Arc::new(move || {
            sessions.sessions.all(|seen| Some((seen.state.clone(), seen.mode.clone())))
        }),
        ready: Arc::new(move || {
            let standby = leading.metrics.lease_held.get() == 0;
            !*ended.borrow() && (standby || leading.sessions.is_complete())
        }),
    }
}

async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
