//! Unfinished readings: the newest per segment, never after their final, not for whom they are off.

use crate::common::{Client, Door, keyed};
use roomscribe_gateway::Config;
use serde_json::Value;
use std::time::Duration;

fn readings(frames: &[Value]) -> Vec<(String, u64)> {
    let partials = frames.iter().filter(|frame| frame["type"] == "partial");
    partials.map(|p| (p["seg"].as_str().unwrap().to_owned(), p["rev"].as_u64().unwrap())).collect()
}

async fn until_rev(viewer: &mut Client, rev: u64) {
    while viewer.of_type("partial").await["rev"] != rev {}
}

#[tokio::test]
async fn a_partial_has_the_contracts_fields_and_no_offset() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    door.partial(&id, "1-7", 3);
    let partial = viewer.of_type("partial").await;
    let mut fields: Vec<_> = partial.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["after", "endMs", "rev", "seg", "speaker", "startMs", "text", "type"]);
}

#[tokio::test]
async fn who_comes_in_mid_sentence_gets_the_newest_reading_of_each_open_segment_after_the_finals() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 2).await;
    let mut first = door.stream(&id, "").await;
    for rev in 1..=9 {
        door.partial(&id, "1-a", rev);
    }
    door.partial(&id, "1-b", 1);
    until_rev(&mut first, 9).await;
    until_rev(&mut first, 1).await;
    let mut late = door.stream(&id, "").await;
    let frames = late.settle().await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hello", "final", "final", "partial", "partial"]);
    assert_eq!(readings(&frames), [("1-a".into(), 9), ("1-b".into(), 1)]);
}

#[tokio::test]
async fn an_older_reading_changes_nothing() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    door.partial(&id, "1-a", 5);
    until_rev(&mut viewer, 5).await;
    door.partial(&id, "1-a", 4);
    door.partial(&id, "1-b", 1);
    assert_eq!(viewer.of_type("partial").await["seg"], "1-b");
}

#[tokio::test]
async fn a_final_ends_its_partial_for_everyone_who_comes_later() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut first = door.stream(&id, "").await;
    door.partial(&id, "1-00000000001", 1);
    until_rev(&mut first, 1).await;
    door.speak(&id, 1).await;
    assert_eq!(first.frame().await["offset"], 1);
    let frames = door.stream(&id, "").await.settle().await;
    assert_eq!(readings(&frames), []);
}

#[tokio::test]
async fn a_partial_that_its_final_has_overtaken_is_not_shown() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    door.speak(&id, 1).await;
    assert_eq!(viewer.offsets_to(1).await, [1]);
    door.partial(&id, "1-00000000001", 9);
    door.partial(&id, "1-b", 1);
    assert_eq!(viewer.of_type("partial").await["seg"], "1-b");
}

#[tokio::test]
async fn partials_are_off_when_the_viewer_asks_so() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut with = door.stream(&id, "?partials=1").await;
    let mut without = door.stream(&id, "?partials=0").await;
    door.partial(&id, "1-a", 1);
    until_rev(&mut with, 1).await;
    door.speak(&id, 1).await;
    assert_eq!(without.frame().await["type"], "hello");
    assert_eq!(without.frame().await["type"], "final");
}

#[tokio::test]
async fn pause_turns_partials_off_and_resume_shows_what_is_being_said_now() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let (mut viewer, mut witness) = (door.stream(&id, "").await, door.stream(&id, "").await);
    viewer.say(r#"{"type":"pause"}"#).await;
    viewer.settle().await;
    for rev in 1..=3 {
        door.partial(&id, "1-a", rev);
        until_rev(&mut witness, rev.into()).await;
    }
    door.speak(&id, 1).await;
    assert_eq!(viewer.frame().await["type"], "final");
    viewer.say(r#"{"type":"resume"}"#).await;
    assert_eq!(readings(&viewer.settle().await).last(), Some(&("1-a".into(), 3)));
}

#[tokio::test]
async fn who_could_not_take_every_reading_is_told_how_many_it_skipped() {
    let door = Door::with(Config { ping: Duration::from_secs(1), ..keyed() }).await;
    let id = door.session("standup").await;
    let (mut busy, mut witness) = (door.stream(&id, "").await, door.stream(&id, "").await);
    busy.frame().await;
    for rev in 1..=30 {
        // Large enough that a viewer which does not read blocks its socket.
        door.partial_of(&id, "1-a", rev, "word ".repeat(20_000));
        until_rev(&mut witness, rev.into()).await;
    }
    let mut taken = 0;
    let skipped = loop {
        match busy.frame().await {
            frame if frame["type"] == "partial" => taken += 1,
            frame if frame["type"] == "lag" => break frame["skippedPartials"].as_u64().unwrap(),
            _ => {}
        }
    };
    assert_eq!(taken + skipped, 30);
    assert!(skipped > 0);
    assert!(door.metric("partials_skipped_total").await >= skipped as f64);
}
