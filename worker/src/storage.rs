//! Where the transcript goes: NATS, or without `NATS_URL` a file in `DATA_DIR`.

use crate::config::Args;
use crate::publish::Trouble;
use roomscribe_pipeline::Report;
use roomscribe_transcript::{Head, Log, LogError, SessionId};
use std::fmt::Display;
use std::time::Duration;
use tokio::sync::watch;

/// For one attempt at NATS; what it waits for is told after it.
#[cfg(feature = "nats")]
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two attempts.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Opens the session's log. A NATS that is away or full at the start is waited for: `report` says so meanwhile.
///
/// # Errors
/// One line that names the setting to mend.
pub async fn begin(
    args: &Args,
    session: &SessionId,
    report: &watch::Sender<Report>,
) -> Result<(Log, Head), String> {
    loop {
        let error = match attempt(args, session).await {
            Ok(begun) => {
                tell(report, "", None);
                return Ok(begun);
            }
            Err(error) => error,
        };
        let said = failed(args, &error);
        let trouble = match error {
            LogError::Nats { .. } => Trouble::NatsAway,
            LogError::Full if is_nats(args) => Trouble::NatsFull,
            _ => return Err(said),
        };
        if tell(report, trouble.reason(), Some(said.clone())) {
            tracing::error!(%session, "{said}; the session waits for it");
        }
        tokio::time::sleep(RETRY_WAIT).await;
    }
}

async fn attempt(args: &Args, session: &SessionId) -> Result<(Log, Head), LogError> {
    let log = if is_nats(args) { nats(args).await? } else { Log::file(&args.data_dir)? };
    let head = log.open(session).await?;
    Ok((log, head))
}

/// True when it is news.
fn tell(report: &watch::Sender<Report>, reason: &'static str, said: Option<String>) -> bool {
    report.send_if_modified(|shown| {
        let is_news = shown.reason != reason || shown.last_error != said;
        if is_news {
            (shown.reason, shown.last_error) = (reason, said);
            shown.version += 1;
        }
        is_news
    })
}

fn is_nats(args: &Args) -> bool {
    !args.nats_url.trim().is_empty()
}

/// What is wrong with the log, and what to mend.
fn failed(args: &Args, error: &LogError) -> String {
    match error {
        LogError::Nats { .. } => error.to_string(),
        error if is_nats(args) => format!("NATS_URL: {error}"),
        error => folder(args, error),
    }
}

/// What is wrong with the folder.
pub fn folder(args: &Args, error: &dyn Display) -> String {
    let path = args.data_dir.display();
    format!("DATA_DIR: {path}: {error}; choose a folder that can be written and has space")
}

#[cfg(feature = "nats")]
async fn nats(args: &Args) -> Result<Log, LogError> {
    use roomscribe_transcript::nats::{NatsLog, NatsSettings};
    // NATS' TLS takes the process' provider; the first one stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = NatsSettings {
        url: args.nats_url.trim().to_owned(),
        creds: args.nats_creds.clone().filter(|path| !path.as_os_str().is_empty()),
        prefix: "roomscribe".to_owned(),
        replicas: args.nats_replicas,
        retention: Duration::from_secs(u64::from(args.retention_days) * 86_400),
    };
    Ok(Log::Nats(std::sync::Arc::new(NatsLog::connect_within(ATTEMPT, settings).await?)))
}

#[cfg(not(feature = "nats"))]
async fn nats(_: &Args) -> Result<Log, LogError> {
    // Nothing to wait for.
    Err(LogError::Io(std::io::Error::other(
        "this program was built without NATS: build it with the feature nats, or unset NATS_URL",
    )))
}
