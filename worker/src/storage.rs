//! Where the transcript goes: NATS, or without `NATS_URL` a file in `DATA_DIR`.

use crate::config::Args;
use roomscribe_transcript::{Log, LogError};
use std::fmt::Display;

/// Opens the log; for NATS within a bounded wait.
///
/// # Errors
/// One line that names the setting to mend.
pub async fn open(args: &Args) -> Result<Log, String> {
    if args.nats_url.trim().is_empty() {
        return Log::file(&args.data_dir).map_err(|error| folder(args, &error));
    }
    nats(args).await.map_err(|error| failed(args, &error))
}

/// What is wrong with the log, and what to mend.
pub fn failed(args: &Args, error: &LogError) -> String {
    match error {
        LogError::Nats { .. } => error.to_string(),
        error if args.nats_url.trim().is_empty() => folder(args, error),
        error => format!("NATS_URL: {error}"),
    }
}

/// What is wrong with the folder.
pub fn folder(args: &Args, error: &dyn Display) -> String {
    let path = args.data_dir.display();
    format!("DATA_DIR: {path}: {error}; choose a folder that can be written and has space")
}

#[cfg(feature = "nats")]
async fn nats(args: &Args) -> Result<Log, LogError> {
    use roomscribe_transcript::nats::NatsSettings;
    // NATS' TLS takes the process' provider; the first one stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = NatsSettings {
        url: args.nats_url.trim().to_owned(),
        creds: args.nats_creds.clone().filter(|path| !path.as_os_str().is_empty()),
        prefix: "roomscribe".to_owned(),
        replicas: args.nats_replicas,
        retention: std::time::Duration::from_secs(u64::from(args.retention_days) * 86_400),
    };
    Log::nats(settings).await
}

#[cfg(not(feature = "nats"))]
async fn nats(_: &Args) -> Result<Log, LogError> {
    Err(LogError::Nats {
        url: String::new(),
        why: "this program was built without NATS".to_owned(),
        mend: "build it with the feature nats, or unset NATS_URL",
    })
}
