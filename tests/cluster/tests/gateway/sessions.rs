//! What a session is to the gateway's callers.

use crate::world::{World, answer, api, until};
use futures_util::future::join_all;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_session_is_made_watched_and_stopped_through_any_replica() {
    let world = World::new(api().await).await;
    let (a, b) = (world.replica().await, world.replica().await);
    let (status, made) =
        a.post(json!({"name": "standup", "roomName": "Standup", "speech": {"languages": ["en"]}})).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["namespace"], &made["state"]), (&json!(world.namespaces[0]), &json!("Pending")));
    let resource = world.resources().get("standup").await.unwrap();
    assert_eq!(
        (resource.uid().as_deref(), resource.spec.room_name.as_str()),
        (made["id"].as_str(), "Standup")
    );
    assert_eq!(resource.spec.speech.languages, ["en"]);
    // The other replica, by name and by id, at once.
    for key in ["standup", made["id"].as_str().unwrap()] {
        assert_eq!(b.json(&format!("/v1/sessions/{key}")).await["id"], made["id"]);
    }
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-26T10:00:00Z"});
    world.status("standup", json!({"summary": "Live", "conditions": [ready], "startedAt": "2026-11-26T10:00:01Z", "usage": {"speechSeconds": 7}})).await;
    for replica in [&a, &b] {
        until("Live", async || replica.state("standup").await == ("Live".into(), "Ready".into())).await;
    }
    let document = b.json("/v1/sessions/standup").await;
    assert_eq!(
        (&document["startedAt"], &document["usage"]["speechSeconds"]),
        (&json!("2026-11-26T10:00:01Z"), &json!(7))
    );
    let (status, stopping) = b.delete("/v1/sessions/standup").await;
    assert_eq!((status, &stopping["state"]), (200, &json!("Stopping")));
    assert_eq!(
        format!("{:?}", world.resources().get("standup").await.unwrap().spec.desired_state),
        "Stopped"
    );
    world.finish("standup", "Stopped").await;
    until("Succeeded", async || a.state("standup").await == ("Succeeded".into(), "Stopped".into())).await;
    let (status, again) = a.delete("/v1/sessions/standup").await;
    assert_eq!((status, &again["state"]), (200, &json!("Succeeded")), "a stop of what has ended is done");
}

#[tokio::test]
async fn an_idempotency_key_means_one_request_on_every_replica() {
    let world = World::new(api().await).await;
    let (a, b) = (world.replica().await, world.replica().await);
    let (first, made) = a.post_once("k1", json!({"roomName": "retro"})).await;
    let (again, same) = b.post_once("k1", json!({"roomName": "retro"})).await;
    assert_eq!((first, again), (201, 200));
    assert_eq!(made["id"], same["id"]);
    let (reused, problem) = b.post_once("k1", json!({"roomName": "another"})).await;
    assert_eq!(
        (reused, &problem["type"]),
        (409, &json!("https://roomscribe.io/problems/idempotency-key-reused"))
    );
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn ten_starts_of_one_room_at_once_meet_in_one_session() {
    let world = World::new(api().await).await;
    let replicas = [world.replica().await, world.replica().await];
    let starts = (0..10).map(|index| {
        let replica = &replicas[index % 2];
        async move { replica.post_once(&format!("key {index}"), json!({"roomName": "All hands"})).await }
    });
    let answers = join_all(starts).await;
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|(_, made)| made["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn a_push_session_shows_its_address_to_those_who_may_control_it_and_a_new_key_on_demand() {
    let world = World::new(api().await).await;
    let replica = world.replica().await;
    let (_, made) =
        replica.post(json!({"name": "obs", "roomName": "obs", "capture": {"mode": "Push"}})).await;
    assert_eq!(made["ingest"], Value::Null);
    let answered = |generation: u32, attempt: u32| json!({"observedGeneration": generation, "attempt": attempt, "ingest": {"host": "198.18.0.9", "port": 1935}});
    world.status("obs", answered(1, 1)).await;
    until("an address", async || replica.json("/v1/sessions/obs").await["ingest"]["url"].is_string()).await;
    let first = replica.json("/v1/sessions/obs").await["ingest"].clone();
    assert_eq!(
        first["server"],
        format!("rtmp://198.18.0.9:1935/live/9f2c01ab/{}.1", made["id"].as_str().unwrap())
    );
    let (_, seen) =
        answer(replica.as_viewer("/v1/sessions/obs", json!({"sub": "v", "sid": "*", "scope": "read"})).await)
            .await;
    assert_eq!((&seen["id"], &seen["ingest"]), (&made["id"], &Value::Null));
    let rotate = replica.ask(Method::POST, "/v1/sessions/obs/ingest-key", &[], None);
    let operator = async {
        until("keyGeneration", async || {
            world.resources().get("obs").await.unwrap().spec.ingest.key_generation == 2
        })
        .await;
        world.status("obs", answered(2, 2)).await;
    };
    let (rotated, ()) = tokio::join!(rotate, operator);
    let (status, rotated) = answer(rotated).await;
    assert_eq!(status, 200, "{rotated}");
    assert_ne!(rotated["ingest"]["streamKey"], first["streamKey"]);
    assert!(rotated["ingest"]["server"].as_str().unwrap().ends_with(".2"));
}

#[tokio::test]
async fn the_installations_defaults_lie_under_each_request() {
    let mut world = World::new(api().await).await;
    world.defaults = json!({"ingest": {"exposure": "ClusterIP"}, "ttlSecondsAfterFinished": 60, "worker": {"disruption": "Never"}});
    let replica = world.replica().await;
    replica.post(json!({"name": "a", "roomName": "a", "ttlSecondsAfterFinished": 90, "worker": {"podLabels": {"team": "x"}}})).await;
    let spec = world.resources().get("a").await.unwrap().spec;
    assert_eq!(format!("{:?} {:?}", spec.ingest.exposure, spec.worker.disruption), "ClusterIP Never");
    assert_eq!((spec.ttl_seconds_after_finished, spec.worker.pod_labels["team"].as_str()), (90, "x"));
}

#[tokio::test]
async fn what_others_change_in_the_cluster_is_what_callers_see() {
    let world = World::new(api().await).await;
    let replica = world.replica().await;
    let id = world.apply(0, "gitops", "From YAML").await;
    until("listed", async || replica.json("/v1/sessions").await["sessions"][0]["id"] == json!(id)).await;
    let stop = Patch::Merge(json!({"spec": {"desiredState": "Stopped"}}));
    world.resources().patch("gitops", &PatchParams::default(), &stop).await.unwrap();
    until("Stopping", async || replica.state(&id).await.0 == "Stopping").await;
    world.resources().delete("gitops", &Default::default()).await.unwrap();
    until("not listed", async || replica.json("/v1/sessions").await["sessions"] == json!([])).await;
}
