//! Who may ask the API server, and short ways of asking: kubeconfigs by certificate, rights, namespaces, kubectl.

use crate::api_server::ApiServer;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;

impl ApiServer {
    /// A client with every right, on the current tokio runtime.
    ///
    /// # Errors
    /// The kubeconfig cannot be written or read.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_as("admin").await
    }

    /// A client that is this user (see [`ApiServer::kubeconfig`]), on the current tokio runtime.
    ///
    /// # Errors
    /// The kubeconfig cannot be written or read.
    pub async fn client_as(&self, user: &str) -> anyhow::Result<Client> {
        client(&self.kubeconfig(user)?).await
    }

    /// A kubeconfig that authenticates as this user by certificate: `admin` and `admin-…` have every right;
    /// `system:serviceaccount:<namespace>:<name>` is that service account to every RoleBinding; any other name is a
    /// user. What they may do stands in RBAC objects alone: see [`ApiServer::grant`].
    ///
    /// # Errors
    /// openssl fails.
    pub fn kubeconfig(&self, user: &str) -> anyhow::Result<PathBuf> {
        let file = file_of(user);
        let path = self.folder.join(format!("{file}.kubeconfig"));
        if path.exists() {
            return Ok(path);
        }
        let groups = groups(user);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.authority.sign(&file, user, &groups, "")?;
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: '{}', certificate-authority: '{}'}}\n\
             users:\n- name: u\n  user: {{client-certificate: '{}', client-key: '{}'}}\n\
             contexts:\n- name: c\n  context: {{cluster: c, user: u}}\ncurrent-context: c\n",
            self.url(),
            self.authority.file("ca.crt"),
            self.authority.file(&format!("{file}.crt")),
            self.authority.file(&format!("{file}.key")),
        );
        // Whole or not at all: another test may look at the same moment.
        let half = path.with_extension(format!("{:x}", fastrand::u64(..)));
        std::fs::write(&half, text)?;
        std::fs::rename(half, &path)?;
        Ok(path)
    }

    /// Lets a user do this and nothing else: in one namespace, or everywhere. It replaces what was granted there before.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn grant(
        &self,
        user: &str,
        namespace: Option<&str>,
        rules: Vec<PolicyRule>,
    ) -> anyhow::Result<()> {
        let client = self.client().await?;
        let name = format!("test-{}", file_of(user));
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let reference = |kind: &str| RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: kind.into(),
            name: name.clone(),
        };
        let subject = Subject { kind: "User".into(), name: user.into(), api_group: None, namespace: None };
        match namespace {
            Some(namespace) => {
                let role = Role { metadata: metadata.clone(), rules: Some(rules) };
                let binding =
                    RoleBinding { metadata, role_ref: reference("Role"), subjects: Some(vec![subject]) };
                put(Api::namespaced(client.clone(), namespace), &name, &role).await?;
                put(Api::namespaced(client, namespace), &name, &binding).await
            }
            None => {
                let role =
                    ClusterRole { metadata: metadata.clone(), rules: Some(rules), ..ClusterRole::default() };
                let role_ref = reference("ClusterRole");
                let binding = ClusterRoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };
                put(Api::all(client.clone()), &name, &role).await?;
                put(Api::all(client), &name, &binding).await
            }
        }
    }

    /// A new namespace with these labels, where pods can be made at once.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn namespace(&self, labels: &[(&str, &str)]) -> anyhow::Result<String> {
        let name = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let metadata = ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let client = self.client().await?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let metadata = ObjectMeta { name: Some("default".into()), ..ObjectMeta::default() };
        // No pod is admitted without it, and its controller may not run, or be slower than we are.
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        match Api::namespaced(client, &name).create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => drop(other?),
        }
        Ok(name)
    }

    /// kubectl as admin.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn as_admin(&self) -> anyhow::Result<Kubectl> {
        let (program, home) = (self.folder.join("kubectl"), Some(self.folder.clone()));
        Ok(Kubectl { program, config: self.kubeconfig("admin")?, home })
    }

    /// [`Kubectl::apply`] as admin.
    ///
    /// # Errors
    /// What the server said.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.as_admin()?.apply(yaml).await
    }

    /// The same with the text of a file.
    ///
    /// # Errors
    /// What the server said; there is no such file.
    pub async fn apply_file(&self, path: impl AsRef<Path>) -> anyhow::Result<String> {
        let path = path.as_ref();
        self.apply(&std::fs::read_to_string(path).with_context(|| path.display().to_string())?).await
    }

    /// What kubectl prints, as admin.
    ///
    /// # Errors
    /// What it says on stderr.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.as_admin()?.run(arguments).await
    }
}

/// kubectl with a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    /// Where it keeps what it has learned; `None`: where it always does.
    home: Option<PathBuf>,
}

impl Kubectl {
    /// The one that this machine has.
    pub fn installed(config: PathBuf) -> Self {
        Self { program: "kubectl".into(), config, home: None }
    }

    /// Its kubeconfig.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Server-side apply of YAML documents.
    ///
    /// # Errors
    /// What the server said.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.run_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], yaml).await
    }

    /// What it prints.
    ///
    /// # Errors
    /// What it says on stderr.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_with(arguments, "").await
    }

    /// The same with a standard input.
    ///
    /// # Errors
    /// What it says on stderr.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("stdin")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// To be started; it ends with its handle.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg(format!("--kubeconfig={}", self.config.display())).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
    }
}

/// A client of a kubeconfig file, on the current tokio runtime.
///
/// # Errors
/// The file cannot be read.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Groups that the authenticator of service accounts would give, and admin's.
fn groups(user: &str) -> Vec<String> {
    match user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
        Some((namespace, _)) => {
            vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
        }
        // The controllers act with one identity; each one's own would be a token of its own service account.
        None if user == "admin" || user.starts_with("admin-") || user == "system:kube-controller-manager" => {
            vec!["system:masters".into()]
        }
        None if user.starts_with("system:node:") => vec!["system:nodes".into()],
        None => Vec::new(),
    }
}

/// A file name, and a part of an object's name.
pub(crate) fn file_of(user: &str) -> String {
    user.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase()
}

async fn put<K>(api: Api<K>, name: &str, object: &K) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let params = PatchParams::apply("roomscribe-cluster").force();
    let mut value = serde_json::to_value(object)?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    api.patch(name, &params, &Patch::Apply(value)).await?;
    Ok(())
}
