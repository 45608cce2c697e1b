//! `hello`, replay after an offset, follow.

use crate::common::{Client, Door, Heard, KEY, append, keyed};
use roomscribe_transcript::{Append, Event, Generation, Status, WriterNote};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_viewer_is_greeted_then_gets_history_then_what_comes_then_the_end() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let mut viewer = door.stream(&id, "").await;
    assert_eq!(viewer.frame().await["type"], "hello");
    assert_eq!(viewer.offsets_to(3).await, [1, 2, 3]);
    door.speak(&id, 5).await;
    assert_eq!(viewer.offsets_to(5).await, [4, 5]);
    door.end(&id).await;
    assert_eq!(viewer.frame().await["type"], "end");
    assert_eq!(viewer.next().await, Heard::Closed(1000));
}

#[tokio::test]
async fn hello_has_the_contracts_fields_and_no_other() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let note = WriterNote { media_zero_at: Some("2026-11-23T10:00:00.000Z".into()), ..WriterNote::default() };
    let status = Status { state: "Live".into(), reason: "Transcribing".into(), message: String::new() };
    let expected_head = door.log.head(&id).await.unwrap().head;
    let event = Event::Status(status);
    let first = Append { generation: Generation(1), expected_head, event, note: Some(note) };
    door.log.append(&id, first).await.unwrap();
    let epoch = door.log.head(&id).await.unwrap().epoch;
    let hello = door.stream(&id, "").await.frame().await;
    assert_eq!(
        hello,
        json!({
            "type": "hello", "session": id.as_str(), "epoch": epoch, "oldest": 1, "head": 1, "from": 0, "recovered": true,
            "state": "Live", "mediaZeroAt": "2026-11-23T10:00:00.000Z", "pingSeconds": 20,
            "server": concat!("roomscribe/", env!("CARGO_PKG_VERSION")),
        })
    );
}

#[tokio::test]
async fn a_session_that_has_said_nothing_yet_greets_without_media_zero() {
    let door = Door::with(keyed()).await;
    let id = door.sessions.add("standup");
    let hello = door.stream(&id, "").await.frame().await;
    assert_eq!((&hello["head"], &hello["recovered"]), (&json!(0), &json!(true)));
    assert!(hello.get("mediaZeroAt").is_none());
}

#[tokio::test]
async fn a_place_that_the_log_knows_is_continued_and_any_other_begins_again() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 5).await;
    let epoch = door.log.head(&id).await.unwrap().epoch;
    let table = [
        (format!("?after=2&epoch={epoch}"), true, 2),
        ("?after=2".into(), true, 2),
        (format!("?after=4&epoch={epoch}&later=1"), true, 4),
        ("?after=2&epoch=00000000".into(), false, 0),
        (format!("?after=6&epoch={epoch}"), false, 0),
        (format!("?after=18446744073709551615&epoch={epoch}"), false, 0),
    ];
    for (query, recovered, from) in table {
        let mut viewer = door.stream(&id, &query).await;
        let hello = viewer.frame().await;
        assert_eq!((&hello["recovered"], &hello["from"]), (&json!(recovered), &json!(from)), "{query}");
        assert_eq!(viewer.offsets_to(5).await, (from + 1..=5).collect::<Vec<u64>>(), "{query}");
    }
}

#[tokio::test]
async fn a_viewer_that_has_everything_waits_for_the_next_final() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let mut viewer = door.stream(&id, "?after=3").await;
    assert_eq!(viewer.frame().await["head"], 3);
    door.speak(&id, 4).await;
    assert_eq!(viewer.frame().await["offset"], 4);
}

#[tokio::test]
async fn a_session_is_watched_by_its_name_too() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = Client::open(&door.stream_url("standup-name", ""), Some(KEY)).await;
    assert_eq!(viewer.frame().await["session"], id.as_str());
}

#[tokio::test]
async fn a_long_history_comes_whole_and_in_order() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 1_000).await;
    let mut viewer = door.stream(&id, "?after=17").await;
    assert_eq!(viewer.offsets_to(1_000).await, (18..=1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_of_durable_event_arrives_as_it_was_written() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    let written = [
        json!({"type": "status", "state": "Recovering", "reason": "WorkerRestarted", "message": "m"}),
        json!({"type": "gap", "startMs": 1, "endMs": 2, "reason": "PublisherLost"}),
        json!({"type": "translation", "seg": "1-1", "language": "de", "text": "t"}),
        json!({"type": "handover"}),
    ];
    assert_eq!(viewer.frame().await["type"], "hello");
    for (at, event) in written.iter().enumerate() {
        append(&door.log, &id, serde_json::from_value(event.clone()).unwrap()).await;
        let mut got = viewer.frame().await;
        let got = got.as_object_mut().unwrap();
        assert_eq!((got.remove("offset"), got.remove("gen")), (Some(json!(at + 1)), Some(json!(1))));
        assert_eq!(json!(got), *event);
    }
}

#[tokio::test]
async fn viewers_that_come_while_finals_are_appended_miss_none_and_get_none_twice() {
    const LAST: u64 = 400;
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let (log, session) = (door.log.clone(), id.clone());
    let speaker = tokio::spawn(async move {
        for offset in 1..=LAST {
            crate::common::speak(&log, &session, offset).await;
            tokio::task::yield_now().await;
        }
    });
    let viewers = (0..20).map(|at| {
        let (door, id) = (&door, &id);
        async move {
            tokio::time::sleep(Duration::from_millis(at * 3)).await;
            door.stream(id, "").await.offsets_to(LAST).await
        }
    });
    for offsets in futures_util::future::join_all(viewers).await {
        assert_eq!(offsets, (1..=LAST).collect::<Vec<_>>());
    }
    speaker.await.unwrap();
}
