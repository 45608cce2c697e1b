//! `roomscribe-worker`: one session in one process.

use clap::Parser;
use roomscribe_pipeline::stream_key::SessionSecret;
use roomscribe_pipeline::{Exit, Report};
use roomscribe_transcript::Log;
use roomscribe_transcript::file::FileLog;
use roomscribe_worker::config::{Args, SessionFile};
use roomscribe_worker::connection::ConnectionSettings;
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::publish::Writer;
use roomscribe_worker::registry::Registry;
use roomscribe_worker::run::{self, Order, Session};
use roomscribe_worker::spool::Spool;
use roomscribe_worker::{admin, door};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

const SETTINGS: u8 = 64;
const UNAVAILABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;
const CREDENTIALS: u8 = 78;
/// What a drain may take after the publisher has left.
const RESERVE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&args.log).unwrap_or_else(|_| "info".into());
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let file = match args.session_file() {
        Ok(file) => file,
        Err(error) => return fail(SETTINGS, &error),
    };
    // One core is plenty for one session, and wake-ups are the cost.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(UNAVAILABLE, &error),
    };
    match runtime.block_on(serve(args, file)) {
        Ok(code) => code,
        Err((code, error)) => fail(code, &error),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("roomscribe-worker: {error}");
    ExitCode::from(code)
}

type Failure = (u8, String);

async fn serve(args: Args, file: SessionFile) -> Result<ExitCode, Failure> {
    let unavailable = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| (UNAVAILABLE, format!("{what}: {error}"))
    };
    let rtmp = TcpListener::bind(args.rtmp_listen).await.map_err(unavailable("RTMP_LISTEN"))?;
    let admin_listener =
        TcpListener::bind(args.metrics_listen).await.map_err(unavailable("METRICS_LISTEN"))?;
    let (metrics, registry) = (Metrics::new(), Registry::default());
    let (report, reported) = watch::channel(Report::default());
    let (orders, ordered) = watch::channel(Order::Run);
    let session = assemble(&args, file, &registry, &metrics, report, ordered).await?;
    let (stop, stopped) = watch::channel(false);
    let doors = tokio::spawn(door::serve(
        rtmp,
        registry.clone(),
        ConnectionSettings::default(),
        metrics.clone(),
        told(stopped.clone()),
        Duration::from_secs(1),
    ));
    let health = tokio::spawn(admin::serve(admin_listener, metrics, reported.clone(), told(stopped)));
    let running = run::run(session);
    tokio::pin!(running);
    let exit = tokio::select! {
        exit = &mut running => exit,
        () = terminated(&args, reported.clone()) => {
            let _ = orders.send(Order::Suspend);
            running.await
        }
    };
    let refused = reported.borrow().speech.reason == "CredentialsRejected";
    let _ = stop.send(true);
    let _ = doors.await;
    let _ = health.await;
    Ok(match exit {
        Exit::LogFailed => ExitCode::from(TRY_AGAIN),
        _ if refused => ExitCode::from(CREDENTIALS),
        _ => ExitCode::SUCCESS,
    })
}

async fn assemble(
    args: &Args,
    file: SessionFile,
    registry: &Registry,
    metrics: &Metrics,
    report: watch::Sender<Report>,
    orders: watch::Receiver<Order>,
) -> Result<Session, Failure> {
    let secret = SessionSecret::from_base64url(&file.secret)
        .ok_or_else(|| (SETTINGS, "--session: `secret` is not 32 bytes of base64url".to_owned()))?;
    let data_dir = |error: &dyn std::fmt::Display| (UNAVAILABLE, format!("DATA_DIR: {error}"));
    let log = Log::File(Arc::new(FileLog::open(&args.data_dir).map_err(|error| data_dir(&error))?));
    let settings = file.settings;
    let head = log.open(&settings.session).await.map_err(|error| data_dir(&error))?;
    let spool = Spool::open(&args.data_dir.join("sessions").join(settings.session.as_str()).join("spool"))
        .map_err(|error| data_dir(&error))?;
    Ok(Session {
        ingest: registry.open(settings.session.clone(), secret, settings.generation.0),
        registry: registry.clone(),
        writer: Writer::new(log, settings.session.clone(), settings.generation, metrics.clone()),
        head,
        speech: args.speech().map_err(|error| (SETTINGS, error.to_string()))?,
        spool,
        metrics: metrics.clone(),
        report,
        orders,
        settings,
    })
}

/// SIGTERM or SIGINT, then the publisher's leaving or `grace − 20 s`: closing the port first wedges the egress.
async fn terminated(args: &Args, mut report: watch::Receiver<Report>) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => return,
    }
    let patience = Duration::from_secs(args.grace_seconds).saturating_sub(RESERVE);
    let _ = tokio::time::timeout(patience, report.wait_for(|report| report.publisher.is_none())).await;
}

async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
