//! One installation, its peers, and what people see of it.

use crate::cluster::{Cluster, Open, Way, path};
use crate::transcript::Transcript;
use crate::viewers::Viewers;
use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roomscribe_sims::tones::{self, PERIOD, TONES};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PEERS: &str = include_str!("peers.yaml");
const INSTALLATION: &str = include_str!("installation.yaml");
/// Where sessions are.
pub(crate) const NAMESPACE: &str = "meetings";
/// Where the chart is.
pub(crate) const RELEASE: &str = "roomscribe";
/// This tree's chart.
pub(crate) const CHART: &str = "charts/roomscribe";
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    http: reqwest::Client,
    livekit: Open,
    viewers: Viewers,
}

impl World {
    /// With the chart installed.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let world = Self::without_chart().await?;
        world.install(&[]).await?;
        Ok(world)
    }

    /// A cluster with peers and Secrets; the chart is to come.
    pub(crate) async fn without_chart() -> anyhow::Result<Self> {
        let begun = Instant::now();
        let cluster = Cluster::begin().await?;
        for text in [PEERS, INSTALLATION, &fixture()?] {
            cluster.kubectl.apply(&cluster.adapt(text)).await?;
        }
        for peer in ["deployment/livekit", "deployment/speech"] {
            cluster.kubectl.run(&["-n", "peers", "rollout", "status", peer, "--timeout=120s"]).await?;
        }
        let livekit = pods(&cluster, "peers", "app=livekit").await?;
        let livekit = livekit.first().context("no pod of LiveKit")?.open(7880).await?;
        eprintln!("{:5.1} s  peers are up", begun.elapsed().as_secs_f64());
        // Never waits for an address that nothing is routed to.
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self { cluster, http, livekit, viewers: Viewers::default() })
    }

    /// `helm install` as people do it, and with more arguments.
    pub(crate) async fn install(&self, more: &[&str]) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut arguments = vec!["--wait", "--timeout", "120s"];
        arguments.extend(more);
        self.release("install", &path(CHART), &arguments).await?;
        eprintln!("{:5.1} s  installed", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// `helm install` or `upgrade` of a chart with the values of these tests.
    pub(crate) async fn release(&self, verb: &str, chart: &str, more: &[&str]) -> anyhow::Result<String> {
        let (values, own) = (path("tests/cluster/tests/e2e/values.yaml"), self.cluster.values());
        let mut arguments = vec![verb, RELEASE, chart, "--values", &values];
        arguments.extend(own.iter().map(String::as_str));
        arguments.extend(more);
        self.helm(&arguments).await
    }

    /// Somebody with an open microphone enters.
    pub(crate) async fn join(&self, room: &str, identity: &str) -> anyhow::Result<()> {
        let url = format!("http://{}/sim/rooms/{room}/participants", self.livekit.address);
        let person = json!({"identity": identity, "name": identity, "microphone": "open", "hidden": false, "agent": false});
        self.http.post(url).json(&person).send().await?.error_for_status()?;
        Ok(())
    }

    /// Egresses that were ever started.
    pub(crate) async fn egress_starts(&self) -> anyhow::Result<Vec<Value>> {
        let url = format!("http://{}/sim/egresses", self.livekit.address);
        Ok(self.http.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// Those that may still send.
    pub(crate) async fn egresses(&self) -> anyhow::Result<Vec<Value>> {
        let lives = |egress: &Value| {
            !matches!(egress["status"].as_str(), Some("EGRESS_COMPLETE" | "EGRESS_FAILED" | "EGRESS_ABORTED"))
        };
        Ok(self.egress_starts().await?.into_iter().filter(lives).collect())
    }

    /// kubectl in the sessions' namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["-n", NAMESPACE];
        all.extend(arguments);
        self.cluster.kubectl.run(&all).await
    }

    /// Applies a file of `docs/examples`.
    pub(crate) async fn apply_example(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(&["apply", "-f", &path(format!("docs/examples/{name}"))]).await.map(drop)
    }

    /// Makes a session.
    pub(crate) async fn create(&self, namespace: &str, session: &str, spec: Value) -> anyhow::Result<()> {
        let resource = json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession",
            "metadata": {"name": session, "namespace": namespace}, "spec": spec});
        self.cluster.kubectl.apply(&resource.to_string()).await.map(drop)
    }

    /// helm with the installation.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let program = std::env::var("HELM_BIN").context("HELM_BIN: run make e2e")?;
        let mut helm = tokio::process::Command::new(program);
        helm.args(arguments).args(["--namespace", RELEASE]).kill_on_drop(true);
        helm.env("KUBECONFIG", self.cluster.kubectl.config());
        let output = helm.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A way to a pod that runs, ready or not.
    pub(crate) async fn way(&self, namespace: &str, label: &str) -> anyhow::Result<Way> {
        let ways = pods_where(&self.cluster, namespace, label, "started").await?;
        ways.into_iter().next().with_context(|| format!("no pod of {label} runs"))
    }

    /// A page of such a pod.
    pub(crate) async fn page(&self, label: &str, port: u16, page: &str) -> anyhow::Result<(u16, String)> {
        let open = self.way(RELEASE, label).await?.open(port).await?;
        let answer = self.http.get(format!("http://{}/{page}", open.address)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// What the session has said so far, at each replica of the gateway.
    pub(crate) async fn transcript(&self, session: &str) -> anyhow::Result<Transcript> {
        let gateways = pods(&self.cluster, RELEASE, "app.kubernetes.io/component=gateway").await?;
        self.viewers.transcript(session, gateways)
    }

    /// So many words more arrive at all viewers.
    pub(crate) async fn until_more_words(&self, session: &str, count: usize) -> anyhow::Result<()> {
        let mut before = None;
        let more = async || {
            let words = self.transcript(session).await?.words().len();
            Ok(words >= *before.get_or_insert(words) + count)
        };
        self.until(&format!("{count} more words of {session} arrive at all viewers"), more).await
    }

    /// This word or a later one is there, the session is Ready, and one egress may send.
    pub(crate) async fn has_recovered(&self, session: &str, word: u64) -> anyhow::Result<bool> {
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let is_ready = self.kubectl(&["get", "ts", session, "-o", ready]).await? == "True";
        let is_heard = self.transcript(session).await?.words().last().is_some_and(|last| last.index >= word);
        Ok(is_ready && is_heard && self.egresses().await?.len() == 1)
    }

    /// The operators' newest log lines, for whoever looks for a cause.
    pub(crate) async fn operators_words(&self) -> String {
        let logs =
            ["-n", RELEASE, "logs", "-l", "app.kubernetes.io/component=operator", "--prefix", "--tail=300"];
        self.cluster.kubectl.run(&logs).await.unwrap_or_else(|error| error.to_string())
    }

    /// Everything that was installed has the replicas that it wants, and one of the operators leads.
    pub(crate) async fn is_complete(&self) -> anyhow::Result<bool> {
        let renewed =
            ["-n", RELEASE, "get", "lease", "roomscribe-operator", "-o", "jsonpath={.spec.renewTime}"];
        let renewed: jiff::Timestamp = self.cluster.kubectl.run(&renewed).await?.parse()?;
        if jiff::Timestamp::now().duration_since(renewed).as_secs() > 5 {
            return Ok(false);
        }
        let counts = r#"jsonpath={range .items[*]}{.spec.replicas} {.status.readyReplicas}{"\n"}{end}"#;
        let sets = self
            .cluster
            .kubectl
            .run(&["-n", RELEASE, "get", "deployments,statefulsets", "-o", counts])
            .await?;
        Ok(sets.lines().all(|line| line.split_once(' ').is_some_and(|(wanted, ready)| wanted == ready)))
    }

    /// Nothing of the sessions is left: no object, no egress.
    pub(crate) async fn until_nothing_is_left(&self) -> anyhow::Result<()> {
        let ours =
            ["get", "pods,services,secrets", "-l", "app.kubernetes.io/part-of=roomscribe", "-o", "name"];
        self.until("nothing of the sessions is left", async || {
            Ok(self.kubectl(&ours).await?.is_empty() && self.egresses().await?.is_empty())
        })
        .await
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
                let all = ["get", "pods,ts", "-A", "-o", "wide"];
                let pods = self.cluster.kubectl.run(&all).await.unwrap_or_default();
                ensure!(false, "never: {what}; last {seen:?}\n{pods}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Ways to the pods that are ready.
async fn pods(cluster: &Cluster, namespace: &str, label: &str) -> anyhow::Result<Vec<Way>> {
    pods_where(cluster, namespace, label, "ready").await
}

/// … or `started`.
async fn pods_where(
    cluster: &Cluster,
    namespace: &str,
    label: &str,
    state: &str,
) -> anyhow::Result<Vec<Way>> {
    let which = format!(
        r#"jsonpath={{range .items[?(@.status.containerStatuses[0].{state}==true)]}}{{.metadata.name}} {{.status.podIP}}{{"\n"}}{{end}}"#
    );
    let pods = cluster.kubectl.run(&["-n", namespace, "get", "pods", "-l", label, "-o", &which]).await?;
    let way = |line: &str| line.split_once(' ').map(|(pod, ip)| cluster.way(namespace, pod, ip));
    Ok(pods.lines().filter_map(way).collect())
}

/// What rooms sound of.
fn fixture() -> anyhow::Result<String> {
    let audio = tones::encode(f64::from(TONES) * PERIOD).map_err(anyhow::Error::msg)?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixture", "namespace": "peers"},
        "binaryData": {"tones.aac": STANDARD.encode(audio)}});
    Ok(map.to_string())
}
