//! NetworkPolicies hold: our programs reach what they need, and whoever has no business with them reaches nothing else.

use crate::cluster::path;
use crate::world::{CHART, NAMESPACE, RELEASE, World};
use crate::{SESSION, assert_true, meeting};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACES: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: strangers, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Namespace
metadata: {name: monitoring, labels: {pod-security.kubernetes.io/enforce: restricted}}
";
/// The ports that LiveKit, the speech service and DNS have here.
const EGRESS: &str = "networkPolicy.egress.enabled=true,networkPolicy.egress.ports={443,6443,7880,8080},networkPolicy.egress.dnsPorts={1053}";
/// Pods with a worker's labels are workers there only.
const WATCHED: &str = "operator.watchNamespaces={meetings}";
/// Ports of pods by label, and what they are.
const DOORS: [(&str, &str, &str, u16); 7] = [
    ("RTMP", NAMESPACE, "app.kubernetes.io/component=worker", 1935),
    ("a worker's status", NAMESPACE, "app.kubernetes.io/component=worker", 9090),
    ("the gateway", RELEASE, "app.kubernetes.io/component=gateway", 8080),
    ("the gateway's metrics", RELEASE, "app.kubernetes.io/component=gateway", 9090),
    ("the operator's metrics", RELEASE, "app.kubernetes.io/component=operator", 9090),
    ("NATS", RELEASE, "app.kubernetes.io/component=nats", 4222),
    // Of somebody else: no policy keeps anybody from it, but a policy of ours may keep our own pods.
    ("another's port", "kube-system", "k8s-app=kube-dns", 8181),
];
const WORKER: &[(&str, &str)] = &[
    ("app.kubernetes.io/name", "roomscribe"),
    ("app.kubernetes.io/component", "worker"),
    ("app.kubernetes.io/managed-by", "roomscribe-operator"),
];
const OPERATOR: &[(&str, &str)] = &[
    ("app.kubernetes.io/name", "roomscribe"),
    ("app.kubernetes.io/instance", RELEASE),
    ("app.kubernetes.io/component", "operator"),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn under_network_policies_a_session_works_and_strangers_find_two_doors_open_and_no_other() {
    let world = World::without_chart().await.unwrap();
    let Some(node) = world.cluster.node() else {
        eprintln!("left out: whether the network of this cluster enforces NetworkPolicies is not known");
        return world.cluster.end().await.unwrap();
    };
    node.enforce_policies().await.unwrap();
    world.cluster.kubectl.apply(NAMESPACES).await.unwrap();
    let limited = ["--set", EGRESS, "--set", WATCHED];
    world.install(&limited).await.unwrap();
    meeting(&world).await;
    let doors = doors(&world).await;

    let for_everybody = ["RTMP", "another's port", "the gateway"];
    let scraped = ["a worker's status", "the gateway's metrics", "the operator's metrics"];
    // What the operator itself reaches; the gateway by a port that is allowed anywhere.
    let own = ["a worker's status", "the gateway", "NATS"];
    let (stranger, disguised, scraper, operator) = tokio::join!(
        open(&world, &doors, "strangers", &[]),
        open(&world, &doors, "strangers", WORKER),
        open(&world, &doors, "monitoring", &[]),
        open(&world, &doors, RELEASE, OPERATOR),
    );
    assert_eq!(stranger, set(&for_everybody), "a stranger");
    assert_eq!(disguised, set(&for_everybody), "a stranger with a worker's labels");
    assert_eq!(scraper, set(&[for_everybody, scraped].concat()), "a scraper");
    assert_eq!(operator, set(&own), "the operator");

    let without = ["--set", "networkPolicy.enabled=false", "--set", WATCHED, "--wait"];
    world.release("upgrade", &path(CHART), &without).await.unwrap();
    let all: Vec<&str> = DOORS.iter().map(|door| door.0).collect();
    assert_eq!(open(&world, &doors, "strangers", &[]).await, set(&all), "a stranger without policies");
    assert_true(&world.transcript(SESSION).await.unwrap(), "with policies and without");
    world.cluster.end().await.unwrap();
}

/// A name for an address.
type Doors = Vec<(&'static str, String)>;

fn set(names: &[&'static str]) -> BTreeSet<&'static str> {
    names.iter().copied().collect()
}

async fn doors(world: &World) -> Doors {
    let mut doors = Doors::new();
    for (name, namespace, label, port) in DOORS {
        let ip = ["-n", namespace, "get", "pods", "-l", label, "-o", "jsonpath={.items[0].status.podIP}"];
        doors.push((name, format!("{}:{port}", world.cluster.kubectl.run(&ip).await.unwrap())));
    }
    doors
}

/// What a pod of that namespace, with these labels, can connect to.
async fn open(
    world: &World,
    doors: &Doors,
    namespace: &str,
    labels: &[(&str, &str)],
) -> BTreeSet<&'static str> {
    let kubectl = &world.cluster.kubectl;
    let name = format!("probe-{}", labels.len());
    kubectl.apply(&probe(&name, namespace, labels, doors).to_string()).await.unwrap();
    let done =
        ["-n", namespace, "wait", "pod", &name, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"];
    kubectl.run(&done).await.unwrap();
    let said = kubectl.run(&["-n", namespace, "logs", &name]).await.unwrap();
    kubectl.run(&["-n", namespace, "delete", "pod", &name, "--now"]).await.unwrap();
    let name = |line: &str| doors.iter().find(|door| door.1 == line).map(|door| door.0);
    said.lines().filter_map(name).collect()
}

fn probe(name: &str, namespace: &str, labels: &[(&str, &str)], doors: &Doors) -> Value {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    let addresses: Vec<&str> = doors.iter().map(|door| door.1.as_str()).collect();
    let safe = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {
        "restartPolicy": "Never", "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "probe", "image": "localhost/pause:1", "imagePullPolicy": "Never", "command": ["/probe"], "args": addresses, "securityContext": safe}]}})
}
