//! The one-node Kubernetes: it comes, serves, is hurt, and leaves nothing. `make node-test` runs it; it needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

#[path = "../common/mod.rs"]
mod common;
mod dns;
mod traces;

use common::until;
use roomscribe_cluster::{Node, Part};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use traces::{left, traces};

/// A pod under the strictest Pod Security Standard, behind a load balancer. CoreDNS is a program with an HTTP page.
const ECHO: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: echo
        image: localhost/coredns:1
        imagePullPolicy: Never
        args: [-conf, /etc/echo/Corefile]
        volumeMounts: [{name: config, mountPath: /etc/echo}]
        readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
      volumes: [{name: config, configMap: {name: echo}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: echo}
data: {Corefile: \".:5353 {\\n health\\n}\\n\"}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: LoadBalancer
  selector: {app: echo}
  ports: [{port: 1935, targetPort: 8080}]
";

fn say(step: &str) {
    eprintln!("{step}");
}

async fn start_node() -> Node {
    Node::start(say).await.unwrap()
}

/// Puts `ECHO` into a namespace of its own and waits for its address.
async fn start_echo(node: &Node) -> (String, Ipv4Addr) {
    let api = node.api();
    let namespace = api.namespace(&[("pod-security.kubernetes.io/enforce", "restricted")]).await.unwrap();
    for document in ECHO.split("---") {
        api.apply(&document.replacen("metadata: {", &format!("metadata: {{namespace: {namespace}, "), 1))
            .await
            .unwrap();
    }
    api.kubectl(&["-n", &namespace, "rollout", "status", "deployment/echo", "--timeout=60s"]).await.unwrap();
    let address =
        ["-n", &namespace, "get", "service", "echo", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"];
    let mut given = String::new();
    until("the Service has an address", async || {
        given = api.kubectl(&address).await.unwrap();
        !given.is_empty()
    })
    .await;
    (namespace, given.parse().unwrap())
}

/// Never waits for an address that nothing is routed to.
fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

async fn answers(address: Ipv4Addr) -> bool {
    let answer = http().get(format!("http://{address}:1935/health")).send().await;
    matches!(answer, Ok(answer) if answer.status() == 200)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make node-test"]
async fn it_serves_a_restricted_pod_by_address_and_name_and_leaves_nothing_twice() {
    let before = traces();
    for _ in 0..2 {
        let begun = Instant::now();
        let node = start_node().await;
        let (namespace, address) = start_echo(&node).await;
        assert!(address.octets().starts_with(&[198, 18, 112]), "{address}");
        until("the load balancer's address answers", async || answers(address).await).await;
        let name = format!("echo.{namespace}.svc.cluster.local");
        let service = ["-n", &namespace, "get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}"];
        let internal: Ipv4Addr = node.api().kubectl(&service).await.unwrap().parse().unwrap();
        until("the name resolves", async || dns::ask(node.dns(), &name).await.ok() == Some(internal)).await;
        assert_ne!(traces(), before, "the list of traces sees a node");
        eprintln!("served after {:.1} s", begun.elapsed().as_secs_f64());
        let folder = node.api().folder().display().to_string();
        drop(node);
        until("everything is gone", async || left(&before, &folder).is_empty()).await;
        eprintln!("gone after {:.1} s", begun.elapsed().as_secs_f64());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make node-test"]
async fn pods_live_on_and_the_node_is_ready_again_when_any_part_is_killed() {
    let node = start_node().await;
    let (_, address) = start_echo(&node).await;
    until("it answers", async || answers(address).await).await;
    for part in [Part::Kubelet, Part::Containerd, Part::Proxy, Part::Scheduler, Part::Controllers] {
        node.kill(part).unwrap();
        assert!(answers(address).await, "{part:?} is not needed by what runs");
    }
    node.api().restart_api_server().await.unwrap();
    node.ready().await.unwrap();
    let (_, second) = start_echo(&node).await;
    until("a new pod answers on an address of its own", async || second != address && answers(second).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make node-test"]
async fn a_killed_owner_leaves_nothing_and_a_second_node_is_refused_in_a_line() {
    let before = traces();
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut owner = Command::new(env!("CARGO_BIN_EXE_node_up"))
        .arg("--ready")
        .arg(&ready)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it is up", async || ready.exists()).await;
    let refused = Node::start(say).await.err().unwrap().to_string();
    assert_eq!(refused, "a node runs on this machine already: make cluster-down");
    let told = std::fs::read_to_string(&ready).unwrap();
    let folder = told.lines().find_map(|line| line.strip_prefix("# logs: ")?.strip_suffix("/log")).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("everything is gone", async || left(&before, folder).is_empty()).await;
}
