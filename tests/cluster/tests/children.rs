//! The operator's children (its golden files) on a real API server, in a namespace that enforces Pod Security "restricted".
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use roomscribe_cluster::ApiServer;
use serde_json::{Value, json};

const GOLDEN: [&str; 6] = [
    include_str!("../../../operator/tests/golden/plain-secret.json"),
    include_str!("../../../operator/tests/golden/plain-service.json"),
    include_str!("../../../operator/tests/golden/plain-pod.json"),
    include_str!("../../../operator/tests/golden/rich-secret.json"),
    include_str!("../../../operator/tests/golden/rich-service.json"),
    include_str!("../../../operator/tests/golden/rich-pod.json"),
];

/// The object in this namespace, and with a name of its own.
fn placed(golden: &str, namespace: &str, name: &str) -> Value {
    let mut object: Value = serde_json::from_str(golden).unwrap();
    object["metadata"]["namespace"] = namespace.into();
    object["metadata"]["name"] = name.into();
    object
}

#[tokio::test]
async fn a_restricted_namespace_takes_every_child_and_knows_every_field_of_it() {
    let api = ApiServer::start().await.unwrap();
    let namespace = api.namespace(&[("pod-security.kubernetes.io/enforce", "restricted")]).await.unwrap();
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "meetings"}, "value": 7});
    api.apply(&class.to_string()).await.unwrap();
    for (index, golden) in GOLDEN.iter().enumerate() {
        // kubectl asks for strict validation: a field that the server does not know is an error.
        api.apply(&placed(golden, &namespace, &format!("child-{index}")).to_string()).await.unwrap();
    }
    // The namespace does enforce: without its seccomp profile the same pod is refused.
    let mut pod = placed(GOLDEN[2], &namespace, "loose");
    pod["spec"]["securityContext"].as_object_mut().unwrap().remove("seccompProfile");
    let refused = api.apply(&pod.to_string()).await.unwrap_err().to_string();
    assert!(refused.contains("seccompProfile"), "{refused}");
    a_planned_move_switches_the_selector(&api, &namespace).await;
}

/// Applied again with another attempt, the Service keeps what the server gave it.
async fn a_planned_move_switches_the_selector(api: &ApiServer, namespace: &str) {
    let read = async || -> Value {
        let text = api.kubectl(&["get", "service", "child-4", "-n", namespace, "-o", "json"]).await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let before = read().await;
    let mut moved = placed(GOLDEN[4], namespace, "child-4");
    moved["spec"]["selector"]["roomscribe.io/attempt"] = "4".into();
    api.apply(&moved.to_string()).await.unwrap();
    let after = read().await;
    assert_eq!(after["spec"]["selector"]["roomscribe.io/attempt"], "4");
    assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(after["spec"]["ports"][0]["nodePort"], before["spec"]["ports"][0]["nodePort"]);
}
