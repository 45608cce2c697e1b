//! What can be taken from a running installation, by name; and which, by seed.

use crate::world::{NAMESPACE, RELEASE, World};
use anyhow::{Context, bail};
use roomscribe_cluster::Part;
use serde_json::json;

/// One accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// SIGKILL of the worker's process; its pod stays.
    WorkerContainer,
    /// The same of whatever is the worker then, as soon as it runs again, three times in a row.
    WorkerThrice,
    /// The worker's pod is deleted, with its grace.
    WorkerPod,
    /// The worker's pod is deleted without grace.
    WorkerPodNow,
    /// The worker's pod is evicted, as by a drain; the node takes pods all the same.
    Eviction,
    /// Both replicas of the operator, without grace.
    Operator,
    /// The kubelet.
    Kubelet,
    /// The container runtime.
    Containerd,
    /// kube-proxy.
    Proxy,
    /// kube-apiserver.
    ApiServer,
    /// The speech service's pod, without grace: all its sessions are forgotten.
    Speech,
    /// Both replicas of the gateway, without grace.
    Gateway,
    /// The NATS server; the log's files stay.
    Nats,
    /// The load balancer gives the session another address.
    Address,
}

/// On any cluster that one may delete pods of.
const ANYWHERE: [Kill; 7] = [
    Kill::WorkerPod,
    Kill::WorkerPodNow,
    Kill::Eviction,
    Kill::Operator,
    Kill::Speech,
    Kill::Gateway,
    Kill::Nats,
];
/// On a node of our own only.
const OWN: [Kill; 7] = [
    Kill::WorkerContainer,
    Kill::WorkerThrice,
    Kill::Kubelet,
    Kill::Containerd,
    Kill::Proxy,
    Kill::ApiServer,
    Kill::Address,
];

/// How many kinds there are, on a node of our own and elsewhere.
pub(crate) fn kinds(is_own: bool) -> usize {
    ANYWHERE.len() + if is_own { OWN.len() } else { 0 }
}

/// Those of a list of names, `WorkerPod,Eviction`.
///
/// # Panics
/// There is no such kill.
pub(crate) fn named(names: &str) -> Vec<Kill> {
    let all = || ANYWHERE.into_iter().chain(OWN);
    let find = |name: &str| all().find(|kill| format!("{kill:?}") == name);
    names.split(',').map(|name| find(name).unwrap_or_else(|| panic!("no kill {name}"))).collect()
}

/// `count` accidents: each once before one comes again.
pub(crate) fn order(seed: u64, count: usize, is_own: bool) -> Vec<Kill> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills: Vec<Kill> = Vec::new();
    while kills.len() < count {
        let mut round = ANYWHERE.to_vec();
        round.extend(OWN.iter().filter(|_| is_own));
        random.shuffle(&mut round);
        kills.extend(round);
    }
    kills.truncate(count);
    kills
}

impl Kill {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WorkerContainer => "worker container",
            Self::WorkerThrice => "worker, three times in a row",
            Self::WorkerPod => "worker pod",
            Self::WorkerPodNow => "worker pod, grace 0",
            Self::Eviction => "worker pod evicted (planned move)",
            Self::Operator => "operator, both replicas",
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::Proxy => "kube-proxy",
            Self::ApiServer => "API server",
            Self::Speech => "speech server",
            Self::Gateway => "gateway, both replicas",
            Self::Nats => "NATS",
            Self::Address => "load balancer address",
        }
    }

    /// The worker's pod goes with it.
    pub(crate) fn takes_the_pod(self) -> bool {
        matches!(self, Self::WorkerPod | Self::WorkerPodNow | Self::Eviction)
    }

    /// The path of the audio is not touched, or has another beside it: no gap may come of it.
    pub(crate) fn is_silent(self) -> bool {
        matches!(
            self,
            Self::Eviction
                | Self::Operator
                | Self::Kubelet
                | Self::Containerd
                | Self::Proxy
                | Self::ApiServer
                | Self::Gateway
                | Self::Nats
        )
    }
}

impl World {
    /// Does it.
    pub(crate) async fn kill(&self, kill: Kill, session: &str) -> anyhow::Result<()> {
        let part = |part: Part| self.cluster.own_node()?.kill(part);
        match kill {
            Kill::WorkerContainer => self.kill_worker(session).await,
            Kill::WorkerThrice => {
                for _ in 0..3 {
                    self.until("the worker runs", async || self.kill_worker(session).await.map(|()| true))
                        .await?;
                }
                Ok(())
            }
            Kill::WorkerPod => self.delete_worker(session, &["--wait=false"]).await,
            Kill::WorkerPodNow => self.delete_worker(session, &["--grace-period=0", "--force"]).await,
            Kill::Eviction => self.evict(session).await,
            Kill::Operator => self.delete_pods(RELEASE, "app.kubernetes.io/component=operator").await,
            Kill::Gateway => self.delete_pods(RELEASE, "app.kubernetes.io/component=gateway").await,
            Kill::Nats => self.kill_nats().await,
            Kill::Speech => self.delete_pods("peers", "app=speech").await,
            Kill::Kubelet => part(Part::Kubelet),
            Kill::Containerd => part(Part::Containerd),
            Kill::Proxy => part(Part::Proxy),
            Kill::ApiServer => part(Part::ApiServer),
            Kill::Address => self.move_address(session).await,
        }
    }

    /// Name of the session's pod.
    pub(crate) async fn worker(&self, session: &str) -> anyhow::Result<String> {
        let name = ["get", "ts", session, "-o", "jsonpath={.status.worker.podName}"];
        let name = self.kubectl(&name).await?;
        (!name.is_empty()).then_some(name).context("the session has no worker")
    }

    async fn kill_worker(&self, session: &str) -> anyhow::Result<()> {
        let pod = self.worker(session).await?;
        let runs =
            ["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[0].state.running.startedAt}"];
        if self.kubectl(&runs).await?.is_empty() {
            bail!("{pod} does not run");
        }
        self.cluster.own_node()?.kill_container(NAMESPACE, &pod).await
    }

    async fn delete_worker(&self, session: &str, how: &[&str]) -> anyhow::Result<()> {
        let pod = self.worker(session).await?;
        let mut delete = vec!["delete", "pod", &pod];
        delete.extend(how);
        self.kubectl(&delete).await.map(drop)
    }

    async fn evict(&self, session: &str) -> anyhow::Result<()> {
        let pod = self.worker(session).await?;
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction");
        self.cluster
            .kubectl
            .run_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string())
            .await
            .map(drop)
    }

    /// On a node of our own its pod stays, and with it the files; elsewhere a claim has them.
    async fn kill_nats(&self) -> anyhow::Result<()> {
        match self.cluster.node() {
            Some(node) => node.kill_container(RELEASE, "roomscribe-nats-0").await,
            None => self.delete_pods(RELEASE, "app.kubernetes.io/component=nats").await,
        }
    }

    async fn delete_pods(&self, namespace: &str, label: &str) -> anyhow::Result<()> {
        let pods = ["-n", namespace, "delete", "pods", "-l", label, "--grace-period=0", "--force"];
        self.cluster.kubectl.run(&pods).await.map(drop)
    }

    async fn move_address(&self, session: &str) -> anyhow::Result<()> {
        let service = format!("ts-{session}");
        let now = ["get", "service", &service, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"];
        let now: std::net::Ipv4Addr = self.kubectl(&now).await?.parse()?;
        let [a, b, c, last] = now.octets();
        let next = std::net::Ipv4Addr::new(a, b, c, if last < 200 { last + 50 } else { last - 150 });
        let patch =
            format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{next}","ipMode":"VIP"}}]}}}}}}"#);
        self.kubectl(&["patch", "service", &service, "--subresource=status", "--type=merge", "-p", &patch])
            .await?;
        let told = ["get", "ts", session, "-o", "jsonpath={.status.ingest.host}"];
        let next = next.to_string();
        self.until("the session tells the new address", async || Ok(self.kubectl(&told).await? == next)).await
    }
}
