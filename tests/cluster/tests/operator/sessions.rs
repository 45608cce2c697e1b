//! From `kubectl apply` to Ready, and to nothing.

use crate::world::{World, api, join, live, livekit, until};
use kube::api::{Patch, PatchParams};
use roomscribe_crds::condition::{ConditionType, Verdict};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_session_becomes_ready_with_one_egress_and_its_deletion_leaves_nothing() {
    let livekit = livekit(1).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    let status = world.status("standup").await.unwrap();
    assert_eq!((status.attempt, status.egresses.len()), (Some(1), 1));
    assert_eq!(status.worker.unwrap().pod_name, "ts-standup-1");
    assert_eq!(live(&livekit, None).len(), 1);
    let shown = world.api.kubectl(&["get", "ts", "-n", &world.namespace]).await.unwrap();
    for word in
        ["NAME", "ROOM", "MODE", "STATE", "ADDRESS", "EGRESS", "REASON", "AGE", "RoomComposite", "EG_"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    world.delete("standup").await;
    world.until_gone("standup").await;
    assert_eq!(live(&livekit, None), []);
    assert_eq!(world.children().await, Vec::<String>::new());
    assert_eq!(world.ends(), ["ts-standup-1: Stopped"]);
    assert_eq!(operator.stop().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_stopped_session_ends_and_is_removed_when_its_time_is_over() {
    let livekit = livekit(2).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world.create_with("standup", "standup", |spec| spec.ttl_seconds_after_finished = 3).await;
    world.until_ready("standup").await;
    world.stop("standup").await;
    world.until_condition("standup", ConditionType::Succeeded, "True", "Stopped").await;
    assert_eq!(live(&livekit, None), []);
    assert_eq!(world.children().await, Vec::<String>::new());
    assert_eq!(world.ends(), ["ts-standup-1: Stopped"]);
    let events = world.events("standup").await;
    assert!(events.iter().any(|event| event.starts_with("Stopped")), "{events:?}");
    world.until_gone("standup").await;
}

#[tokio::test]
async fn a_session_whose_room_is_not_there_yet_waits_for_it() {
    let livekit = livekit(3).await;
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_condition("standup", ConditionType::EgressActive, "False", "WaitingForRoom").await;
    assert_eq!(live(&livekit, None), []);
    join(&livekit, "standup", "ada");
    world.until_ready("standup").await;
}

#[tokio::test]
async fn conditions_of_others_survive_our_writes() {
    let livekit = livekit(4).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    world.create("standup", "standup").await;
    let theirs = json!([{
        "type": "example.com/Approved", "status": "True", "reason": "Yes", "message": "",
        "lastTransitionTime": "2026-11-25T10:00:00Z"
    }]);
    let patch = json!({"status": {"conditions": theirs}});
    world.sessions.patch_status("standup", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let _operator = world.operator().await;
    world.until_ready("standup").await;
    let conditions = world.status("standup").await.unwrap().conditions;
    let kept = conditions.iter().find(|condition| condition.type_ == "example.com/Approved").unwrap();
    assert_eq!((kept.status.as_str(), kept.reason.as_str()), (Verdict::True.as_str(), "Yes"));
}

#[tokio::test]
async fn a_session_at_rest_costs_no_write_and_secrets_are_never_read() {
    let livekit = livekit(5).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    // What follows from becoming ready (usage, first audio) is written within seconds.
    let mut before = world.api.requests(&world.user).unwrap();
    until("six seconds without a write", async || {
        tokio::time::sleep(Duration::from_secs(6)).await;
        let now = world.api.requests(&world.user).unwrap();
        let quiet = now.since(&before).writes() == 0;
        before = now;
        quiet
    })
    .await;
    for verb in ["get", "list", "watch"] {
        assert_eq!(before.count(verb, "secrets"), 0, "{verb}");
    }
    assert_eq!(before.answered(403), 0, "{before}");
}

#[tokio::test]
async fn two_installations_on_one_livekit_never_touch_each_other_s_egresses() {
    let livekit = livekit(6).await;
    join(&livekit, "standup", "ada");
    let (one, other) =
        (World::new(api().await, &livekit.url()).await, World::new(api().await, &livekit.url()).await);
    let (_one, _other) = (one.operator().await, other.operator().await);
    for world in [&one, &other] {
        world.create("standup", "standup").await;
        world.until_ready("standup").await;
    }
    assert_eq!(live(&livekit, None).len(), 2);
    one.delete("standup").await;
    one.until_gone("standup").await;
    assert_eq!(
        (live(&livekit, Some(&one.install())).len(), live(&livekit, Some(&other.install())).len()),
        (0, 1)
    );
    // The collector of the first looks for orphans too; the other's is none.
    assert_eq!(other.status("standup").await.unwrap().attempt, Some(1));
}
