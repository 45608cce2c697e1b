//! What only the API server knows: it refuses the pod or the Service, and the session says so in its words.

use crate::world::{World, api, join, live, livekit, until};
use kube::api::{Patch, PatchParams};
use roomscribe_crds::condition::{self, ConditionType};
use serde_json::{Value, json};

async fn patch(world: &World, name: &str, spec: Value) {
    let patch = json!({"spec": spec});
    world.sessions.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test]
async fn a_pod_that_the_api_server_refuses_is_told_in_its_words_and_tried_again_when_the_spec_changes() {
    let livekit = livekit(81).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator().await;
    world.create_with("standup", "standup", |spec| spec.worker.priority_class_name = "gold".into()).await;
    world.until_condition("standup", ConditionType::Ready, "False", "Refused").await;
    let conditions = world.status("standup").await.unwrap().conditions;
    let ready = condition::find(&conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("could not create the worker pod"), "{}", ready.message);
    assert!(ready.message.contains("no PriorityClass with name gold was found"), "{}", ready.message);
    until("the event", async || {
        world.events("standup").await.iter().any(|event| event.starts_with("Refused"))
    })
    .await;
    patch(&world, "standup", json!({"worker": {"priorityClassName": ""}})).await;
    world.until_ready("standup").await;
    // One line tells of it, in words for people.
    let said = operator.said();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("PriorityClass")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(!told[0].contains("Status {"), "{told:#?}");
}

#[tokio::test]
async fn a_service_that_a_policy_refuses_is_told_beside_a_pod_that_listens() {
    let livekit = livekit(82).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let policy = forbid_services(&world).await;
    let _operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_condition("standup", ConditionType::IngestReady, "False", "Refused").await;
    let conditions = world.status("standup").await.unwrap().conditions;
    let ingest = condition::find(&conditions, ConditionType::IngestReady).unwrap();
    assert!(ingest.message.contains("load balancers belong to the network team"), "{}", ingest.message);
    world
        .api
        .kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", &policy])
        .await
        .unwrap();
    // A change of the spec is tried at once.
    patch(&world, "standup", json!({"limits": {"maxDurationSeconds": 3600}})).await;
    world.until_ready("standup").await;
}

#[tokio::test]
async fn a_session_ends_with_its_namespace_which_takes_pods_first_and_the_resource_only_when_they_are_gone() {
    let livekit = livekit(83).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    world.api.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]).await.unwrap();
    // As its controller does, which does not run here.
    world.api.kubectl(&["-n", &world.namespace, "delete", "pods", "--all", "--wait=false"]).await.unwrap();
    until("nothing keeps the resource, although nobody has deleted it", async || {
        let session = world.sessions.get("standup").await.unwrap();
        let completed = session.status.is_some_and(|status| status.completed_at.is_some());
        completed && session.metadata.finalizers.unwrap_or_default().is_empty()
    })
    .await;
    assert!(live(&livekit, None).is_empty());
    let said = operator.said();
    assert!(said.contains("the namespace is being deleted") && !said.contains("round ended early"), "{said}");
}

/// A policy of this namespace, as platform teams have them.
async fn forbid_services(world: &World) -> String {
    let name = format!("no-services-{}", world.namespace);
    let kind = "admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": kind, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}]},
        "validations": [{"expression": "false", "message": "load balancers belong to the network team"}]}});
    let binding = json!({"apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {
        "policyName": name, "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}}}});
    for object in [policy, binding] {
        world.api.apply(&object.to_string()).await.unwrap();
    }
    // It holds once the API server has compiled it.
    until("the policy holds", async || {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "probe", "namespace": world.namespace}, "spec": {"ports": [{"port": 1}]}});
        let path = world.folder.path().join("probe.json");
        std::fs::write(&path, service.to_string()).unwrap();
        world.api.kubectl(&["create", "--dry-run=server", "-f", path.to_str().unwrap()]).await.is_err()
    })
    .await;
    name
}
