//! The operator's settings: flags, then environment. A wrong one ends with exit code 64 and a line that names it.

mod log;
mod worker;

use crate::jobs::Job;
use clap::Parser;
pub use log::LogArgs;
use std::net::SocketAddr;
use std::path::PathBuf;
pub use worker::{Annotations, PullPolicy, WorkerArgs};

/// As images are built (`images/pack.sh`), with the commit.
const VERSION: &str = match option_env!("ROOMSCRIBE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Keeps LiveKit and the cluster as the TranscriptionSessions ask.
#[derive(Debug, Clone, Parser)]
#[command(name = "roomscribe-operator", version = VERSION, about)]
pub struct Args {
    /// None: look after sessions.
    #[command(subcommand)]
    pub job: Option<Job>,
    /// Namespaces whose sessions are looked after, separated by commas; none: all namespaces.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
    /// The operator's own namespace: its Lease is there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// URL of the LiveKit project that sessions without livekitRef use.
    #[arg(long, env = "LIVEKIT_HTTP_URL", default_value = "", value_name = "URL")]
    pub livekit_http_url: String,
    /// Its API key.
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "", value_name = "KEY")]
    pub livekit_api_key: String,
    /// Its API secret.
    #[arg(
        long,
        env = "LIVEKIT_API_SECRET",
        hide_env_values = true,
        default_value = "",
        value_name = "SECRET"
    )]
    pub livekit_api_secret: String,
    /// File with the API key instead; a changed file is noticed.
    #[arg(long, env = "LIVEKIT_API_KEY_FILE", value_name = "FILE")]
    pub livekit_api_key_file: Option<PathBuf>,
    /// File with the API secret instead; a changed file is noticed.
    #[arg(long, env = "LIVEKIT_API_SECRET_FILE", value_name = "FILE")]
    pub livekit_api_secret_file: Option<PathBuf>,
    /// Calls a second to one LiveKit project.
    #[arg(long, env = "LIVEKIT_RATE", default_value_t = 10.0, value_name = "CALLS")]
    pub livekit_rate: f64,
    /// Calls at once to one LiveKit project.
    #[arg(long, env = "LIVEKIT_BURST", default_value_t = 50.0, value_name = "CALLS")]
    pub livekit_burst: f64,
    /// Speech key of sessions without speech.secretRef; handed to their workers.
    #[arg(long, env = "GLADIA_API_KEY", hide_env_values = true, default_value = "", value_name = "KEY")]
    pub gladia_api_key: String,
    /// File with the speech key instead; a changed file is noticed, and sessions whose key was refused recover.
    #[arg(long, env = "GLADIA_API_KEY_FILE", value_name = "FILE")]
    pub gladia_api_key_file: Option<PathBuf>,
    /// Base URL of the speech service.
    #[arg(long, env = "GLADIA_API_URL", default_value = "https://api.gladia.io", value_name = "URL")]
    pub gladia_api_url: String,
    /// us-west or eu-west.
    #[arg(long, env = "GLADIA_REGION", value_name = "REGION")]
    pub gladia_region: Option<String>,
    /// Speech sessions at a time in this installation; 0: no limit. Further sessions wait, oldest first.
    #[arg(long, env = "SPEECH_MAX_CONCURRENT", default_value_t = 0, value_name = "COUNT")]
    pub speech_max_concurrent: u32,
    /// Folder of the install Secret: files `id` (8 hex digits) and `key` (32 bytes or more).
    #[arg(long, env = "INSTALL_DIR", default_value = "/etc/roomscribe/install", value_name = "FOLDER")]
    pub install_dir: PathBuf,
    /// The worker pods.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// The transcript log.
    #[command(flatten)]
    pub transcripts: LogArgs,
    /// Sessions may bring Secrets of their own (livekitRef, speech.secretRef); needs the right to get Secrets.
    #[arg(long, env = "CREDENTIALS_PER_SESSION")]
    pub credentials_per_session: bool,
    /// With exposure NodePort: the host that LiveKit is told; none: the address of the worker's node.
    #[arg(long, env = "NODE_PORT_HOST", value_name = "HOST")]
    pub node_port_host: Option<String>,
    /// Seconds that LiveKit may take to confirm that a session's egresses have ended, before the session is let go.
    #[arg(long, env = "CLEANUP_DEADLINE_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(i64).range(30..=86_400), value_name = "SECONDS")]
    pub cleanup_deadline_seconds: i64,
    /// Services of type LoadBalancer take node ports, two each; false where the load balancer reaches pods without them: the
    /// default node port range ends at 1,384 sessions.
    #[arg(long, env = "LOAD_BALANCER_NODE_PORTS", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub load_balancer_node_ports: bool,
    /// Health and metrics; [::] is every address, IPv4 and IPv6, whichever of them the kernel has.
    #[arg(long, env = "METRICS_LISTEN", default_value = "[::]:9090", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// Name of the Lease.
    #[arg(long, env = "LEASE_NAME", default_value = "roomscribe-operator", value_name = "NAME")]
    pub lease_name: String,
    /// Seconds after which another operator takes over from one that is dead.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300), value_name = "SECONDS")]
    pub lease_seconds: u64,
    /// Run without a Lease: only where no second operator can ever run, not even during an upgrade.
    #[arg(long, env = "NO_LEADER_ELECTION")]
    pub no_leader_election: bool,
    /// Sessions that are worked on at the same time.
    #[arg(long, env = "CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "COUNT")]
    pub concurrency: u16,
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
    pub(crate) fn new(setting: &'static str, detail: impl Into<String>) -> Self {
        Self { setting, detail: detail.into() }
    }
}

/// Id and key of the installation (contract §2).
#[derive(Clone)]
pub struct Install {
    /// 8 hex digits.
    pub id: String,
    /// Session secrets are derived from it.
    pub key: Vec<u8>,
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

    /// What can be checked before anything is asked.
    ///
    /// # Errors
    /// The setting and the mend.
    pub fn check(&self) -> Result<(), SettingError> {
        let livekit = [
            ("LIVEKIT_HTTP_URL", &self.livekit_http_url),
            ("LIVEKIT_API_KEY", &self.livekit_api_key),
            ("LIVEKIT_API_SECRET", &self.livekit_api_secret),
        ];
        let given = livekit.iter().filter(|(_, value)| !value.trim().is_empty()).count();
        if let Some((name, _)) =
            livekit.iter().find(|(_, value)| value.trim().is_empty()).filter(|_| given > 0)
        {
            return Err(SettingError::new(
                name,
                "is not set, but the other LIVEKIT_ settings are: set all three",
            ));
        }
        self.worker.check()?;
        self.transcripts.check()?;
        if !(self.livekit_rate > 0.0 && self.livekit_burst >= 1.0) {
            return Err(SettingError::new(
                "LIVEKIT_RATE",
                "LIVEKIT_RATE must be above 0 and LIVEKIT_BURST at least 1",
            ));
        }
        Ok(())
    }

    /// Sessions without livekitRef have a project.
    pub fn has_livekit(&self) -> bool {
        !self.livekit_http_url.trim().is_empty()
    }

    /// Reads the install Secret's files.
    ///
    /// # Errors
    /// When one of them is not there or is no id or key.
    pub fn install(&self) -> Result<Install, SettingError> {
        let read = |name: &str| {
            let path = self.install_dir.join(name);
            std::fs::read(&path).map_err(|error| {
                SettingError::new(
                    "INSTALL_DIR",
                    format!("{}: {error}; mount the install Secret there", path.display()),
                )
            })
        };
        let id = String::from_utf8_lossy(&read("id")?).trim().to_owned();
        if id.len() != 8 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(SettingError::new("INSTALL_DIR", "file id: not 8 hex digits"));
        }
        let key = read("key")?;
        if key.len() < 32 {
            return Err(SettingError::new("INSTALL_DIR", "file key: fewer than 32 bytes"));
        }
        Ok(Install { id, key })
    }
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
mod tests {
    use super::*;

    fn args(flags: &[&str]) -> Args {
        Args::try_parse_from(["operator"].iter().chain(flags)).unwrap()
    }

    #[test]
    fn a_half_given_livekit_names_what_is_missing() {
        assert!(args(&[]).check().is_ok());
        let error = args(&["--livekit-http-url", "https://h", "--livekit-api-key", "k"]).check().unwrap_err();
        assert_eq!(error.setting, "LIVEKIT_API_SECRET");
    }

    #[test]
    fn settings_of_workers_and_transcripts_that_cannot_be_used_are_named() {
        let wrong = |flags: &[&str]| args(flags).check().unwrap_err().to_string();
        assert!(wrong(&["--worker-image", " "]).starts_with("WORKER_IMAGE: "));
        assert!(wrong(&["--nats-creds", "f"]).starts_with("NATS_CREDS: is set, but NATS_URL is not"));
        assert!(
            wrong(&["--nats-url", "nats://nats", "--nats-replicas", "2"]).starts_with("NATS_REPLICAS: 2")
        );
        let password = wrong(&["--nats-url", "nats://a:4222,nats://bob:secret@b:4222"]);
        assert!(password.starts_with("NATS_URL: ") && !password.contains("secret"), "{password}");
        let parsed = Args::try_parse_from(["operator", "--worker-resources", "{\"requests\":4}"]);
        let said = one_line(&parsed.unwrap_err().to_string());
        assert!(said.starts_with("WORKER_RESOURCES: ") && said.contains("no such JSON"), "{said}");
    }

    #[test]
    fn an_install_secret_that_cannot_be_used_says_which_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let args = args(&["--install-dir", dir]);
        assert!(args.install().err().unwrap().detail.contains("id"));
        std::fs::write(folder.path().join("id"), "0a1b2c3d\n").unwrap();
        std::fs::write(folder.path().join("key"), "short").unwrap();
        assert!(args.install().err().unwrap().detail.contains("key"));
        std::fs::write(folder.path().join("key"), [7; 32]).unwrap();
        assert_eq!(args.install().unwrap().id, "0a1b2c3d");
    }
}
