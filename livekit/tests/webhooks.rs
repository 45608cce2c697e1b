//! The simulated LiveKit's webhooks, taken by our verifier.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::hook::{Got, Hook};
use common::{KEY, SECRET, World, both};
use roomscribe_livekit::webhook::{Rejected, Webhooks};

#[tokio::test]
async fn every_step_of_a_meeting_is_told_signed_and_in_order() {
    let hook = Hook::listen().await;
    let world = World::new(Some(hook.url.clone())).await;
    let id = world.feeding().await;
    world.client.stop_egress(&id).await.unwrap();
    world.until("the end", |world| world.livekit.egresses()[0].status == "EGRESS_COMPLETE").await;
    assert!(world.livekit.leave("standup", "ada"));
    world.until("the last event", |_| hook.heard().iter().any(|got| got.names("room_finished"))).await;
    let mut webhooks = Webhooks::new(KEY, SECRET);
    let got = hook.heard();
    let events: Vec<_> =
        got.iter().map(|got| webhooks.take(&got.body, &got.authorization).unwrap().unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "egress_started",
        "participant_joined",
        "egress_updated",
        "egress_updated",
        "participant_left",
        "egress_ended",
        "participant_left",
        "room_finished",
    ];
    assert_eq!(names, expected);
    for Got { authorization, content_type, body } in &got {
        assert!(authorization.starts_with("eyJ"), "a bare JWT");
        assert_eq!(content_type, "application/webhook+json");
        assert!(!body.contains(common::STREAM_KEY) && !body.contains(SECRET));
    }
    let started: serde_json::Value = serde_json::from_str(&got[3].body).unwrap();
    assert!(started["egressInfo"].get("status").is_none(), "STARTING is 0, so it has no key");
    assert!(started["egressInfo"]["startedAt"].is_string(), "64-bit integers are strings");
    assert!(
        started["egressInfo"]["roomComposite"]["streamOutputs"][0]["urls"][0]
            .as_str()
            .unwrap()
            .ends_with("/{q83...4kA}")
    );
}

#[tokio::test]
async fn a_webhook_that_comes_twice_counts_once_and_another_body_is_refused() {
    let hook = Hook::listen().await;
    let world = World::new(Some(hook.url.clone())).await;
    world.livekit.set_faults(|faults| faults.duplicate_webhooks = 1.0);
    assert!(world.livekit.leave("standup", "ada"));
    let left =
        || -> Vec<Got> { hook.heard().into_iter().filter(|got| got.names("participant_left")).collect() };
    world.until("both", |_| left().len() == 2).await;
    let got = left();
    let mut webhooks = Webhooks::new(KEY, SECRET);
    assert!(webhooks.take(&got[0].body, &got[0].authorization).unwrap().is_some());
    assert!(webhooks.take(&got[1].body, &got[1].authorization).unwrap().is_none());
    let forged = got[0].body.replace("ada", "eve");
    assert!(matches!(webhooks.take(&forged, &got[0].authorization), Err(Rejected::Signature)));
    let mut others = Webhooks::new(KEY, "another-secret-of-thirty-two-chars");
    assert!(matches!(others.take(&got[0].body, &got[0].authorization), Err(Rejected::Signature)));
}

#[tokio::test]
async fn webhooks_are_signed_and_count_once() {
    let hook = Hook::listen().await;
    both::webhooks_are_signed_and_count_once(World::new(Some(hook.url.clone())).await, hook).await;
}
