//! The operator as a process, the way an installation runs it: as its ServiceAccount, with the committed Role.

use crate::ApiServer;
use anyhow::{Context, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// As committed.
const RBAC: &str = include_str!("../../../operator/rbac.yaml");
const PATIENCE: Duration = Duration::from_secs(60);

/// What the committed file allows: everywhere, and in the operator's own namespace.
///
/// # Errors
/// The file cannot be read.
pub fn committed_rules() -> anyhow::Result<(Vec<PolicyRule>, Vec<PolicyRule>)> {
    let (mut everywhere, mut own) = (Vec::new(), Vec::new());
    for document in RBAC.split("\n---") {
        let value: Value = serde_saphyr::from_str(document)?;
        match value["kind"].as_str() {
            Some("ClusterRole") => {
                everywhere = serde_json::from_value::<ClusterRole>(value)?.rules.unwrap_or_default()
            }
            Some("Role") => own = serde_json::from_value::<Role>(value)?.rules.unwrap_or_default(),
            _ => {}
        }
    }
    Ok((everywhere, own))
}

/// How to run it.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// As the API server knows it: `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// Its own namespace.
    pub namespace: String,
    /// A kubeconfig; by default the user's.
    pub kubeconfig: PathBuf,
    /// More environment; replaces what is set by default.
    pub environment: Vec<(String, String)>,
}

/// Key and secret of the simulated LiveKit beside it.
pub const API_KEY: &str = "devkey";
/// See [`API_KEY`].
pub const API_SECRET: &str = "secret-of-the-simulated-livekit-0";

impl OperatorSettings {
    /// As this user, beside a simulated LiveKit with [`API_KEY`].
    ///
    /// # Errors
    /// The user's kubeconfig cannot be written.
    pub fn new(api: &ApiServer, user: &str, namespace: &str, livekit_url: &str) -> anyhow::Result<Self> {
        let settings = Self {
            user: user.to_owned(),
            namespace: namespace.to_owned(),
            kubeconfig: api.kubeconfig(user)?,
            environment: Vec::new(),
        };
        Ok(settings.with(&[
            ("LIVEKIT_HTTP_URL", livekit_url),
            ("LIVEKIT_API_KEY", API_KEY),
            ("LIVEKIT_API_SECRET", API_SECRET),
            ("GLADIA_API_URL", "http://speech.test:8080"),
        ]))
    }

    /// With more environment.
    #[must_use]
    pub fn with(mut self, environment: &[(&str, &str)]) -> Self {
        let more = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment.extend(more);
        self
    }

    /// Runs one of its jobs, such as `drain`, to the end: exit code, and what it printed.
    ///
    /// # Errors
    /// It does not end in a minute.
    pub async fn job(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let mut command = self.command(folder)?;
        let output = tokio::time::timeout(PATIENCE, command.args(arguments).output()).await??;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The program with its settings; it is killed with its handle.
    fn command(&self, folder: &Path) -> anyhow::Result<Command> {
        let mut command = Command::new(operator_program()?);
        command
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("POD_NAMESPACE", &self.namespace)
            .env("INSTALL_DIR", folder)
            .env("RUST_LOG", "info")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A running operator. It is killed with this value.
pub struct Operator {
    child: Child,
    metrics: String,
    log: PathBuf,
}

/// The built program: `ROOMSCRIBE_OPERATOR`, or the one beside the running test.
///
/// # Errors
/// It has not been built.
pub fn operator_program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("ROOMSCRIBE_OPERATOR") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("roomscribe-operator"));
    let found = beside.into_iter().find(|path| path.exists());
    found.context("the operator is not built: cargo build -p roomscribe-operator, or set ROOMSCRIBE_OPERATOR")
}

impl Operator {
    /// Makes its namespace, ServiceAccount and Role rules, if they are not there.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn install(api: &ApiServer) -> anyhow::Result<()> {
        api.apply(RBAC).await.map(|_| ())
    }

    /// A namespace for it and its sessions, where Pod Security Standards are enforced, and its user there with these rights:
    /// everywhere, and in that namespace (see [`committed_rules`]).
    ///
    /// # Errors
    /// The server refuses.
    pub async fn namespace(
        api: &ApiServer,
        everywhere: Vec<PolicyRule>,
        own: Vec<PolicyRule>,
    ) -> anyhow::Result<(String, String)> {
        let namespace = api.namespace(&[("pod-security.kubernetes.io/enforce", "restricted")]).await?;
        let user = format!("system:serviceaccount:{namespace}:roomscribe-operator");
        api.grant(&user, None, everywhere).await?;
        api.grant(&user, Some(&namespace), own).await?;
        Ok((namespace, user))
    }

    /// Starts it; returns when its doors are open. `folder` takes its log and install Secret.
    ///
    /// # Errors
    /// It ends before; with what it said.
    pub async fn start(settings: &OperatorSettings, folder: &Path) -> anyhow::Result<Self> {
        let port = crate::free_port()?;
        let metrics = format!("127.0.0.1:{port}");
        let log = folder.join(format!("operator-{port}.log"));
        let mut command = settings.command(folder)?;
        command
            .env("METRICS_LISTEN", &metrics)
            .stdout(Stdio::null())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&log)?);
        let mut operator = Self { child: command.spawn()?, metrics, log };
        let begun = Instant::now();
        while operator.page("healthz").await.is_err() {
            if let Some(status) = operator.child.try_wait()? {
                bail!("the operator ended with {status}: {}", operator.said());
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the operator does not answer: {}", operator.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(operator)
    }

    /// One of its pages: `healthz`, `readyz`, `metrics`.
    ///
    /// # Errors
    /// No answer, or another one than 200.
    pub async fn page(&self, page: &str) -> anyhow::Result<String> {
        let answer = reqwest::get(format!("http://{}/{page}", self.metrics)).await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// A metric's value: the sum over the lines that begin with `name` and contain all of `labels`.
    ///
    /// # Errors
    /// No answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let page = self.page("metrics").await?;
        let wanted = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        Ok(page.lines().filter(wanted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its log so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM, and waits for its end: the exit code.
    ///
    /// # Errors
    /// It does not end in a minute.
    pub async fn stop(mut self) -> anyhow::Result<Option<i32>> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        Ok(status.code())
    }

    /// Has it ended by itself?
    ///
    /// # Errors
    /// The system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.try_wait()?.and_then(|status| status.code()))
    }
}
