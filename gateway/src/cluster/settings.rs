//! Settings of `roomscribe-gateway`: flags, then environment. A wrong one ends with exit code 64 and a line that names it.

use super::document::Install;
use crate::config::Secret;
use crate::sessions::CreateSession;
use clap::Parser;
use roomscribe_crds::stream_key::InstallKey;
use roomscribe_transcript::nats::NatsSettings;
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// An API key shorter than this can be guessed.
const API_KEY_BYTES: usize = 16;
/// RFC 7518 §3.2.
const JWT_SECRET_BYTES: usize = 32;

/// As images are built (`images/pack.sh`), with the commit.
const VERSION: &str = match option_env!("ROOMSCRIBE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// People's door to the TranscriptionSessions of a cluster: HTTP API, live transcripts, captions, one page.
#[derive(Debug, Clone, Parser)]
#[command(name = "roomscribe-gateway", version = VERSION, about)]
pub struct Args {
    /// HTTP API, WebSockets and page; [::] is every address, IPv4 and IPv6, whichever of them the kernel has.
    #[arg(long, env = "HTTP_LISTEN", default_value = "[::]:8080", value_name = "ADDRESS")]
    pub http_listen: SocketAddr,
    /// Health and metrics, for the cluster only.
    #[arg(long, env = "METRICS_LISTEN", default_value = "[::]:9090", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// The gateway's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Namespaces whose sessions are served, separated by commas; sessions are created in the first. None: its own.
    #[arg(long, env = "GATEWAY_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    pub gateway_namespaces: Vec<String>,
    /// Folder of the install Secret: files `id` (8 hex digits) and `key` (32 bytes or more), the operator's own.
    #[arg(long, env = "INSTALL_DIR", default_value = "/etc/roomscribe/install", value_name = "FOLDER")]
    pub install_dir: PathBuf,
    /// The transcript log, nats://HOST:4222: in a cluster it is NATS JetStream, shared by gateways and workers.
    #[arg(long, env = "NATS_URL", hide_env_values = true, default_value = "", value_name = "URL")]
    pub nats_url: String,
    /// Credentials file for NATS.
    #[arg(long, env = "NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// Copies of the transcript log: an existing one is changed to this.
    #[arg(long, env = "NATS_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5), value_name = "COUNT")]
    pub nats_replicas: u8,
    /// Days that transcripts are kept; an existing log is changed to this.
    #[arg(long, env = "RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500), value_name = "DAYS")]
    pub retention_days: u32,
    /// Keys of backends, separated by commas; each may do everything.
    #[arg(long, env = "ROOMSCRIBE_API_KEY", hide_env_values = true, default_value = "", value_name = "KEYS")]
    pub api_key: String,
    /// File with the keys instead, by commas or lines.
    #[arg(long, env = "ROOMSCRIBE_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// HS256 secret of viewers' tokens, 32 bytes or more.
    #[arg(
        long,
        env = "ROOMSCRIBE_JWT_SECRET",
        hide_env_values = true,
        default_value = "",
        value_name = "SECRET"
    )]
    pub jwt_secret: String,
    /// File with that secret instead.
    #[arg(long, env = "ROOMSCRIBE_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Key set (JWKS) of whoever signs viewers' tokens: RSA, P-256, P-384 or Ed25519.
    #[arg(long, env = "ROOMSCRIBE_JWKS_URL", default_value = "", value_name = "URL")]
    pub jwks_url: String,
    /// Origins of pages that may call, separated by commas: https://app.example.com, https://*.example.com.
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub allowed_origins: Vec<String>,
    /// Where people reach the gateway, https://captions.example.com: makes links absolute.
    #[arg(long, env = "PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Fields of the resource's spec as JSON, laid under the body of POST /v1/sessions: {"ingest":{"exposure":"ClusterIP"}}.
    #[arg(long, env = "SESSION_DEFAULTS", default_value = "", value_name = "JSON")]
    pub session_defaults: String,
    /// At shutdown: seconds that /readyz fails before anything is closed, until the cluster sends nobody any more.
    #[arg(long, env = "SETTLE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600), value_name = "SECONDS")]
    pub settle_seconds: u64,
    /// … and then seconds over which viewers are sent to other replicas.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600), value_name = "SECONDS")]
    pub drain_seconds: u64,
    /// Log filter.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {detail}")]
pub struct SettingError {
    /// As the user writes it.
    pub setting: &'static str,
    /// What is wrong and how to mend it; never a secret.
    pub detail: String,
}

impl SettingError {
    pub(super) fn new(setting: &'static str, detail: impl Into<String>) -> Self {
        Self { setting, detail: detail.into() }
    }
}

/// Why the command line gives no settings.
#[derive(Debug)]
pub enum CommandLine {
    /// `--help` or `--version`: printed already.
    Shown,
    /// One line.
    Wrong(String),
}

impl Args {
    /// Reads flags and environment.
    ///
    /// # Errors
    /// [`CommandLine`].
    pub fn read() -> Result<Self, CommandLine> {
        match Self::try_parse() {
            Ok(args) => Ok(args),
            Err(error) if error.use_stderr() => Err(CommandLine::Wrong(one_line(&error.to_string()))),
            Err(error) => {
                // A closed standard output is the reader's wish.
                let _ = error.print();
                Err(CommandLine::Shown)
            }
        }
    }

    /// Namespaces that are served, each once; the first is where sessions are created.
    pub fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<String> = Vec::new();
        for name in self.gateway_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if !namespaces.iter().any(|known| known == name) {
                namespaces.push(name.to_owned());
            }
        }
        if namespaces.is_empty() { vec![self.namespace.clone()] } else { namespaces }
    }

    /// Who may do what.
    ///
    /// # Errors
    /// No key at all, or one that can be guessed.
    pub fn auth(&self) -> Result<crate::Auth, SettingError> {
        let keys = either("ROOMSCRIBE_API_KEY_FILE", self.api_key_file.as_deref(), &self.api_key)?;
        let keys: Vec<&str> = keys.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty()).collect();
        if let Some(key) = keys.iter().find(|key| key.len() < API_KEY_BYTES) {
            return Err(SettingError::new(
                "ROOMSCRIBE_API_KEY",
                format!(
                    "a key of {} characters can be guessed: use at least {API_KEY_BYTES}, e.g. from `openssl rand -hex 16`",
                    key.len()
                ),
            ));
        }
        let secret = either("ROOMSCRIBE_JWT_SECRET_FILE", self.jwt_secret_file.as_deref(), &self.jwt_secret)?;
        if !secret.is_empty() && secret.len() < JWT_SECRET_BYTES {
            return Err(SettingError::new(
                "ROOMSCRIBE_JWT_SECRET",
                format!("is shorter than {JWT_SECRET_BYTES} bytes: make one with `openssl rand -hex 32`"),
            ));
        }
        // Tickets need a secret that all replicas share, whoever signs tokens.
        if keys.is_empty() && secret.is_empty() {
            return Err(SettingError::new(
                "ROOMSCRIBE_API_KEY",
                "is not set: in a cluster the gateway is never open; make a key with `openssl rand -hex 16`",
            ));
        }
        Ok(crate::Auth::Required {
            api_keys: keys.into_iter().map(Secret::new).collect(),
            jwt_secret: Some(secret).filter(|secret| !secret.is_empty()).map(Secret::new),
        })
    }

    /// What is laid under each request.
    ///
    /// # Errors
    /// It is no part of a request.
    pub fn defaults(&self) -> Result<Map<String, Value>, SettingError> {
        let wrong = |detail: String| SettingError::new("SESSION_DEFAULTS", detail);
        if self.session_defaults.trim().is_empty() {
            return Ok(Map::new());
        }
        let defaults: Map<String, Value> = serde_json::from_str(&self.session_defaults)
            .map_err(|error| wrong(format!("is no JSON object: {error}")))?;
        if let Some(own) = ["name", "roomName"].iter().find(|own| defaults.contains_key(**own)) {
            return Err(wrong(format!("{own} is each session's own: remove it")));
        }
        let mut request = defaults.clone();
        request.insert("roomName".into(), "any".into());
        let request: CreateSession = serde_path_to_error::deserialize(Value::Object(request))
            .map_err(|error| wrong(format!("{}: {}", error.path(), error.inner())))?;
        match crate::validate::wrong_fields(&request).first() {
            Some(first) => Err(wrong(format!("{}: {}", first.pointer, first.detail))),
            None => Ok(defaults),
        }
    }

    /// Where the transcript log is.
    ///
    /// # Errors
    /// It is not set, is no URL of NATS, or the credentials file cannot be read.
    pub fn nats(&self) -> Result<NatsSettings, SettingError> {
        let url = self.nats_url.trim();
        if !url.split(',').all(is_nats) {
            let what = if url.is_empty() {
                "is not set: in a cluster the transcript log is NATS JetStream"
            } else {
                "no URL of NATS"
            };
            return Err(SettingError::new("NATS_URL", format!("{what}; give nats://HOST:4222")));
        }
        if let Some(path) = &self.nats_creds {
            let wrong = |error| {
                format!("{}: {error}; mount the Secret with the credentials file there", path.display())
            };
            std::fs::read(path).map_err(|error| SettingError::new("NATS_CREDS", wrong(error)))?;
        }
        Ok(NatsSettings {
            url: url.to_owned(),
            creds: self.nats_creds.clone(),
            prefix: "roomscribe".to_owned(),
            replicas: self.nats_replicas,
            retention: self.retention(),
        })
    }

    /// The log filter; what libraries dump is never shown, whatever it says ([`roomscribe_transcript::discreet`]).
    ///
    /// # Errors
    /// It is none.
    pub fn filter(&self) -> Result<EnvFilter, SettingError> {
        let wrong = |error| format!("{error}; give a filter such as info or roomscribe_gateway=debug");
        EnvFilter::try_new(&self.log).map_err(|error| SettingError::new("RUST_LOG", wrong(error)))
    }

    /// How long transcripts are kept.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.retention_days) * 24 * 3600)
    }

    /// Reads the install Secret's files.
    ///
    /// # Errors
    /// When one of them is not there or is no id or key.
    pub fn install(&self) -> Result<Install, SettingError> {
        let read = |name: &str| {
            let path = self.install_dir.join(name);
            let wrong = |error| format!("{}: {error}; mount the install Secret there", path.display());
            std::fs::read(&path).map_err(|error| SettingError::new("INSTALL_DIR", wrong(error)))
        };
        let id = String::from_utf8_lossy(&read("id")?).trim().to_owned();
        if id.len() != 8 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(SettingError::new("INSTALL_DIR", "file id: not 8 hex digits"));
        }
        let key = read("key")?;
        if key.len() < 32 {
            return Err(SettingError::new("INSTALL_DIR", "file key: fewer than 32 bytes"));
        }
        Ok(Install { id, key: InstallKey::new(key) })
    }
}

/// `host`, `nats://host:4222` or `tls://…`; what it says of a wrong one never quotes it, because passwords may stand in it.
fn is_nats(url: &str) -> bool {
    let (scheme, rest) = url.trim().split_once("://").unwrap_or_else(|| ("nats", url.trim()));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    matches!(scheme, "nats" | "tls") && !host.is_empty() && !host.contains(char::is_whitespace)
}

/// The file's text, where a file is given.
fn either(setting: &'static str, file: Option<&Path>, text: &str) -> Result<String, SettingError> {
    let Some(path) = file else { return Ok(text.trim().to_owned()) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        SettingError::new(setting, format!("{}: {error}; mount the Secret there", path.display()))
    })?;
    if text.trim().is_empty() {
        return Err(SettingError::new(setting, format!("{} is empty", path.display())));
    }
    Ok(text.trim().to_owned())
}

/// clap's first paragraph: what is wrong, with the name that environments use.
fn one_line(error: &str) -> String {
    let first = error.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    let said = words.join(" ");
    let flag = said.split("'--").nth(1).and_then(|rest| rest.split([' ', '\'']).next()).unwrap_or_default();
    format!("{}: {said}; see --help", flag.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests;
