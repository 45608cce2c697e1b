//! `roomscribe-operator`: see the crate's documentation.

use roomscribe_operator::discreet;
use roomscribe_operator::jobs::Job;
use roomscribe_operator::settings::{Args, CommandLine, SettingError};
use roomscribe_operator::start::{End, operate, work};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const SETTINGS: u8 = 64;
const UNAVAILABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(CommandLine::Shown) => return ExitCode::SUCCESS,
        Err(CommandLine::Wrong(line)) => return fail(SETTINGS, &line),
    };
    let filter = match tracing_subscriber::EnvFilter::try_new(&args.log) {
        Ok(filter) => filter,
        Err(error) => return fail(SETTINGS, &format!("RUST_LOG: {error}; give a filter such as info")),
    };
    // The innermost span only: it names the session; kube's around it would say the same once more.
    tracing_subscriber::fmt()
        .json()
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .finish()
        .with(filter_fn(|metadata| discreet::may_show(metadata.target(), metadata.level())))
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(UNAVAILABLE, &error.to_string()),
    };
    let job = args.job.clone();
    let tries_again = matches!(job, Some(Job::Drain(_)));
    let end = match job {
        Some(job) => runtime.block_on(work(args, job, terminated())),
        None => runtime.block_on(operate(args, terminated())),
    };
    match end {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Job { done, said }) => {
            println!("{}", said.trim_end());
            match (done, tries_again) {
                (true, _) => ExitCode::SUCCESS,
                (false, true) => ExitCode::from(TRY_AGAIN),
                (false, false) => ExitCode::from(UNAVAILABLE),
            }
        }
        Ok(End::LeaseLost) => fail(TRY_AGAIN, "the Lease was lost: another operator leads now"),
        Err(error) if error.is::<SettingError>() => fail(SETTINGS, &format!("{error:#}")),
        Err(error) => fail(UNAVAILABLE, &format!("{error:#}")),
    }
}

fn fail(code: u8, error: &str) -> ExitCode {
    eprintln!("roomscribe-operator: {error}");
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
