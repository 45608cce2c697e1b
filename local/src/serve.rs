//! `roomscribe serve`: everything in one process, from flags, environment and `.env`.

use crate::announce::announce;
use crate::cli;
use crate::exit::{self, Failure};
use crate::hands::{Hands, HandsSettings};
use crate::install::Install;
use crate::livekit::LiveKit;
use crate::session::{Place, collect};
use crate::sessions::LocalSessions;
use crate::settings::{Settings, SpeechSettings};
use crate::speech::{Embedded, bind};
use crate::values::url_host;
use roomscribe_gateway::{Auth, Config, Secret};
use roomscribe_plan::Policy;
use roomscribe_plan::address::{is_unspecified, only_this_machine};
use roomscribe_transcript::file::FileLog;
use roomscribe_transcript::{Log, LogError};
use roomscribe_worker::connection::ConnectionSettings;
use roomscribe_worker::door;
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::registry::Registry;
use roomscribe_worker::signals::StopSignals;
use roomscribe_worker::speech_http::SpeechApi;
use roomscribe_worker::tls::RENEWAL_INTERVAL;
use std::io::{self, ErrorKind};
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
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    // Listens before anybody is answered: who asks `/readyz` and then ends us must not meet the default of a signal.
    let mut signals = StopSignals::listen();
    let settings = Settings::check(args, set)?;
    let (stack, embedded) = tokio::select! {
        biased;
        started = start(&settings) => started?,
        _ = signals.next() => return Ok(()),
    };
    announce(&settings, stack.http, &stack.rtmp)?;
    signals.next().await;
    eprintln!("stopping: open sessions are kept for the next start; a second signal (Ctrl-C) stops now");
    tokio::select! {
        () = stack.stop() => {}
        _ = signals.next() => return Ok(()),
    }
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    Ok(())
}

async fn start(settings: &Settings) -> Result<(Stack, Option<Embedded>), Failure> {
    let doors = Doors::open(settings).await?;
    let embedded = match &settings.speech {
        SpeechSettings::Embedded => Some(Embedded::start(settings.max_sessions).await?),
        SpeechSettings::Remote { .. } => None,
    };
    let stack = Stack::start(settings, doors, embedded.as_ref()).await?;
    Ok((stack, embedded))
}

/// Everything that another process can hold: taken before anything is fetched, loaded or begun.
pub(crate) struct Doors {
    http: TcpListener,
    rtmp: TcpListener,
    metrics: Option<TcpListener>,
    install: Install,
    log: Log,
}

impl Doors {
    /// A taken port or folder ends here, with its setting's name.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        prepare(&settings.data_dir)?;
        let log = FileLog::open(&settings.data_dir).map_err(|error| match error {
            LogError::Locked { .. } => Failure::new(
                exit::UNAVAILABLE,
                format_args!(
                    "DATA_DIR: {} is in use by another roomscribe: stop that one, or choose another folder",
                    settings.data_dir.display()
                ),
            ),
            error => Failure::setting("DATA_DIR", error),
        })?;
        let install = Install::open(&settings.data_dir)?;
        let metrics = match settings.metrics_listen {
            Some(address) => Some(bind("METRICS_LISTEN", address).await?),
            None => None,
        };
        Ok(Self {
            http: bind("HTTP_LISTEN", settings.http_listen).await?,
            rtmp: bind("RTMP_LISTEN", settings.rtmp_listen).await?,
            metrics,
            install,
            log: Log::File(Arc::new(log)),
        })
    }
}

/// Gateway, door and sessions of one process.
pub(crate) struct Stack {
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// The sessions.
    pub sessions: Arc<LocalSessions>,
    /// `HOST:PORT` of the RTMP URLs.
    rtmp: String,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stack {
    /// Starts everything behind the doors.
    pub(crate) async fn start(
        settings: &Settings,
        doors: Doors,
        embedded: Option<&Embedded>,
    ) -> Result<Self, Failure> {
        let Doors { http, rtmp, metrics: scraped, install, log } = doors;
        let http_address = http.local_addr().map_err(Failure::unavailable)?;
        let rtmp_address = rtmp.local_addr().map_err(Failure::unavailable)?;
        let (registry, metrics) = (Registry::default(), Metrics::new());
        let rtmp_host = settings.rtmp_host.clone().unwrap_or_else(|| url_host(rtmp_address.ip()));
        let rtmp_port = settings.rtmp_port.unwrap_or_else(|| rtmp_address.port());
        let place = Place {
            scheme: rtmp_scheme(settings),
            host: rtmp_host.clone(),
            port: rtmp_port,
            is_loopback: leads_nowhere(settings, &rtmp_host),
            livekit_is_public: settings.livekit.as_ref().is_some_and(LiveKit::is_public),
        };
        let project = settings.livekit.as_ref().map(|livekit| livekit.project(&install.id)).transpose()?;
        let hands = Hands::new(HandsSettings {
            install,
            log: log.clone(),
            registry: registry.clone(),
            speech: speech_api(settings, embedded)?,
            metrics: metrics.clone(),
            data_dir: settings.data_dir.clone(),
            place,
            project: project.clone(),
            policy: policy(settings.start_unknown_seconds.into()),
            rollover: Duration::from_secs(settings.speech_rollover_seconds),
        });
        let sessions = LocalSessions::open(hands, settings.data_dir.clone(), settings.max_sessions)
            .map_err(|error| Failure::setting("DATA_DIR", error))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(door::serve(
            rtmp,
            registry,
            ConnectionSettings { tls: settings.tls.clone(), ..ConnectionSettings::default() },
            metrics.clone(),
            told(stopped.clone()),
            DOOR_GRACE,
        ));
        let gateway = roomscribe_gateway::app(gateway_config(settings), sessions.clone(), log.clone());
        tasks.spawn(serve_http(gateway, http, told(stopped.clone())));
        if let Some(listener) = scraped {
            tasks.spawn(serve_metrics(listener, metrics, told(stopped.clone())));
        }
        if let Some(tls) = settings.tls.clone() {
            let stopped = told(stopped.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = tls.keep_fresh(RENEWAL_INTERVAL) => {}
                    () = stopped => {}
                }
            });
        }
        if let Some(project) = project {
            tasks.spawn(collect::run(sessions.clone(), project, told(stopped.clone())));
        }
        tasks.spawn(sweep(log, sessions.clone(), settings.retention_days, told(stopped)));
        Ok(Self { http: http_address, sessions, rtmp: format!("{rtmp_host}:{rtmp_port}"), stop, tasks })
    }

    /// Sessions first (they leave what they hold in the spool, for the next process), then the doors.
    pub(crate) async fn stop(mut self) {
        self.sessions.suspend().await;
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// There is no other replica that all of them would rush to, and until the next start nobody hears the rooms.
const VIEWERS_LEAVE: Duration = Duration::from_millis(200);

/// `rtmp`, or `rtmps` when the door speaks TLS.
pub(crate) fn rtmp_scheme(settings: &Settings) -> &'static str {
    if settings.tls.is_some() { "rtmps" } else { "rtmp" }
}

/// LiveKit would be told an address that is none, or one that leads it to its own machine.
pub(crate) fn leads_nowhere(settings: &Settings, rtmp_host: &str) -> bool {
    let Some(livekit) = &settings.livekit else { return false };
    is_unspecified(rtmp_host) || (!livekit.is_local() && only_this_machine(rtmp_host))
}

async fn serve_http(
    gateway: roomscribe_gateway::Gateway,
    listener: TcpListener,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = gateway.serve(listener, stopped).await {
        tracing::error!(%error, "the HTTP server ended");
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
    Config { allowed_origins, public_url, drain: VIEWERS_LEAVE, ..Config::new(auth) }
}

/// A full disk is no reason to hide the transcripts on it: sessions say it themselves.
fn prepare(data_dir: &Path) -> Result<(), Failure> {
    let unusable = |error: io::Error| {
        Failure::setting(
            "DATA_DIR",
            format_args!(
                "{} cannot be used: {error}; choose a folder that can be written",
                data_dir.display()
            ),
        )
    };
    std::fs::create_dir_all(data_dir).map_err(unusable)?;
    let probe = data_dir.join(".probe");
    let written = std::fs::write(&probe, b"x");
    let _ = std::fs::remove_file(&probe);
    match written {
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            eprintln!(
                "DATA_DIR: the disk that holds {} is full: no session can start until space is freed",
                data_dir.display()
            );
            Ok(())
        }
        result => result.map_err(unusable),
    }
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

/// No kubelet lets a worker wait here, and no rules of nodes are waited for.
pub(crate) fn policy(start_unknown_seconds: i64) -> Policy {
    Policy {
        start_unknown_seconds,
        replaces_crashing_pods: false,
        start_settle_seconds: 0,
        move_settle_seconds: 0,
        ..Policy::default()
    }
}
