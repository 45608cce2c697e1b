//! Secret, edits, force: what people do to a session that runs.

use crate::world::{World, api, join, live, livekit, until};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use roomscribe_crds::CaptureMode;
use serde_json::{Value, json};

async fn edit(world: &World, spec: Value) {
    let patch = json!({"spec": spec});
    world.sessions.patch("standup", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

#[tokio::test]
async fn a_secret_that_was_deleted_by_hand_is_there_again_when_the_container_needs_it() {
    let livekit = livekit(62).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let speech = [("GLADIA_API_KEY", "a-speech-key")];
    let _operator = world.operator_with(&speech).await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    secrets(&world).delete("ts-standup", &DeleteParams::default()).await.unwrap();
    world.kubelet.crash(&world.namespace, "ts-standup-1", 1);
    until("the Secret is there again", async || {
        secrets(&world).get_opt("ts-standup").await.unwrap().is_some()
    })
    .await;
    world.until_ready("standup").await;
}

#[tokio::test]
async fn a_publisher_s_url_stands_in_the_secret_and_a_new_speech_key_reaches_it_without_a_restart() {
    let livekit = livekit(63).await;
    let world = World::new(api().await, &livekit.url()).await;
    let file = world.folder.path().join("speech-key");
    std::fs::write(&file, "an-old-key\n").unwrap();
    let _operator = world.operator_with(&[("GLADIA_API_KEY_FILE", file.to_str().unwrap())]).await;
    world.create_with("standup", "studio", |spec| spec.capture.mode = CaptureMode::Push).await;
    world.until_ready("standup").await;
    let value = async |name: &str| {
        let secret = secrets(&world).get("ts-standup").await.unwrap();
        let data = secret.data.unwrap_or_default();
        data.get(name).map(|value| String::from_utf8(value.0.clone()).unwrap()).unwrap_or_default()
    };
    until("the URL", async || value("url").await.starts_with("rtmp://")).await;
    let host = world.status("standup").await.unwrap().ingest.unwrap().host;
    assert!(value("server").await.contains(&host));
    assert_eq!(value("url").await, format!("{}/{}", value("server").await, value("streamKey").await));
    assert_eq!(value("GLADIA_API_KEY").await, "an-old-key");
    std::fs::write(&file, "a-new-key").unwrap();
    until("the new key", async || value("GLADIA_API_KEY").await == "a-new-key").await;
    assert!(value("url").await.starts_with("rtmp://"));
}

#[tokio::test]
async fn edits_that_wait_for_the_next_pod_and_annotations_that_are_left_out_are_told_once() {
    let livekit = livekit(64).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world
        .create_with("standup", "standup", |spec| {
            spec.ingest.annotations.insert("prometheus.io/scrape".into(), "true".into());
        })
        .await;
    world.until_ready("standup").await;
    let told = async |word: &str| {
        let events = world.events("standup").await;
        events.into_iter().filter(|event| event.starts_with(word)).collect::<Vec<_>>()
    };
    until("the annotation is named", async || {
        told("AnnotationsLeftOut").await.iter().any(|event| event.contains("prometheus.io/scrape"))
    })
    .await;
    edit(&world, json!({"speech": {"languages": ["en"]}})).await;
    until("the edit is named", async || !told("NextPod").await.is_empty()).await;
    assert_eq!(told("NextPod").await, ["NextPod: From the worker's next pod on: speech.languages"]);
}

#[tokio::test]
async fn a_session_that_is_let_go_by_force_names_the_egress_that_may_still_run() {
    let livekit = livekit(65).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    livekit.set_faults(|faults| faults.proxy_errors = u32::MAX);
    world.delete("standup").await;
    let force = json!({"metadata": {"annotations": {"roomscribe.io/force-finalize": "true"}}});
    world.sessions.patch("standup", &PatchParams::default(), &Patch::Merge(&force)).await.unwrap();
    world.until_gone("standup").await;
    let events = world.events("standup").await;
    assert!(
        events.iter().any(
            |event| event.starts_with("EgressCleanupAbandoned: Let go by force") && event.contains("EG_")
        ),
        "{events:?}"
    );
    assert_eq!(operator.metric("roomscribe_operator_cleanup_abandoned_total", &[]).await.unwrap(), 1.0);
}

#[tokio::test]
async fn a_session_whose_objects_were_orphaned_takes_them_along() {
    let livekit = livekit(66).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    // What the garbage collector does for `kubectl delete --cascade=orphan`.
    let orphaned = Patch::Merge(json!({"metadata": {"ownerReferences": []}}));
    let params = PatchParams::default();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let services: Api<Service> = Api::namespaced(world.client.clone(), &world.namespace);
    pods.patch("ts-standup-1", &params, &orphaned).await.unwrap();
    services.patch("ts-standup", &params, &orphaned).await.unwrap();
    world.delete("standup").await;
    world.until_gone("standup").await;
    until("nothing is left", async || world.children().await.is_empty()).await;
    assert_eq!(live(&livekit, None), []);
}
