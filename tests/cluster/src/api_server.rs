//! kube-apiserver and etcd, and on demand the controllers that collect garbage, on loopback.

use crate::audit::{self, Audit, Request, Requests};
use crate::certificates::Authority;
use crate::machine::{Machine, Part, Surroundings};
use crate::program::program;
use anyhow::{bail, ensure};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The resource, as committed.
const CRD: &str = include_str!("../../../crds/transcriptionsessions.yaml");
/// For everything that starts; on a busy machine it takes a few times the usual 5 s.
const PATIENCE: Duration = Duration::from_secs(120);
/// Controllers that no other part is needed for: without a kubelet, those of nodes and pods would kill what lives.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller";
/// Ports that no outgoing connection takes.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where an API server listens, and what its surroundings ask of it.
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) etcd: u16,
    /// Network of its Services.
    pub(crate) services: String,
    /// Its own name and addresses, beside the usual ones, as in subjectAltName.
    pub(crate) hosts: String,
    /// More arguments; files are meant to be in the folder of certificates.
    pub(crate) more: Vec<String>,
}

impl Place {
    fn loopback() -> anyhow::Result<Self> {
        Ok(Self {
            address: Ipv4Addr::LOCALHOST,
            port: free_port()?,
            etcd: free_port()?,
            // Loopback, so that a played Service can be reached there; another test's is hardly ever the same.
            services: format!("127.{}.0.0/16", fastrand::u8(192..=254)),
            hosts: "IP:127.0.0.1".into(),
            more: vec!["--endpoint-reconciler-type=none".into(), "--authorization-mode=RBAC".into()],
        })
    }
}

/// An API server with its etcd. It ends with this value, and with the process that holds it however that ends; then its
/// folder goes too, unless `ROOMSCRIBE_KEEP` is set.
pub struct ApiServer {
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
    place: Place,
    pub(crate) authority: Authority,
    pub(crate) machine: Machine,
    audit: Mutex<Audit>,
    pub(crate) namespaces: AtomicU32,
}

impl ApiServer {
    /// Starts etcd and kube-apiserver on free ports; returns when it is ready. There are no controllers: nothing collects
    /// what has no owner any more, a deleted namespace stays `Terminating`.
    ///
    /// # Errors
    /// The program cannot be built, or a part does not become ready; with what that part said last.
    pub async fn start() -> anyhow::Result<Self> {
        let program = tokio::task::spawn_blocking(program).await??;
        let api = Self::assemble(program, Place::loopback()?, &Surroundings::Shared)?;
        api.begin()?;
        api.ready().await?;
        Ok(api)
    }

    /// A folder, its certificates and a machine; nothing runs yet.
    pub(crate) fn assemble(
        program: PathBuf,
        place: Place,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("roomscribe-cluster-").tempdir()?.keep();
        let authority = Authority::new(folder.join("pki"))?;
        let hosts = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost";
        authority.sign("apiserver", "kube-apiserver", &[], &format!("{hosts},{}", place.hosts))?;
        std::fs::write(folder.join("audit.yaml"), audit::POLICY)?;
        std::os::unix::fs::symlink(&program, folder.join("kubectl"))?;
        let machine = Machine::start(&folder, surroundings)?;
        let audit = Mutex::new(Audit::new(folder.join("audit.log")));
        Ok(Self { folder, program, place, authority, machine, audit, namespaces: AtomicU32::new(1) })
    }

    /// More arguments, before it begins.
    pub(crate) fn demand(&mut self, arguments: Vec<String>) {
        self.place.more.extend(arguments);
    }

    /// etcd and kube-apiserver.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        self.machine.run(Part::Etcd, &self.program, &self.etcd_arguments())?;
        self.machine.run(Part::ApiServer, &self.program, &self.arguments())
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
        self.run_controllers(&["--secure-port=0".into(), format!("--controllers={CONTROLLERS}")])
    }

    pub(crate) fn run_controllers(&self, more: &[String]) -> anyhow::Result<()> {
        let config = self.kubeconfig("system:kube-controller-manager")?.to_string_lossy().into_owned();
        let file = |name: &str| self.authority.file(name);
        let mut arguments = vec![
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            format!("--cert-dir={}", file("")),
            format!("--service-account-private-key-file={}", file("sa.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--leader-elect=false".into(),
        ];
        arguments.extend_from_slice(more);
        self.machine.run(Part::Controllers, &self.program, &arguments)
    }

    fn etcd_arguments(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}", self.place.etcd);
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

    fn arguments(&self) -> Vec<String> {
        let file = |name: &str| self.authority.file(name);
        let place = &self.place;
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", place.etcd),
            format!("--advertise-address={}", place.address),
            format!("--bind-address={}", place.address),
            format!("--secure-port={}", place.port),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--cert-dir={}", file("")),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-cluster-ip-range={}", place.services),
            // Each load balancer takes a node port for every port of its own; the usual range ends at 1,384 sessions.
            "--service-node-port-range=30000-60000".into(),
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
            format!("--audit-policy-file={}", self.folder.join("audit.yaml").display()),
            format!("--audit-log-path={}", self.folder.join("audit.log").display()),
            // MB; one file, so that nothing is counted twice or missed.
            "--audit-log-maxsize=100000".into(),
            "--profiling=false".into(),
        ];
        arguments.extend_from_slice(&place.more);
        arguments
    }

    /// `https://<address>:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.place.address, self.place.port)
    }

    /// Everything that it writes; logs are in `log/`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of its certificates: `ca.crt`, or after [`ApiServer::kubeconfig`] a user's.
    pub(crate) fn certificate(&self, name: &str) -> String {
        self.authority.file(name)
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

pub(crate) fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {} to {}", PORTS.start, PORTS.end)
}
