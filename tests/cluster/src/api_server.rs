//! kube-apiserver and etcd, and on demand the controllers that collect garbage, on loopback.

use crate::audit::{self, Audit, Request, Requests};
use crate::certificates::Authority;
use crate::machine::{Machine, Part};
use crate::program::program;
use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

/// The resource, as committed.
const CRD: &str = include_str!("../../../crds/transcriptionsessions.yaml");
/// For everything that starts; on a busy machine it takes a few times the usual 5 s.
const PATIENCE: Duration = Duration::from_secs(120);
/// Controllers that no other part is needed for: without a kubelet, those of nodes and pods would kill what lives.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller";
/// Ports that no outgoing connection takes.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// An API server with its etcd. It ends with this value, and with the process that holds it however that ends; then its
/// folder goes too, unless `ROOMSCRIBE_KEEP` is set.
pub struct ApiServer {
    folder: PathBuf,
    program: PathBuf,
    port: u16,
    authority: Authority,
    machine: Machine,
    audit: Mutex<Audit>,
    namespaces: AtomicU32,
}

impl ApiServer {
    /// Starts etcd and kube-apiserver on free ports; returns when it is ready. There are no controllers: nothing collects
    /// what has no owner any more, a deleted namespace stays `Terminating`.
    ///
    /// # Errors
    /// The program cannot be built, or a part does not become ready; with what that part said last.
    pub async fn start() -> anyhow::Result<Self> {
        let program = tokio::task::spawn_blocking(program).await??;
        let folder = tempfile::Builder::new().prefix("roomscribe-cluster-").tempdir()?.keep();
        let (port, etcd) = (free_port()?, free_port()?);
        let authority = Authority::new(folder.join("pki"))?;
        authority.sign(
            "apiserver",
            "kube-apiserver",
            &[],
            "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1",
        )?;
        std::fs::write(folder.join("audit.yaml"), audit::POLICY)?;
        std::os::unix::fs::symlink(&program, folder.join("kubectl"))?;
        let machine = Machine::start(&folder)?;
        let audit = Mutex::new(Audit::new(folder.join("audit.log")));
        let api = Self { folder, program, port, authority, machine, audit, namespaces: AtomicU32::new(1) };
        api.machine.run(Part::Etcd, &api.program, &api.etcd_arguments(etcd))?;
        api.machine.run(Part::ApiServer, &api.program, &api.arguments(etcd))?;
        api.ready().await?;
        Ok(api)
    }

    /// The same with our CRD, and then kube-controller-manager: garbage collection by owner reference, namespaces that go
    /// when they are deleted, service accounts. The CRD comes first because the collector looks for new resources only
    /// twice a minute.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub async fn with_controllers() -> anyhow::Result<Self> {
        let api = Self::start().await?;
        api.apply_crd().await?;
        api.start_controllers()?;
        Ok(api)
    }

    /// Applies the committed CRD and waits until it is served and explained.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn apply_crd(&self) -> anyhow::Result<()> {
        self.apply(CRD).await?;
        let crd = "crd/transcriptionsessions.roomscribe.io";
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crd]).await?;
        let begun = Instant::now();
        while let Err(error) = self.kubectl(&["explain", "ts.spec"]).await {
            ensure!(begun.elapsed() < PATIENCE, "the resource is not known: {error}");
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Starts kube-controller-manager.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn start_controllers(&self) -> anyhow::Result<()> {
        let config = self.kubeconfig("system:kube-controller-manager")?.to_string_lossy().into_owned();
        let file = |name: &str| self.authority.file(name);
        let arguments = [
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            format!("--cert-dir={}", file("")),
            format!("--service-account-private-key-file={}", file("sa.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--secure-port=0".into(),
            "--leader-elect=false".into(),
            format!("--controllers={CONTROLLERS}"),
        ];
        self.machine.run(Part::Controllers, &self.program, &arguments)
    }

    fn etcd_arguments(&self, port: u16) -> Vec<String> {
        let url = format!("http://127.0.0.1:{port}");
        // The peer port is never used; 0 is any free one.
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            "--listen-peer-urls=http://127.0.0.1:0".into(),
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ]
    }

    fn arguments(&self, etcd: u16) -> Vec<String> {
        let file = |name: &str| self.authority.file(name);
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--advertise-address=127.0.0.1".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", self.port),
            "--endpoint-reconciler-type=none".into(),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--cert-dir={}", file("")),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            // Loopback, so that a played Service can be reached there; another test's is hardly ever the same.
            format!("--service-cluster-ip-range=127.{}.0.0/16", fastrand::u8(192..=254)),
            // Each load balancer takes a node port for every port of its own; the usual range ends at 1,384 sessions.
            "--service-node-port-range=30000-60000".into(),
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
            "--authorization-mode=RBAC".into(),
            format!("--audit-policy-file={}", self.folder.join("audit.yaml").display()),
            format!("--audit-log-path={}", self.folder.join("audit.log").display()),
            // MB; one file, so that nothing is counted twice or missed.
            "--audit-log-maxsize=100000".into(),
            "--profiling=false".into(),
        ]
    }

    /// `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Everything that it writes; logs are in `log/`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of its certificates: `ca.crt`, or after [`ApiServer::kubeconfig`] a user's.
    pub(crate) fn certificate(&self, name: &str) -> String {
        self.authority.file(name)
    }

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

    /// Server-side apply of YAML documents, by kubectl.
    ///
    /// # Errors
    /// What the server said.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.run_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(yaml)).await
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
        self.run_kubectl(arguments, None).await
    }

    async fn run_kubectl(&self, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let mut child = tokio::process::Command::new(self.folder.join("kubectl"))
            .arg(format!("--kubeconfig={}", self.kubeconfig("admin")?.display()))
            .args(arguments)
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("stdin")?;
        stdin.write_all(input.unwrap_or_default().as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Counts of this user's requests since the start, from the audit log. A request is in it once it is answered (a watch:
    /// once it is accepted).
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn requests(&self, user: &str) -> anyhow::Result<Requests> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner).of(user)
    }

    /// Requests that pass, in order, from the audit log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn requests_where(&self, wanted: impl FnMut(&Request) -> bool) -> anyhow::Result<Vec<Request>> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner).list(wanted)
    }

    /// `kill -9`, and the same part again on the same port and data; returns when it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart_api_server(&self) -> anyhow::Result<()> {
        self.kill(Part::ApiServer)?;
        self.start_again(Part::ApiServer).await
    }

    /// `kill -9` of a part; it stays away until [`ApiServer::start_again`].
    ///
    /// # Errors
    /// The part does not run.
    pub fn kill(&self, part: Part) -> anyhow::Result<()> {
        self.machine.order("kill", part)
    }

    /// Starts a part that was killed; returns when the API server is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_again(&self, part: Part) -> anyhow::Result<()> {
        self.machine.order("start", part)?;
        self.ready().await
    }

    /// SIGSTOP: connections stay open and nothing is answered, until [`ApiServer::thaw`].
    ///
    /// # Errors
    /// The part does not run.
    pub fn freeze(&self, part: Part) -> anyhow::Result<()> {
        self.machine.order("freeze", part)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The part does not run.
    pub fn thaw(&self, part: Part) -> anyhow::Result<()> {
        self.machine.order("thaw", part)
    }

    /// Waits for `/readyz`.
    ///
    /// # Errors
    /// It does not come; with what the parts said last.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let begun = Instant::now();
        loop {
            let request = http_get("/readyz")?;
            let answer = tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE || !self.machine.is_alive(Part::ApiServer)? {
                let (server, etcd) =
                    (self.machine.last_words(Part::ApiServer), self.machine.last_words(Part::Etcd));
                bail!("the API server does not become ready\nkube-apiserver: {server}\netcd: {etcd}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn http_get(path: &str) -> anyhow::Result<axum::http::Request<Vec<u8>>> {
    Ok(axum::http::Request::get(path).body(Vec::new())?)
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

pub(crate) fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {} to {}", PORTS.start, PORTS.end)
}
