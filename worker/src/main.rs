//! `roomscribe-worker`: one session in one process.

use roomscribe_pipeline::stream_key::SessionSecret;
use roomscribe_pipeline::{Exit, Report};
use roomscribe_transcript::discreet;
use roomscribe_worker::admin::Begun;
use roomscribe_worker::config::{Args, ConfigError, SessionFile};
use roomscribe_worker::connection::ConnectionSettings;
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::publish::Writer;
use roomscribe_worker::registry::Registry;
use roomscribe_worker::run::{self, Before, Order, Orders, Session};
use roomscribe_worker::signals::{StopSignal, StopSignals};
use roomscribe_worker::speech_http::SpeechApi;
use roomscribe_worker::spool::Spool;
use roomscribe_worker::tls::Tls;
use roomscribe_worker::{admin, clock, door, listen, storage};
use std::net::SocketAddr;
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const SETTINGS: u8 = 64;
const UNAVAILABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;
const CREDENTIALS: u8 = 78;
/// What a drain may take after the publisher has left.
const RESERVE: Duration = Duration::from_secs(20);
/// Left of the grace when a stop that goes on and on is cut.
const EXIT_RESERVE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let (args, started) = match settings() {
        Ok(Some(settings)) => settings,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return fail(SETTINGS, &error),
    };
    panic::set_hook(Box::new(tell_panic));
    // One core is plenty for one session, and wake-ups are the cost.
    // Its slots and those of the runtime's timers begin together.
    clock::now();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(UNAVAILABLE, &error),
    };
    match runtime.block_on(serve(args, started)) {
        Ok(code) => code,
        Err((code, error)) => fail(code, &error),
    }
}

/// What the session file, the speech settings and the TLS files give.
struct Started {
    file: SessionFile,
    secret: SessionSecret,
    speech: SpeechApi,
    tls: Option<Tls>,
}

fn settings() -> Result<Option<(Args, Started)>, ConfigError> {
    let Some(args) = Args::read()? else { return Ok(None) };
    let filter = args.filter()?;
    let log = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).finish();
    let discreet = filter_fn(|metadata| discreet::may_show(metadata.target(), metadata.level()));
    let _ = log.with(discreet).try_init();
    let (file, secret) = args.session_file()?;
    let (speech, tls) = (args.speech()?, args.tls()?);
    Ok(Some((args, Started { file, secret, speech, tls })))
}

/// Only where: a panic's message may quote the text that it stumbled over.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, "a part of the worker panicked; please report this");
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("roomscribe-worker: {error}");
    ExitCode::from(code)
}

type Failure = (u8, String);

fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    listen::listen(address).map_err(|error| {
        let mend = "stop what uses it, or choose another address";
        (UNAVAILABLE, format!("{setting}: cannot listen on {address}: {error}; {mend}"))
    })
}

async fn serve(args: Args, started: Started) -> Result<ExitCode, Failure> {
    let rtmp = listen("RTMP_LISTEN", args.rtmp_listen)?;
    let admin_listener = listen("METRICS_LISTEN", args.metrics_listen)?;
    let (metrics, registry) = (Metrics::new(), Registry::default());
    // A long poll that began at an earlier process must see a version that it does not know.
    let first = Report { version: clock::wall_ms(), ..Report::default() };
    let (report, reported) = watch::channel(first);
    let (orders, ordered) = Orders::new();
    let owner = owner(&started, &orders);
    let every = Duration::from_secs(args.tls_renewal_seconds.max(1));
    let renewal = started.tls.clone().map(|tls| tokio::spawn(tls.keep_fresh(every)));
    let settings = ConnectionSettings { tls: started.tls.clone(), ..ConnectionSettings::default() };
    let (stop, stopped) = watch::channel(false);
    let mut signals = StopSignals::listen();
    // Before the log, so that whoever asks hears what the session waits for.
    let begun = Begun::default();
    let health = admin::serve(
        admin_listener,
        metrics.clone(),
        reported.clone(),
        owner,
        begun.clone(),
        told(stopped.clone()),
    );
    let health = tokio::spawn(health);
    let session = tokio::select! {
        session = assemble(&args, started, &registry, &metrics, report, ordered) => session?,
        // In a container nothing else makes of it an end.
        _ = signals.next() => return Err((TRY_AGAIN, "asked to end before the session had its log".into())),
    };
    begun.tell();
    let doors = tokio::spawn(door::serve(
        rtmp,
        registry.clone(),
        settings,
        metrics,
        told(stopped),
        Duration::from_secs(1),
    ));
    // A task, not this future: each wake-up of the runtime's own future costs a write to its event descriptor.
    let mut running = tokio::spawn(run::run(session));
    let exit = tokio::select! {
        exit = &mut running => exit,
        () = terminated(&args, &orders, reported.clone(), signals) => {
            orders.give(Order::Suspend);
            running.await
        }
    };
    let exit = exit.map_err(|error| (TRY_AGAIN, format!("the session's loop failed: {error}")))?;
    let refused = reported.borrow().speech.reason == "CredentialsRejected";
    let _ = stop.send(true);
    let _ = doors.await;
    if let Some(renewal) = renewal {
        renewal.abort();
    }
    // A scraper that reads slowly does not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), health).await;
    Ok(match exit {
        Exit::LogFailed => ExitCode::from(TRY_AGAIN),
        // It has its end: another process would have nothing to do, whatever the speech service thinks of the key.
        Exit::Done => ExitCode::SUCCESS,
        _ if refused => ExitCode::from(CREDENTIALS),
        _ => ExitCode::SUCCESS,
    })
}

fn owner(started: &Started, orders: &Orders) -> admin::Owner {
    let (secret, session) = (started.secret.clone(), started.file.settings.session.clone());
    admin::Owner { secret, session, orders: orders.clone() }
}

async fn assemble(
    args: &Args,
    started: Started,
    registry: &Registry,
    metrics: &Metrics,
    report: watch::Sender<Report>,
    orders: watch::Receiver<Order>,
) -> Result<Session, Failure> {
    let Started { file, secret, speech, .. } = started;
    let lowest_attempt = file.lowest_attempt.unwrap_or(file.settings.generation.0);
    let mut settings = file.settings;
    settings.longest_stop = Duration::from_secs(args.grace_seconds).saturating_sub(EXIT_RESERVE);
    let begun = storage::begin(args, &settings.session, &report).await;
    let (log, head) = begun.map_err(|error| (UNAVAILABLE, error))?;
    let spool = Spool::open(&args.data_dir.join("sessions").join(settings.session.as_str()).join("spool"))
        .map_err(|error| (UNAVAILABLE, storage::folder(args, &error)))?;
    Ok(Session {
        ingest: registry.open(settings.session.clone(), secret, lowest_attempt),
        registry: registry.clone(),
        writer: Writer::new(log, settings.session.clone(), settings.generation, metrics.clone()),
        head,
        speech,
        spool,
        metrics: metrics.clone(),
        report,
        orders,
        settings,
        succeeds: args.handover.then(|| Before {
            ends_at_ms: args.handover_until.and_then(|at| u64::try_from(at.as_millisecond()).ok()),
        }),
    })
}

/// SIGTERM: until the publisher's leaving or `grace − 20 s`, because closing the port first wedges the egress. SIGINT,
/// or a second signal: at once.
async fn terminated(
    args: &Args,
    orders: &Orders,
    mut report: watch::Receiver<Report>,
    mut signals: StopSignals,
) {
    if signals.next().await == StopSignal::Interrupt {
        return;
    }
    orders.give(Order::Drain);
    let patience = Duration::from_secs(args.grace_seconds).saturating_sub(RESERVE);
    tokio::select! {
        _ = report.wait_for(|report| report.publisher.is_none()) => {}
        () = tokio::time::sleep(patience) => {}
        _ = signals.next() => {}
    }
}

async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
