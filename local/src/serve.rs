//! `roomscribe serve`: everything in one process, from flags, environment and `.env`.

use crate::cli;
use crate::exit::Failure;
use crate::hands::{Hands, HandsSettings};
use crate::install::Install;
use crate::sessions::LocalSessions;
use crate::settings::{Settings, SpeechSettings};
use crate::speech::{Embedded, bind};
use roomscribe_gateway::{Auth, Config, Secret};
use roomscribe_transcript::Log;
use roomscribe_transcript::file::FileLog;
use roomscribe_worker::connection::ConnectionSettings;
use roomscribe_worker::door;
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::registry::Registry;
use roomscribe_worker::speech_http::SpeechApi;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Open RTMP connections may end by themselves for this long after the sessions have let them go.
const DOOR_GRACE: Duration = Duration::from_secs(2);
/// How often finished transcripts are looked at for retention.
const SWEEP: Duration = Duration::from_secs(3600);

/// `roomscribe serve`.
pub(crate) async fn run(args: cli::Serve) -> Result<(), Failure> {
    let settings = Settings::check(args)?;
    let embedded = match &settings.speech {
        SpeechSettings::Embedded => Some(Embedded::start(settings.max_sessions).await?),
        SpeechSettings::Remote { .. } => None,
    };
    let stack = Stack::start(&settings, embedded.as_ref()).await?;
    stack.announce(&settings);
    stop_signal().await;
    eprintln!("stopping: open sessions are kept for the next start; press Ctrl-C again to stop now");
    tokio::select! {
        () = stack.stop() => {}
        () = stop_signal() => return Ok(()),
    }
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    Ok(())
}

/// Gateway, door and sessions of one process.
pub(crate) struct Stack {
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// The sessions.
    pub sessions: Arc<LocalSessions>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stack {
    /// Binds everything, then starts everything: a taken port ends here with its setting's name.
    pub(crate) async fn start(settings: &Settings, embedded: Option<&Embedded>) -> Result<Self, Failure> {
        prepare(&settings.data_dir)?;
        let install = Install::open(&settings.data_dir)?;
        let log = FileLog::open(&settings.data_dir).map_err(|error| Failure::setting("DATA_DIR", error))?;
        let log = Log::File(Arc::new(log));
        let http = bind("HTTP_LISTEN", settings.http_listen).await?;
        let rtmp = bind("RTMP_LISTEN", settings.rtmp_listen).await?;
        let http_address = http.local_addr().map_err(Failure::unavailable)?;
        let rtmp_address = rtmp.local_addr().map_err(Failure::unavailable)?;
        let (registry, metrics) = (Registry::default(), Metrics::new());
        let hands = Hands::new(HandsSettings {
            install,
            log: log.clone(),
            registry: registry.clone(),
            speech: speech_api(settings, embedded)?,
            metrics: metrics.clone(),
            data_dir: settings.data_dir.clone(),
            rtmp_host: settings.rtmp_host.clone().unwrap_or_else(|| rtmp_address.ip().to_string()),
            rtmp_port: settings.rtmp_port.unwrap_or_else(|| rtmp_address.port()),
            rollover: Duration::from_secs(settings.speech_rollover_seconds),
        });
        let sessions = LocalSessions::open(hands, settings.data_dir.clone(), settings.max_sessions)
            .map_err(|error| Failure::setting("DATA_DIR", error))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let door = door::serve(
            rtmp,
            registry,
            ConnectionSettings::default(),
            metrics.clone(),
            told(stopped.clone()),
            DOOR_GRACE,
        );
        tasks.spawn(door);
        let gateway = roomscribe_gateway::app(gateway_config(settings), sessions.clone(), log.clone());
        let closed = told(stopped.clone());
        tasks.spawn(async move {
            if let Err(error) = gateway.serve(http, closed).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        if let Some(address) = settings.metrics_listen {
            let listener = bind("METRICS_LISTEN", address).await?;
            tasks.spawn(serve_metrics(listener, metrics, told(stopped.clone())));
        }
        tasks.spawn(sweep(log, sessions.clone(), settings.retention_days, told(stopped)));
        Ok(Self { http: http_address, sessions, stop, tasks })
    }

    /// Sessions first (their publishers and speech sessions drain), then the doors.
    pub(crate) async fn stop(mut self) {
        self.sessions.suspend().await;
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }

    fn announce(&self, settings: &Settings) {
        let speech = match &settings.speech {
            SpeechSettings::Embedded => "on this machine (English)".to_owned(),
            SpeechSettings::Remote { url, .. } => url.clone(),
        };
        let page = settings.public_url.clone().unwrap_or_else(|| format!("http://{}", self.http));
        println!("page       {page}/");
        println!("speech     {speech}");
        println!("data       {}", settings.data_dir.display());
        println!("next       ROOMSCRIBE_URL={page} roomscribe start my-room --capture push");
    }
}

fn speech_api(settings: &Settings, embedded: Option<&Embedded>) -> Result<SpeechApi, Failure> {
    let (url, key, region) = match (&settings.speech, embedded) {
        (SpeechSettings::Remote { url, key, region }, _) => (url.as_str(), key.as_str(), region.clone()),
        (SpeechSettings::Embedded, Some(embedded)) => (embedded.url.as_str(), embedded.key.as_str(), None),
        (SpeechSettings::Embedded, None) => {
            return Err(Failure::unavailable("the embedded speech server is not running"));
        }
    };
    SpeechApi::new(url, key, region).map_err(|error| Failure::setting(error.setting(), error))
}

fn gateway_config(settings: &Settings) -> Config {
    let jwt_secret = settings.jwt_secret.clone().map(Secret::new);
    let api_keys: Vec<_> = settings.api_keys.iter().map(Secret::new).collect();
    let auth = match api_keys.is_empty() && jwt_secret.is_none() {
        true => Auth::Open,
        false => Auth::Required { api_keys, jwt_secret },
    };
    let (allowed_origins, public_url) = (settings.allowed_origins.clone(), settings.public_url.clone());
    Config { allowed_origins, public_url, ..Config::new(auth) }
}

fn prepare(data_dir: &Path) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| {
        Failure::setting(
            "DATA_DIR",
            format_args!("{}: {error}; choose a folder that can be written", data_dir.display()),
        )
    };
    std::fs::create_dir_all(data_dir).map_err(unusable)?;
    let probe = data_dir.join(".probe");
    std::fs::write(&probe, b"x").map_err(unusable)?;
    std::fs::remove_file(&probe).map_err(unusable)
}

async fn sweep(log: Log, sessions: Arc<LocalSessions>, days: u32, stopped: impl Future<Output = ()>) {
    let retention = Duration::from_secs(u64::from(days) * 86_400);
    tokio::pin!(stopped);
    loop {
        match log.sweep(SystemTime::now(), retention).await {
            Ok(swept) if swept.removed > 0 => sessions.forget_removed(&log).await,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "retention could not be applied; check DATA_DIR"),
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = &mut stopped => return,
        }
    }
}

/// The sessions' metrics, for a scraper; the gateway's own are at `/metrics` of HTTP_LISTEN.
async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let page = axum::routing::get(move || async move { (kind, metrics.text()) });
    let app =
        axum::Router::new().route("/metrics", page).route("/live", axum::routing::get(|| async { "live\n" }));
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the metrics server ended");
    }
}

/// Resolves once the sender says true, or is gone.
async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
