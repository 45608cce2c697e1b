//! `roomscribe-gateway`: people's door in a cluster; see `roomscribe_gateway::cluster`.

use roomscribe_gateway::cluster::settings::{Args, CommandLine, SettingError};
use roomscribe_gateway::cluster::start;
use roomscribe_transcript::discreet;
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const SETTINGS: u8 = 64;
const UNAVAILABLE: u8 = 69;
/// What still runs may say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(CommandLine::Shown) => return ExitCode::SUCCESS,
        Err(CommandLine::Wrong(line)) => return fail(SETTINGS, &line),
    };
    if let Err(error) = logging(&args) {
        return fail(SETTINGS, &error);
    }
    panic::set_hook(Box::new(tell_panic));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(UNAVAILABLE, &error),
    };
    let outcome = runtime.block_on(start::run(args, terminated()));
    // Why it ends is the last line, which `kubectl describe pod` shows.
    runtime.shutdown_timeout(LAST_WORDS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<SettingError>() => fail(SETTINGS, &format!("{error:#}")),
        Err(error) => fail(UNAVAILABLE, &format!("{error:#}")),
    }
}

fn logging(args: &Args) -> Result<(), SettingError> {
    let log = tracing_subscriber::fmt()
        .json()
        .with_env_filter(args.filter()?)
        .with_writer(std::io::stderr)
        .finish();
    let discreet = filter_fn(|metadata| discreet::may_show(metadata.target(), metadata.level()));
    let _ = log.with(discreet).try_init();
    Ok(())
}

/// Only where: a panic's message may quote the text that it stumbled over.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, "a part of the gateway panicked; please report this");
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("roomscribe-gateway: {error}");
    ExitCode::from(code)
}

/// Ctrl-C or SIGTERM.
async fn terminated() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
