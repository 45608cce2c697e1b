//! What can be taken from a running installation, by name; and which, by seed.

use crate::world::{NAMESPACE, World};
use anyhow::Context;
use roomscribe_cluster::Part;

/// One accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// SIGKILL of the worker's process; its pod stays.
    WorkerContainer,
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
    /// SIGKILL of the NATS server; its pod, and with it the log's files, stay.
    Nats,
    /// The load balancer gives the session another address.
    Address,
}

/// They come in any order, as often as it goes.
const ANY: [Kill; 10] = [
    Kill::WorkerContainer,
    Kill::Operator,
    Kill::Kubelet,
    Kill::Containerd,
    Kill::Proxy,
    Kill::ApiServer,
    Kill::Speech,
    Kill::Gateway,
    Kill::Nats,
    Kill::Address,
];

/// `count` accidents: each once before one comes again.
pub(crate) fn order(seed: u64, count: usize) -> Vec<Kill> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills: Vec<Kill> = Vec::new();
    while kills.len() < count {
        let mut round = ANY;
        random.shuffle(&mut round);
        kills.extend(round);
    }
    kills.truncate(count);
    kills
}

impl World {
    /// Does it.
    pub(crate) async fn kill(&self, kill: Kill, session: &str) -> anyhow::Result<()> {
        let part = |part: Part| self.node.kill(part);
        match kill {
            Kill::WorkerContainer => {
                let pod = self.worker(session).await?;
                self.node.kill_container(NAMESPACE, &pod).await
            }
            Kill::Operator => self.delete_pods("roomscribe", "app.kubernetes.io/component=operator").await,
            Kill::Gateway => self.delete_pods("roomscribe", "app.kubernetes.io/component=gateway").await,
            Kill::Nats => self.node.kill_container("roomscribe", "roomscribe-nats-0").await,
            Kill::Speech => self.delete_pods("peers", "app=speech").await,
            Kill::Kubelet => part(Part::Kubelet),
            Kill::Containerd => part(Part::Containerd),
            Kill::Proxy => part(Part::Proxy),
            Kill::ApiServer => part(Part::ApiServer),
            Kill::Address => self.move_address(session).await,
        }
    }

    /// Name of the session's newest pod.
    pub(crate) async fn worker(&self, session: &str) -> anyhow::Result<String> {
        let name = ["get", "ts", session, "-o", "jsonpath={.status.worker.podName}"];
        let name = self.kubectl(&name).await?;
        (!name.is_empty()).then_some(name).context("the session has no worker")
    }

    async fn delete_pods(&self, namespace: &str, label: &str) -> anyhow::Result<()> {
        let pods = ["-n", namespace, "delete", "pods", "-l", label, "--grace-period=0", "--force"];
        self.node.api().kubectl(&pods).await.map(drop)
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
