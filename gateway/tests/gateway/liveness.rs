//! Small talk on the socket: ping, heartbeat, ack, and messages that mean nothing.

use crate::common::{Door, eventually, keyed};
use roomscribe_gateway::Config;
use serde_json::json;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt;

fn quick() -> Config {
    Config { ping: Duration::from_millis(60), ..keyed() }
}

#[tokio::test]
async fn ping_is_answered_with_what_it_carried() {
    let door = Door::with(keyed()).await;
    let mut viewer = door.stream(&door.session("standup").await, "").await;
    viewer.frame().await;
    viewer.say(r#"{"type":"ping","t":1764.25}"#).await;
    assert_eq!(viewer.frame().await, json!({"type": "pong", "t": 1764.25}));
    viewer.say(r#"{"type":"ping"}"#).await;
    assert_eq!(viewer.frame().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn what_the_protocol_does_not_know_is_an_error_and_no_close() {
    let door = Door::with(keyed()).await;
    let mut viewer = door.stream(&door.session("standup").await, "").await;
    viewer.frame().await;
    for text in [r#"{"type":"dance"}"#, "[]", "not json", r#"{"type":"ack"}"#, ""] {
        viewer.say(text).await;
        let error = viewer.frame().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unknownMessage")), "{text}");
        assert_eq!(error["retry"], false);
    }
    assert_eq!(viewer.settle().await, [] as [serde_json::Value; 0]);
}

#[tokio::test]
async fn an_idle_viewer_hears_heartbeats_that_hold_the_head() {
    let door = Door::with(quick()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    assert_eq!(viewer.of_type("heartbeat").await, json!({"type": "heartbeat", "head": 0}));
    door.speak(&id, 3).await;
    assert_eq!(viewer.of_type("heartbeat").await["head"], 3);
}

#[tokio::test]
async fn a_viewer_that_answers_pings_stays() {
    let door = Door::with(quick()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    for _ in 0..10 {
        viewer.of_type("heartbeat").await;
    }
    assert_eq!(door.metric("viewers").await, 1.0);
    assert_eq!(door.refused("no_pong").await, 0.0);
}

#[tokio::test]
async fn a_viewer_that_answers_no_ping_is_cut() {
    let door = Door::with(quick()).await;
    let id = door.session("standup").await;
    // The library answers pings only while it is read from.
    let _frozen = door.stream(&id, "").await;
    eventually("the frozen viewer is gone", async || door.refused("no_pong").await == 1.0).await;
    eventually("its place is free", async || door.metric("viewers").await == 0.0).await;
}

#[tokio::test]
async fn an_ack_is_counted_with_its_distance_from_the_head() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 5).await;
    let mut viewer = door.stream(&id, "").await;
    viewer.offsets_to(5).await;
    viewer.say(r#"{"type":"ack","offset":2}"#).await;
    assert!(viewer.settle().await.is_empty());
    assert_eq!(door.metric("viewer_ack_lag_offsets_sum").await, 3.0);
    assert_eq!(door.metric("viewer_ack_lag_offsets_count").await, 1.0);
}

#[tokio::test]
async fn binary_frames_are_closed_with_1003() {
    let door = Door::with(keyed()).await;
    let mut viewer = door.stream(&door.session("standup").await, "").await;
    viewer.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(viewer.close_code().await, 1003);
}

#[tokio::test]
async fn a_viewer_that_leaves_gives_its_place_and_the_subscription_back() {
    let door = Door::with(Config { linger: Duration::from_millis(20), ..keyed() }).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let mut viewer = door.stream(&id, "").await;
    viewer.offsets_to(3).await;
    assert_eq!(door.metric("watched_sessions").await, 1.0);
    assert!(door.metric("held_bytes").await > 0.0);
    viewer.socket.close(None).await.unwrap();
    eventually("nobody is there", async || door.metric("viewers").await == 0.0).await;
    eventually("nothing is watched", async || door.metric("watched_sessions").await == 0.0).await;
    eventually("nothing is held", async || door.metric("held_bytes").await == 0.0).await;
}
