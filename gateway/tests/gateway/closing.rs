//! Why a socket is closed: every code of the protocol that a viewer can meet, and its counter.

use crate::common::{Client, Door, Heard, KEY, eventually, keyed, token};
use roomscribe_gateway::Config;
use serde_json::json;
use std::time::Duration;

async fn closed(door: &Door, code: u16) -> f64 {
    door.metric(&format!("viewers_closed_total{{code=\"{code}\"}}")).await
}

#[tokio::test]
async fn the_end_of_a_session_is_1000_also_for_who_comes_after_it() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 2).await;
    let mut live = door.stream(&id, "").await;
    door.end(&id).await;
    assert_eq!(live.close_code().await, 1000);
    let mut late = door.stream(&id, "?after=1").await;
    assert_eq!(late.offsets_to(3).await, [2, 3]);
    assert_eq!(late.next().await, Heard::Closed(1000));
    assert_eq!(closed(&door, 1000).await, 2.0);
}

#[tokio::test]
async fn draining_sends_every_viewer_away_with_1001_and_lets_them_finish_elsewhere() {
    let mut door = Door::with(Config { drain: Duration::from_millis(200), ..keyed() }).await;
    let id = door.session("standup").await;
    let mut viewers = Vec::new();
    for _ in 0..20 {
        let mut viewer = door.stream(&id, "").await;
        viewer.frame().await;
        viewers.push(viewer);
    }
    door.stop();
    let codes = futures_util::future::join_all(viewers.iter_mut().map(Client::close_code)).await;
    assert_eq!(codes, [1001; 20]);
    door.stopped().await.unwrap();
}

#[tokio::test]
async fn a_frame_over_the_limit_is_1009() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    viewer.frame().await;
    let text = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(16 * 1024));
    viewer.say(&text).await;
    assert_eq!(viewer.close_code().await, 1009);
    assert_eq!(closed(&door, 1009).await, 1.0);
}

#[tokio::test]
async fn an_offset_that_is_none_is_4400() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    for query in ["?after=-1", "?after=abc", "?after=1e3", "?after=18446744073709551616", "?after="] {
        let mut viewer = door.stream(&id, query).await;
        let said = viewer.frame().await;
        assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!("badRequest")), "{query}");
        assert_eq!(viewer.next().await, Heard::Closed(4400), "{query}");
    }
    assert_eq!(closed(&door, 4400).await, 5.0);
}

#[tokio::test]
async fn a_token_that_is_none_of_ours_is_4401() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = Client::open(&door.stream_url(id.as_str(), ""), Some("guessed")).await;
    let said = viewer.frame().await;
    assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!("auth")));
    assert_eq!(viewer.next().await, Heard::Closed(4401));
    assert_eq!(door.refused("authentication").await, 1.0);
    assert_eq!(closed(&door, 4401).await, 1.0);
}

#[tokio::test]
async fn a_token_for_another_session_or_without_read_is_4403() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    for claims in [json!({"sid": "room:other"}), json!({"sid": "00"}), json!({"scope": "control"})] {
        let token = token(claims.clone());
        let mut viewer = Client::open(&door.stream_url(id.as_str(), ""), Some(&token)).await;
        assert_eq!(viewer.close_code().await, 4403, "{claims}");
    }
    assert_eq!(closed(&door, 4403).await, 3.0);
}

#[tokio::test]
async fn a_session_that_is_not_there_is_4404_also_when_its_name_means_several() {
    let door = Door::with(keyed()).await;
    for key in ["nobody", "..", "%2e%2e%2fetc", &uuid::Uuid::now_v7().to_string()] {
        let mut viewer = Client::open(&door.stream_url(key, ""), Some(KEY)).await;
        assert_eq!(viewer.close_code().await, 4404, "{key}");
    }
    door.session("twice").await;
    door.session("twice").await;
    let mut viewer = Client::open(&door.stream_url("twice-name", ""), Some(KEY)).await;
    assert_eq!(viewer.close_code().await, 4404);
}

#[tokio::test]
async fn an_erased_transcript_is_4410_for_those_who_watch_and_those_who_come() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let mut viewer = door.stream(&id, "").await;
    viewer.offsets_to(3).await;
    let erased = door.request("DELETE", &format!("/v1/sessions/{id}/transcript")).send().await.unwrap();
    assert_eq!(erased.status(), 202);
    assert_eq!(viewer.close_code().await, 4410);
    assert_eq!(door.stream(&id, "").await.close_code().await, 4410);
    eventually("nothing of it is held", async || door.metric("held_bytes").await == 0.0).await;
}

#[tokio::test]
async fn a_finished_session_whose_log_is_past_its_retention_is_4410() {
    let door = Door::with(keyed()).await;
    let id = door.sessions.add("standup");
    door.sessions.change(&id, |document| document.completed_at = Some("2026-01-01T00:00:00Z".into()));
    assert_eq!(door.stream(&id, "").await.close_code().await, 4410);
}

#[tokio::test]
async fn a_flood_of_messages_is_4429() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    for _ in 0..50 {
        viewer.say(r#"{"type":"ack","offset":0}"#).await;
    }
    assert_eq!(viewer.close_code().await, 4429);
    assert_eq!(closed(&door, 4429).await, 1.0);
}

#[tokio::test]
async fn ten_messages_a_second_are_no_flood() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    for _ in 0..9 {
        viewer.say(r#"{"type":"ack","offset":0}"#).await;
    }
    assert_eq!(viewer.settle().await.len(), 1, "hello, and nothing else");
}
