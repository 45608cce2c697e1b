//! One installation on a node of our own: the operator's image, its peers, and what people see of it.

use crate::transcript::Transcript;
use crate::viewers::Viewers;
use anyhow::{Context, ensure};
use roomscribe_cluster::Node;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PEERS: &str = include_str!("peers.yaml");
const INSTALLATION: &str = include_str!("installation.yaml");
/// As `make cluster-e2e` packs them.
const IMAGES: [&str; 6] = ["operator", "worker", "gateway", "speech", "livekit-sim", "nats"];
/// Where sessions are.
pub(crate) const NAMESPACE: &str = "meetings";
/// Seconds of audio from one scripted utterance to the next.
const PACE: f64 = 1.5;
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
pub(crate) struct World {
    pub(crate) node: Node,
    http: reqwest::Client,
    livekit: Ipv4Addr,
    viewers: Viewers,
}

impl World {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = PathBuf::from(std::env::var("IMAGES_DIR").context("IMAGES_DIR: run make cluster-e2e")?);
        let begun = Instant::now();
        let node = Node::start(|step| eprintln!("{step}")).await?;
        for image in IMAGES {
            node.import(&folder.join(format!("{image}.tar"))).await?;
        }
        let api = node.api();
        for text in [PEERS, INSTALLATION] {
            api.apply(text).await?;
        }
        api.apply(&script().to_string()).await?;
        for peer in ["livekit", "speech"] {
            let rollout = format!("deployment/{peer}");
            api.kubectl(&["-n", "peers", "rollout", "status", &rollout, "--timeout=120s"]).await?;
        }
        let values = path("tests/cluster/tests/e2e/values.yaml");
        helm(
            &node,
            &[
                "install",
                "roomscribe",
                &path("charts/roomscribe"),
                "--values",
                &values,
                "--wait",
                "--timeout",
                "120s",
            ],
        )
        .await?;
        let address = ["-n", "peers", "get", "service", "livekit", "-o", "jsonpath={.spec.clusterIP}"];
        let livekit = api.kubectl(&address).await?.parse()?;
        eprintln!("{:5.1} s  installed", begun.elapsed().as_secs_f64());
        // Never waits for an address that nothing is routed to.
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self { node, http, livekit, viewers: Viewers::default() })
    }

    /// Somebody with an open microphone enters.
    pub(crate) async fn join(&self, room: &str, identity: &str) -> anyhow::Result<()> {
        let url = format!("http://{}:7880/sim/rooms/{room}/participants", self.livekit);
        let person = json!({"identity": identity, "name": identity, "microphone": "open", "hidden": false, "agent": false});
        self.http.post(url).json(&person).send().await?.error_for_status()?;
        Ok(())
    }

    /// Egresses that may still send.
    pub(crate) async fn egresses(&self) -> anyhow::Result<Vec<Value>> {
        let url = format!("http://{}:7880/sim/egresses", self.livekit);
        let all: Vec<Value> = self.http.get(url).send().await?.error_for_status()?.json().await?;
        let lives = |egress: &Value| {
            !matches!(egress["status"].as_str(), Some("EGRESS_COMPLETE" | "EGRESS_FAILED" | "EGRESS_ABORTED"))
        };
        Ok(all.into_iter().filter(lives).collect())
    }

    /// kubectl in the sessions' namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["-n", NAMESPACE];
        all.extend(arguments);
        self.node.api().kubectl(&all).await
    }

    /// Applies a file of `docs/examples`.
    pub(crate) async fn apply_example(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["apply", "-f", &path(&format!("docs/examples/{name}"))]).await.map(drop)
    }

    /// helm with the installation.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        helm(&self.node, arguments).await
    }

    /// What the session has said so far, at each replica of the gateway.
    pub(crate) async fn transcript(&self, session: &str) -> anyhow::Result<Transcript> {
        let ready = r#"jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.status.podIP}{"\n"}{end}"#;
        let pods =
            ["-n", "roomscribe", "get", "pods", "-l", "app.kubernetes.io/component=gateway", "-o", ready];
        let addresses = self.node.api().kubectl(&pods).await?;
        self.viewers.transcript(session, addresses.lines().map(str::to_owned).collect())
    }

    /// So many finals are there, the session is Ready, and one egress may send.
    pub(crate) async fn has_recovered(&self, session: &str, finals: usize) -> anyhow::Result<bool> {
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let is_ready = self.kubectl(&["get", "ts", session, "-o", ready]).await? == "True";
        let words = self.transcript(session).await?.finals().len();
        Ok(is_ready && words >= finals && self.egresses().await?.len() == 1)
    }

    /// Waits until it is so; says what was seen last if it never is.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let seen = is_so().await;
            if matches!(seen, Ok(true)) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let pods = self
                    .node
                    .api()
                    .kubectl(&["get", "pods,ts", "-A", "-o", "wide"])
                    .await
                    .unwrap_or_default();
                ensure!(false, "never: {what}; last {seen:?}\n{pods}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A file of this repository.
fn path(name: &str) -> String {
    format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))
}

async fn helm(node: &Node, arguments: &[&str]) -> anyhow::Result<String> {
    let program = std::env::var("HELM_BIN").context("HELM_BIN: run make cluster-e2e")?;
    let folder = node.api().folder();
    let mut helm = tokio::process::Command::new(program);
    helm.args(arguments).args(["--namespace", "roomscribe"]).kill_on_drop(true);
    helm.env("KUBECONFIG", node.api().kubeconfig("admin")?).env("HOME", folder);
    let output = helm.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// One utterance after the other, each with its number, for 50 minutes.
fn script() -> Value {
    let utterance = |n: u32| json!({"start": f64::from(n) * PACE, "end": f64::from(n).mul_add(PACE, 1.0), "text": format!("Utterance {n}.")});
    let utterances: Vec<Value> = (0..2000).map(utterance).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "script", "namespace": "peers"},
        "data": {"script.json": json!({"utterances": utterances}).to_string()}})
}
