//! From settings to a running gateway, and its end.

use super::door::Door;
use super::jwks;
use super::listen::bound;
use super::sessions::{ClusterSessions, Place};
use super::settings::{Args, SettingError};
use crate::{Config, KeySet, Sessions, app};
use anyhow::Context;
use kube::Client;
use roomscribe_transcript::Log;
use roomscribe_transcript::nats::{NatsLog, NatsSettings};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// For one attempt at NATS.
const ATTEMPT: Duration = Duration::from_secs(3);
/// For one answer of the API server.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Runs until `stop`, then lets viewers go elsewhere. NATS and the API server are waited for: a process that ended would only
/// be started again, later and later, and its last words are not what `/readyz` shows.
///
/// # Errors
/// [`SettingError`] for a setting that is wrong; otherwise a thing of this machine cannot be had.
pub async fn run(args: Args, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let (config, nats) = (config(&args)?, args.nats()?);
    let place =
        Place { namespaces: args.namespaces(), install: args.install()?, retention: args.retention() };
    // NATS' TLS takes it too.
    let client = client().await?;
    let door = Door::open(args.metrics_listen)?;
    let mut stop = pin!(stop);
    let log = tokio::select! {
        (log, ()) = async { tokio::join!(log(nats, &door), answers(&client, &door)) } => log,
        () = &mut stop => return Ok(()),
    };
    serve(door, &args, config, place, log, client, stop).await
}

/// The log in NATS, with this process' replicas and retention: workers of an older installation have the former ones.
async fn log(settings: NatsSettings, door: &Door) -> Log {
    let nats = loop {
        match NatsLog::connect_within(ATTEMPT, settings.clone()).await {
            Ok(nats) => break nats,
            Err(error) => door.waits_for("NATS", error.to_string()),
        }
        sleep(RETRY_WAIT).await;
    };
    door.has("NATS");
    if let Err(error) = nats.update_stream().await {
        tracing::warn!(%error, "the transcript log keeps its replicas and retention; whoever runs NATS must look");
    }
    Log::Nats(Arc::new(nats))
}

/// Waits for the API server.
async fn answers(client: &Client, door: &Door) {
    loop {
        let why = match timeout(ANSWER_WAIT, client.apiserver_version()).await {
            Ok(Ok(_)) => break,
            // It is there; what this gateway may not do, `/readyz` says.
            Ok(Err(kube::Error::Api(status))) if status.code < 500 => break,
            Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
            Err(_) => "no answer".to_owned(),
        };
        let why = format!("the Kubernetes API: {why}: whoever runs the cluster must look at it");
        door.waits_for("API", why);
        sleep(RETRY_WAIT).await;
    }
    door.has("API");
}

/// The same over a log and an API server of the caller's.
///
/// # Errors
/// When something that it needs cannot be had: the message says which setting to mend.
pub async fn serve(
    door: Door,
    args: &Args,
    config: Config,
    place: Place,
    log: Log,
    client: Client,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let http = bound("HTTP_LISTEN", args.http_listen)?;
    tracing::info!(http = %args.http_listen, namespaces = place.namespaces.join(","), "serving sessions");
    let sessions = ClusterSessions::start(client, place, log.clone());
    let gateway = app(config.clone(), sessions as Arc<dyn Sessions>, log);
    let signers = jwks::url(&args.jwks_url)?.zip(config.jwks.clone());
    let signers = signers.map(|(url, keys)| tokio::spawn(jwks::follow(url, keys)));
    door.lead_to(gateway.health_router());
    let served = gateway.serve(http, stop).await;
    // Until the last viewer has gone, `/readyz` says why.
    door.close().await;
    signers.inspect(tokio::task::JoinHandle::abort);
    tracing::info!("ended: no viewer is left");
    served.context("HTTP_LISTEN")
}

/// Settings that need no cluster.
///
/// # Errors
/// The setting and the mend.
pub fn config(args: &Args) -> Result<Config, SettingError> {
    let mut config = Config::new(args.auth()?);
    config.session_defaults = args.defaults()?;
    config.allowed_origins = args
        .allowed_origins
        .iter()
        .map(|origin| origin.trim().to_owned())
        .filter(|origin| !origin.is_empty())
        .collect();
    config.public_url = args.public_url.clone().filter(|url| !url.trim().is_empty());
    config.jwks = jwks::url(&args.jwks_url)?.map(|_| KeySet::default());
    config.settle = Duration::from_secs(args.settle_seconds);
    config.drain = Duration::from_secs(args.drain_seconds);
    // Behind an Ingress everybody has its address.
    config.limits.viewers_per_ip = config.limits.viewers;
    Ok(config)
}

/// The API server of this pod, or of KUBECONFIG.
///
/// # Errors
/// There is none.
pub async fn client() -> anyhow::Result<Client> {
    // Idempotent: the first provider stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config =
        kube::Config::infer().await.context("no Kubernetes API: run in a pod, or set KUBECONFIG")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("the Kubernetes API cannot be used")
}
