//! From settings to a running gateway, and its end.

use super::jwks;
use super::listen::listen;
use super::sessions::{ClusterSessions, Place};
use super::settings::{Args, SettingError};
use crate::{Config, KeySet, Sessions, app};
use anyhow::Context;
use kube::Client;
use roomscribe_transcript::Log;
use roomscribe_transcript::nats::{NatsLog, NatsSettings};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a start waits for the API server; NATS has its own wait, as long.
const API_WAIT: Duration = Duration::from_secs(20);
/// For one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Runs until `stop`, then lets viewers go elsewhere.
///
/// # Errors
/// [`SettingError`] for a setting that is wrong; otherwise something that it needs was not there in time.
pub async fn run(args: Args, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let (config, nats) = (config(&args)?, args.nats()?);
    let place =
        Place { namespaces: args.namespaces(), install: args.install()?, retention: args.retention() };
    // NATS' TLS takes it too.
    let client = client().await?;
    let (log, ()) = tokio::try_join!(log(nats), answers(&client))?;
    serve(&args, config, place, log, client, stop).await
}

/// The log in NATS, with this process' replicas and retention: workers of an older installation have the former ones.
async fn log(settings: NatsSettings) -> anyhow::Result<Log> {
    let nats = NatsLog::connect(settings).await?;
    if let Err(error) = nats.update_stream().await {
        tracing::warn!(%error, "the transcript log keeps its replicas and retention; whoever runs NATS must look");
    }
    Ok(Log::Nats(Arc::new(nats)))
}

/// Waits for the API server.
async fn answers(client: &Client) -> anyhow::Result<()> {
    let deadline = Instant::now() + API_WAIT;
    loop {
        let why = match timeout(ANSWER_WAIT, client.apiserver_version()).await {
            Ok(Ok(_)) => return Ok(()),
            // It is there; what this gateway may not do, `/readyz` says.
            Ok(Err(kube::Error::Api(status))) if status.code < 500 => return Ok(()),
            Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + RETRY_WAIT >= deadline {
            anyhow::bail!("the Kubernetes API: {why}: whoever runs the cluster must look at it");
        }
        sleep(RETRY_WAIT).await;
    }
}

/// The same over a log and an API server of the caller's.
///
/// # Errors
/// When something that it needs cannot be had: the message says which setting to mend.
pub async fn serve(
    args: &Args,
    config: Config,
    place: Place,
    log: Log,
    client: Client,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let (http, metrics) =
        (bound("HTTP_LISTEN", args.http_listen)?, bound("METRICS_LISTEN", args.metrics_listen)?);
    tracing::info!(http = %args.http_listen, namespaces = place.namespaces.join(","), "serving sessions");
    let sessions = ClusterSessions::start(client, place, log.clone());
    let gateway = app(config.clone(), sessions as Arc<dyn Sessions>, log);
    let signers = jwks::url(&args.jwks_url)?.zip(config.jwks.clone());
    let signers = signers.map(|(url, keys)| tokio::spawn(jwks::follow(url, keys)));
    let (ended, end) = watch::channel(false);
    let health = axum::serve(metrics, gateway.health_router()).with_graceful_shutdown(told(end));
    let health = tokio::spawn(health.into_future());
    let served = gateway.serve(http, stop).await;
    // Until the last viewer has gone, `/readyz` says why.
    let _ = ended.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(1), health).await;
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

fn bound(setting: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| format!("{setting}: cannot listen on {address}: choose another address"))
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

async fn told(mut end: watch::Receiver<bool>) {
    let _ = end.wait_for(|ended| *ended).await;
}
