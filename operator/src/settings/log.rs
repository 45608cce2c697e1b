//! Where the transcripts of this installation go.

use super::SettingError;
use clap::Args;
use std::path::PathBuf;

/// The transcript log, as every worker is told.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// NATS with JetStream: transcripts outlive their pods, and gateways can read them; none: a folder of each worker's pod.
    #[arg(long, env = "NATS_URL", default_value = "", value_name = "URL")]
    pub nats_url: String,
    /// NATS credentials file; a changed file is noticed. Its content goes into the Secret of each session.
    #[arg(long, env = "NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// Servers that keep a copy of every transcript: 1, 3 or 5.
    #[arg(long, env = "NATS_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5), value_name = "COUNT")]
    pub nats_replicas: u8,
    /// Days that a transcript is kept after its last event.
    #[arg(long, env = "RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650), value_name = "DAYS")]
    pub retention_days: u16,
    /// What NATS_CREDS held when it was read last.
    #[arg(skip)]
    pub creds: Option<String>,
}

impl LogArgs {
    /// There is a NATS.
    pub fn is_nats(&self) -> bool {
        !self.nats_url.trim().is_empty()
    }

    pub(super) fn check(&self) -> Result<(), SettingError> {
        if self.nats_replicas.is_multiple_of(2) {
            let detail = format!("{} is even: give 1, 3 or 5 servers", self.nats_replicas);
            return Err(SettingError::new("NATS_REPLICAS", detail));
        }
        if self.nats_creds.is_some() && !self.is_nats() {
            return Err(SettingError::new("NATS_CREDS", "is set, but NATS_URL is not: set both"));
        }
        // It stands in every worker's pod, where whoever may read pods reads it.
        if has_password(&self.nats_url) {
            return Err(SettingError::new(
                "NATS_URL",
                "holds a password: give a credentials file as NATS_CREDS",
            ));
        }
        Ok(())
    }
}

/// A user's name or password before the host, in any of the servers.
fn has_password(urls: &str) -> bool {
    urls.split(',').any(|url| url.split_once("://").map_or(url, |(_, rest)| rest).contains('@'))
}
