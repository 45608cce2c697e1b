//! A worker's own settings: flags, then environment. The session comes as one JSON file (contract §6).

use crate::speech_http::SpeechApi;
use clap::Parser;
use roomscribe_pipeline::Settings;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One session: RTMP in, transcript out.
#[derive(Debug, Parser)]
#[command(name = "roomscribe-worker", version, about)]
pub struct Args {
    /// The session, as the operator wrote it.
    #[arg(long, value_name = "FILE")]
    pub session: PathBuf,
    /// RTMP address.
    #[arg(long, env = "RTMP_LISTEN", default_value = "0.0.0.0:1935", value_name = "ADDRESS")]
    pub rtmp_listen: SocketAddr,
    /// Health, metrics and status.
    #[arg(long, env = "METRICS_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// Transcript log and spool.
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Key of the speech service.
    #[arg(long, env = "GLADIA_API_KEY", hide_env_values = true, default_value = "", value_name = "KEY")]
    pub gladia_api_key: String,
    /// Base URL of the speech service.
    #[arg(long, env = "GLADIA_API_URL", default_value = "https://api.gladia.io", value_name = "URL")]
    pub gladia_api_url: String,
    /// `us-west` or `eu-west`.
    #[arg(long, env = "GLADIA_REGION", value_name = "REGION")]
    pub gladia_region: Option<String>,
    /// Seconds between SIGTERM and SIGKILL: the publisher may stay until 20 s before its end.
    #[arg(long, default_value_t = 90, value_name = "SECONDS")]
    pub grace_seconds: u64,
    /// Log filter.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// The session file, `"v":1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionFile {
    v: u32,
    /// Session secret (contract §2), base64url: stream keys are derived from it.
    pub secret: String,
    /// Identity, attempt, speech options.
    #[serde(flatten)]
    pub settings: Settings,
}

/// What a worker cannot start without; each says which setting to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("--session {path}: {error}")]
    Read {
        /// As given.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not a session file.
    #[error("--session {path}: {detail}")]
    Parse {
        /// As given.
        path: PathBuf,
        /// Field and position, never a value.
        detail: String,
    },
    /// The URL of the speech service cannot be used.
    #[error("GLADIA_API_URL: {0}")]
    Speech(String),
}

impl Args {
    /// Reads the session file.
    pub fn session_file(&self) -> Result<SessionFile, ConfigError> {
        let path = || self.session.clone();
        let bytes =
            std::fs::read(&self.session).map_err(|error| ConfigError::Read { path: path(), error })?;
        let file: SessionFile = serde_json::from_slice(&bytes)
            .map_err(|error| ConfigError::Parse { path: path(), detail: error.to_string() })?;
        if file.v != 1 {
            return Err(ConfigError::Parse {
                path: path(),
                detail: format!("v: {} is not 1; use a matching worker", file.v),
            });
        }
        Ok(file)
    }

    /// The speech service.
    pub fn speech(&self) -> Result<SpeechApi, ConfigError> {
        SpeechApi::new(&self.gladia_api_url, &self.gladia_api_key, self.gladia_region.clone())
            .map_err(ConfigError::Speech)
    }
}
