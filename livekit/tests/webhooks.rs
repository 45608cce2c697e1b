//! The simulated LiveKit's webhooks, taken by our verifier.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use axum::extract::State;
use axum::http::HeaderMap;
use common::{KEY, SECRET, World};
use roomscribe_livekit::webhook::{Rejected, Webhooks};
use std::sync::{Arc, Mutex};

type Got = Arc<Mutex<Vec<(String, String, String)>>>;

async fn note(State(got): State<Got>, headers: HeaderMap, body: String) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    got.lock().unwrap().push((header("authorization"), header("content-type"), body));
}

async fn receiver() -> (String, Got) {
    let got = Got::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/webhook", axum::routing::post(note)).with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, got)
}

#[tokio::test]
async fn every_step_of_a_meeting_is_told_signed_and_in_order() {
    let (url, got) = receiver().await;
    let world = World::new(Some(url)).await;
    let id = world.feeding().await;
    world.client.stop_egress(&id).await.unwrap();
    world.until("the end", |world| world.livekit.egresses()[0].status == "EGRESS_COMPLETE").await;
    assert!(world.livekit.leave("standup", "ada"));
    world
        .until("the last event", |_| {
            got.lock().unwrap().iter().any(|(_, _, body)| body.contains("room_finished"))
        })
        .await;
    let mut webhooks = Webhooks::new(KEY, SECRET);
    let got = got.lock().unwrap().clone();
    let events: Vec<_> = got
        .iter()
        .map(|(authorization, _, body)| webhooks.take(body, authorization).unwrap().unwrap())
        .collect();
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
    for (authorization, content_type, body) in &got {
        assert!(authorization.starts_with("eyJ"), "a bare JWT");
        assert_eq!(content_type, "application/webhook+json");
        assert!(!body.contains(common::STREAM_KEY) && !body.contains(SECRET));
    }
    let started: serde_json::Value = serde_json::from_str(&got[3].2).unwrap();
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
    let (url, got) = receiver().await;
    let world = World::new(Some(url)).await;
    world.livekit.set_faults(|faults| faults.duplicate_webhooks = 1.0);
    assert!(world.livekit.leave("standup", "ada"));
    let left = |got: &Got| -> Vec<_> {
        got.lock().unwrap().iter().filter(|(_, _, body)| body.contains("participant_left")).cloned().collect()
    };
    world.until("both", |_| left(&got).len() == 2).await;
    let got = left(&got);
    let mut webhooks = Webhooks::new(KEY, SECRET);
    assert!(webhooks.take(&got[0].2, &got[0].0).unwrap().is_some());
    assert!(webhooks.take(&got[1].2, &got[1].0).unwrap().is_none());
    let forged = got[0].2.replace("ada", "eve");
    assert!(matches!(webhooks.take(&forged, &got[0].0), Err(Rejected::Signature)));
    let mut others = Webhooks::new(KEY, "another-secret-of-thirty-two-chars");
    assert!(matches!(others.take(&got[0].2, &got[0].0), Err(Rejected::Signature)));
}
