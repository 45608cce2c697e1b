//! A whole Kubernetes of one node: containerd, kubelet, kube-proxy, scheduler, all controllers, CoreDNS and a load
//! balancer, in a network and mounts of its own.
//!
//! Nothing of it touches the host but one link, four routes, a cgroup and a folder, and these go with the [`Node`], however
//! the process that holds it ends.

mod addresses;
mod balancer;
mod settings;

use crate::api_server::ApiServer;
use crate::machine::{Part, Surroundings};
use crate::program::{program, script};
use addresses::{BALANCERS, DNS, HOST, NAME, NODE, PODS, SERVICES};
use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::Api;
use settings::{NODE_NAME, socket};
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const PREPARE: &str = concat!(include_str!("sweep.sh"), include_str!("prepare.sh"));
const DNS_YAML: &str = include_str!("dns.yaml");
/// For everything that starts.
const PATIENCE: Duration = Duration::from_secs(120);
/// What must be installed; each is a Debian package's program.
const TOOLS: [&str; 10] =
    ["containerd", "runc", "ctr", "nft", "iptables", "ipset", "conntrack", "ip", "nsenter", "unshare"];
/// What a process of another node has still to take away.
const LEAVING: Duration = Duration::from_secs(8);

/// See the module.
pub struct Node {
    api: ApiServer,
    balancer: JoinHandle<()>,
}

impl Node {
    /// Starts it; returns when the node is Ready and names resolve. Each step is told to `say`.
    ///
    /// # Errors
    /// This machine cannot run one, or has one already: in one line. A part does not come up: with what it said last.
    pub async fn start(say: impl Fn(&str)) -> anyhow::Result<Self> {
        check()?;
        let (program, images) =
            tokio::task::spawn_blocking(|| anyhow::Ok((program()?, script("images.sh", &[])?))).await??;
        let begun = Instant::now();
        let say = |what: &str| say(&format!("{:5.1} s  {what}", begun.elapsed().as_secs_f64()));
        free().await?;
        let ranges = [PODS, SERVICES, BALANCERS].join(" ");
        let words =
            [("NAME", NAME), ("NODE", &NODE.to_string()), ("HOST", &HOST.to_string()), ("RANGES", &ranges)];
        let words: String = words.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
        let surroundings = Surroundings::Own { prepare: words + PREPARE };
        let mut api = ApiServer::assemble(program, settings::place(), &surroundings)?;
        let more = settings::kubelet_client(&api)?;
        api.demand(more);
        api.begin()?;
        api.machine.run_installed(Part::Containerd, &settings::containerd(api.folder())?)?;
        // Before it asks for the API server: a broken containerd is told at once.
        import(api.folder(), &images.join("pause.tar")).await?;
        say("containerd runs");
        api.machine.run(Part::Kubelet, &api.program, &settings::kubelet(&api)?)?;
        api.ready().await?;
        say("the API server is ready");
        api.run_controllers(&settings::controllers(&api))?;
        api.machine.run(Part::Scheduler, &api.program, &settings::scheduler(&api)?)?;
        api.machine.run(Part::Proxy, &api.program, &settings::proxy(&api)?)?;
        import(api.folder(), &images.join("coredns.tar")).await?;
        api.apply(DNS_YAML).await?;
        let balancer = tokio::spawn(balancer::balance(api.client().await?));
        let node = Self { api, balancer };
        node.ready().await?;
        say("the node is Ready");
        node.resolves().await?;
        say("names resolve");
        Ok(node)
    }

    /// Its API server, to ask and to hurt.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Where its DNS answers, from the host too.
    pub fn dns(&self) -> Ipv4Addr {
        DNS
    }

    /// Gives a docker-archive to its container runtime; pods name it with `imagePullPolicy: Never` or `IfNotPresent`.
    ///
    /// # Errors
    /// What ctr said.
    pub async fn import(&self, archive: &Path) -> anyhow::Result<()> {
        import(self.api.folder(), archive).await
    }

    /// From now on NetworkPolicies hold (kube-router's firewall): the bridge that joins the pods knows nothing of them. A pod's
    /// first packets may be faster than its rules.
    ///
    /// # Errors
    /// It cannot be built, or does not start.
    pub async fn enforce_policies(&self) -> anyhow::Result<()> {
        let program = tokio::task::spawn_blocking(|| script("go-program.sh", &["policies"])).await??;
        self.api.grant(settings::POLICIES_USER, None, settings::policies_rules()).await?;
        self.api.machine.run_own(Part::Policies, &program, &settings::policies(&self.api)?)?;
        let begins =
            || self.api.machine.last_words(Part::Policies).contains("Starting network policy controller");
        self.wait("NetworkPolicies are not enforced", async || begins()).await
    }

    /// Gives an image that is there a second name, as a registry has an earlier version beside a later one.
    ///
    /// # Errors
    /// What ctr said.
    pub async fn tag(&self, image: &str, as_well: &str) -> anyhow::Result<()> {
        let tag = ["images", "tag", "--force", image, as_well];
        let output = ctr(self.api.folder()).args(tag).output().await.context("ctr")?;
        ensure!(
            output.status.success(),
            "ctr images tag: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// `kill -9` of a part; it is started again 0.3 s later, as a service manager would.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn kill(&self, part: Part) -> anyhow::Result<()> {
        self.api.kill(part)
    }

    /// `kill -9` of a pod's first container; what happens next is the kubelet's affair.
    ///
    /// # Errors
    /// The pod does not run; what ctr said.
    pub async fn kill_container(&self, namespace: &str, pod: &str) -> anyhow::Result<()> {
        let id =
            ["-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"];
        let id = self.api.kubectl(&id).await?;
        let id = id.strip_prefix("containerd://").with_context(|| format!("{pod} has no container"))?;
        let output = ctr(self.api.folder()).args(["task", "kill", "--signal", "9", id]).output().await?;
        ensure!(output.status.success(), "ctr task kill: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Waits until the node is Ready.
    ///
    /// # Errors
    /// It does not become so; with what the kubelet and containerd said last.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.api.client().await?);
        self.wait(
            "the node does not become Ready",
            async || matches!(nodes.get_opt(NODE_NAME).await, Ok(Some(node)) if is_ready(&node)),
        )
        .await
    }

    async fn resolves(&self) -> anyhow::Result<()> {
        let rollout = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"];
        self.api.kubectl(&rollout).await.map(drop)
    }

    async fn wait<F: Future<Output = bool>>(
        &self,
        what: &str,
        mut is_so: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !is_so().await {
            if begun.elapsed() > PATIENCE {
                let parts = [Part::Kubelet, Part::Containerd, Part::Policies];
                let said = |part: Part| format!("\n{}: {}", part.name(), self.api.machine.last_words(part));
                bail!("{what}{}", parts.map(said).concat());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.balancer.abort();
    }
}

/// What a machine must be, in one line.
fn check() -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    ensure!(
        cfg!(target_os = "linux"),
        "a Kubernetes node needs Linux; use any cluster and KUBECONFIG instead"
    );
    ensure!(std::fs::metadata("/proc/self")?.uid() == 0, "a Kubernetes node needs root: run this with sudo");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |tool: &&str| std::env::split_paths(&paths).any(|folder| folder.join(tool).exists());
    if let Some(missing) = TOOLS.iter().find(|tool| !is_there(tool)) {
        bail!("missing: {missing}. Run: tests/tools/need.sh one-node");
    }
    ensure!(
        Path::new("/usr/lib/cni/bridge").exists(),
        "missing: CNI plugins. Run: tests/tools/need.sh one-node"
    );
    Ok(())
}

/// There is one set of addresses: waits for a node that is leaving, refuses beside one that stays.
async fn free() -> anyhow::Result<()> {
    let link = PathBuf::from("/sys/class/net").join(NAME);
    let begun = Instant::now();
    while link.exists() {
        ensure!(begun.elapsed() < LEAVING, "a node runs on this machine already: make cluster-down");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// containerd's own client; it ends with its handle.
fn ctr(folder: &Path) -> tokio::process::Command {
    let mut ctr = tokio::process::Command::new("ctr");
    ctr.args(["--address", &socket(folder), "--connect-timeout", "2s", "--namespace", "k8s.io"]);
    ctr.kill_on_drop(true);
    ctr
}

/// Also waits for containerd.
async fn import(folder: &Path, archive: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let output = ctr(folder).args(["images", "import"]).arg(archive).output().await.context("ctr")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            begun.elapsed() < PATIENCE && !is_final(&said),
            "ctr images import {}: {said}",
            archive.display()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// The archive, not containerd, is what is wrong.
fn is_final(said: &str) -> bool {
    said.contains("no such file") && !said.contains("containerd.sock")
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
