//! What every backing promises, run on every backing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[cfg(feature = "nats")]
mod server;

use common::*;
use roomscribe_transcript::{FollowItem, Generation, Log, LogError, Offset, log::FOLLOW_BATCH};
use std::time::{Duration, SystemTime};

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(roomscribe_transcript::Log::memory()).await; })*
        }
        mod file {
            $(#[tokio::test] async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(roomscribe_transcript::Log::file(folder.path()).unwrap()).await;
            })*
        }
        #[cfg(feature = "nats")]
        mod nats {
            $(#[tokio::test] async fn $name() {
                let server = crate::server::NatsServer::start("");
                super::$name(crate::server::log(&server).await).await;
            })*
        }
    };
}

promises!(
    offsets_are_contiguous_from_one,
    a_new_log_says_who_it_is,
    opening_again_keeps_the_epoch,
    the_same_final_again_returns_its_first_offset,
    a_translation_is_known_by_segment_and_language,
    end_twice_is_end_once,
    nothing_follows_an_end,
    a_superseded_writer_is_fenced_even_when_it_repeats_itself,
    a_wrong_head_is_told_where_the_log_is,
    concurrent_appends_in_a_chain_all_land,
    the_newest_note_is_kept_for_the_successor,
    an_unknown_session_is_not_made_by_asking,
    a_follower_gets_history_then_live_without_a_seam,
    a_follower_from_the_middle_gets_only_what_is_later,
    following_an_ended_log_ends,
    a_slow_follower_holds_a_batch_and_still_gets_everything,
    a_thousand_slow_followers_hold_a_batch_each,
    a_cancelled_wait_loses_nothing,
    a_new_follower_gets_the_open_segments_after_history,
    partials_are_coalesced_to_the_latest_reading,
    a_partial_whose_final_exists_is_dropped,
    an_older_reading_never_replaces_a_newer_one,
    a_final_settles_older_readings_of_audio_that_it_covers,
    erasing_leaves_a_tombstone_and_tells_followers,
    retention_removes_only_old_finished_sessions,
    sessions_lists_what_is_there,
    open_segments_beyond_the_limit_make_room_for_the_newest,
    an_event_over_the_limit_is_refused_and_leaves_no_hole,
);

async fn offsets_are_contiguous_from_one(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    for (n, event) in [final_of(1), translation_of(1, "de"), status(), gap(), end()].into_iter().enumerate() {
        let appended = log.append(&id, by(1, n as u64, event)).await.unwrap();
        assert_eq!(
            (appended.offset.0, appended.head.0, appended.duplicate),
            (n as u64 + 1, n as u64 + 1, false)
        );
    }
    let stored = read_all(&log, &id).await.unwrap();
    assert_eq!(stored.iter().map(|r| r.offset.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(stored[0].event, final_of(1));
}

async fn a_new_log_says_who_it_is(log: Log) {
    let head = log.open(&session(1)).await.unwrap();
    assert_eq!((head.head, head.oldest, head.ended, head.note), (Offset(0), Offset(1), false, None));
    assert!(head.epoch.len() == 8 && head.epoch.bytes().all(|b| b.is_ascii_hexdigit()), "{}", head.epoch);
    assert_ne!(head.epoch, log.open(&session(2)).await.unwrap().epoch);
}

async fn opening_again_keeps_the_epoch(log: Log) {
    let id = session(1);
    let first = log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 3).await;
    let again = log.open(&id).await.unwrap();
    assert_eq!((again.epoch, again.head), (first.epoch, Offset(3)));
}

async fn the_same_final_again_returns_its_first_offset(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 3).await;
    let again = log.append(&id, by(1, 0, final_of(2))).await.unwrap();
    assert_eq!((again.offset, again.head, again.duplicate), (Offset(2), Offset(3), true));
    assert_eq!(read_all(&log, &id).await.unwrap().len(), 3);
}

async fn a_translation_is_known_by_segment_and_language(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    log.append(&id, by(1, 0, translation_of(1, "de"))).await.unwrap();
    assert!(log.append(&id, by(1, 1, translation_of(1, "de"))).await.unwrap().duplicate);
    assert!(!log.append(&id, by(1, 1, translation_of(1, "fr"))).await.unwrap().duplicate);
    assert!(!log.append(&id, by(1, 2, translation_of(2, "de"))).await.unwrap().duplicate);
}

async fn end_twice_is_end_once(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    assert_eq!(log.append(&id, by(1, 0, end())).await.unwrap().offset, Offset(1));
    let again = log.append(&id, by(u32::MAX, 0, end())).await.unwrap();
    assert_eq!((again.offset, again.duplicate), (Offset(1), true));
    assert!(log.head(&id).await.unwrap().ended);
}

async fn nothing_follows_an_end(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 1).await;
    log.append(&id, by(1, 1, end())).await.unwrap();
    let refused = log.append(&id, by(1, 2, final_of(2))).await;
    assert!(matches!(refused, Err(LogError::Ended)), "{refused:?}");
    assert!(
        log.append(&id, by(1, 1, final_of(1))).await.unwrap().duplicate,
        "a repeated final is still a no-op"
    );
}

async fn a_superseded_writer_is_fenced_even_when_it_repeats_itself(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 1).await;
    log.append(&id, by(2, 1, final_of(2))).await.unwrap();
    for event in [final_of(3), final_of(1)] {
        match log.append(&id, by(1, 2, event)).await {
            Err(LogError::Fenced { seen, own }) => assert_eq!((seen, own), (Generation(2), Generation(1))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log.head(&id).await.unwrap().generation, Generation(2));
}

async fn a_wrong_head_is_told_where_the_log_is(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 2).await;
    for wrong in [0, 1, 3] {
        match log.append(&id, by(1, wrong, final_of(9))).await {
            Err(LogError::Moved { head, expected }) => {
                assert_eq!((head, expected), (Offset(2), Offset(wrong)))
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn concurrent_appends_in_a_chain_all_land(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..300 {
        let (log, id) = (log.clone(), id.clone());
        tasks.spawn(async move { log.append(&id, by(1, n, final_of(n + 1))).await.unwrap().offset.0 });
    }
    let mut got = soon(tasks.join_all()).await;
    got.sort_unstable();
    assert_eq!(got, (1..=300).collect::<Vec<_>>());
    let stored = read_all(&log, &id).await.unwrap();
    assert_eq!(stored.iter().map(|r| r.offset.0).collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
}

async fn the_newest_note_is_kept_for_the_successor(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut append = by(1, 0, final_of(1));
    append.note = Some(note(3200));
    log.append(&id, append).await.unwrap();
    log.append(&id, by(1, 1, status())).await.unwrap();
    assert_eq!(
        log.head(&id).await.unwrap().note,
        Some(note(3200)),
        "an event without a note keeps the last one"
    );
}

async fn an_unknown_session_is_not_made_by_asking(log: Log) {
    let id = session(9);
    assert!(matches!(log.head(&id).await, Err(LogError::NoSession)));
    assert!(matches!(log.read(&id, Offset(0), 1).await, Err(LogError::NoSession)));
    assert!(matches!(log.follow(&id, Offset(0)).await, Err(LogError::NoSession)));
    assert!(matches!(log.append(&id, by(1, 0, end())).await, Err(LogError::NoSession)));
    assert!(matches!(log.erase(&id).await, Err(LogError::NoSession)));
    assert_eq!(log.sessions().await.unwrap(), []);
}

async fn a_follower_gets_history_then_live_without_a_seam(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 100).await;
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    let reader = tokio::spawn(async move { offsets(&mut follow, 200).await });
    append_finals(&log, &id, 100, 200).await;
    assert_eq!(soon(reader).await.unwrap(), (1..=200).collect::<Vec<_>>());
}

async fn a_follower_from_the_middle_gets_only_what_is_later(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 10).await;
    let mut follow = log.follow(&id, Offset(7)).await.unwrap();
    assert_eq!(offsets(&mut follow, 3).await, [8, 9, 10]);
}

async fn following_an_ended_log_ends(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 2).await;
    log.append(&id, by(1, 2, end())).await.unwrap();
    let mut follow = log.follow(&id, Offset(1)).await.unwrap();
    assert_eq!(offsets(&mut follow, 2).await, [2, 3]);
    assert!(soon(follow.next()).await.is_none());
    for after in [3, 77] {
        let mut late = log.follow(&id, Offset(after)).await.unwrap();
        assert!(soon(late.next()).await.is_none());
    }
}

async fn a_slow_follower_holds_a_batch_and_still_gets_everything(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    append_finals(&log, &id, 0, 300).await;
    for n in 1..=300 {
        assert_eq!(next_record(&mut follow).await.offset.0, n);
        assert!(follow.held() <= FOLLOW_BATCH);
    }
}

async fn a_thousand_slow_followers_hold_a_batch_each(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 10).await;
    let mut followers = Vec::new();
    for _ in 0..1000 {
        let mut follow = log.follow(&id, Offset(0)).await.unwrap();
        assert_eq!(next_record(&mut follow).await.offset, Offset(1));
        followers.push(follow);
    }
    move_head(&log, &id, 10, 10_000).await;
    assert!(followers.iter().map(|follow| follow.held()).max() <= Some(FOLLOW_BATCH));
    let mut last = followers.pop().unwrap();
    assert_eq!(offsets(&mut last, 9_999).await, (2..=10_000).collect::<Vec<_>>());
}

/// Appends finals as a chain of many at a time, so that they share their fsync.
async fn move_head(log: &Log, id: &roomscribe_transcript::SessionId, from: u64, to: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in from..to {
        let (log, id) = (log.clone(), id.clone());
        tasks.spawn(async move { log.append(&id, by(1, n, final_of(n + 1))).await.unwrap() });
    }
    soon(tasks.join_all()).await;
}

async fn a_cancelled_wait_loses_nothing(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 200).await;
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 200 {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            item = follow.next() => match item.unwrap().unwrap() {
                FollowItem::Record(record) => seen.push(record.offset.0),
                FollowItem::Partial(_) => {}
            },
        }
        if let Some(Some(Ok(FollowItem::Record(record)))) = poll_once(follow.next()).await {
            seen.push(record.offset.0);
        }
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! { biased; out = future => Some(out), () = std::future::ready(()) => None }
}

async fn a_new_follower_gets_the_open_segments_after_history(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 2).await;
    log.publish_partial(&id, partial(3, 1, 2));
    log.publish_partial(&id, partial(4, 1, 2));
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 2).await, [1, 2]);
    assert_eq!(next_partial(&mut follow).await.seg, seg(3));
    assert_eq!(next_partial(&mut follow).await.seg, seg(4));
}

async fn partials_are_coalesced_to_the_latest_reading(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    for rev in 1..=50 {
        log.publish_partial(&id, partial(1, rev, 0));
    }
    assert_eq!(next_partial(&mut follow).await.rev, 50);
    log.append(&id, by(1, 0, final_of(1))).await.unwrap();
    assert_eq!(next_record(&mut follow).await.offset, Offset(1));
}

async fn a_partial_whose_final_exists_is_dropped(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    log.publish_partial(&id, partial(1, 1, 0));
    append_finals(&log, &id, 0, 1).await;
    log.publish_partial(&id, partial(1, 2, 0));
    log.publish_partial(&id, partial(2, 1, 1));
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 1).await, [1]);
    assert_eq!(next_partial(&mut follow).await.seg, seg(2));
}

async fn an_older_reading_never_replaces_a_newer_one(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    log.publish_partial(&id, partial(1, 5, 0));
    log.publish_partial(&id, partial(1, 4, 0));
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(next_partial(&mut follow).await.rev, 5);
    assert_eq!(log.counters().partials_dropped, 1);
}

async fn open_segments_beyond_the_limit_make_room_for_the_newest(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    for n in 1..=100 {
        log.publish_partial(&id, partial(n, 1, 0));
    }
    assert_eq!(log.counters().partials_dropped, 36, "64 segments may be open");
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    for n in 37..=100 {
        assert_eq!(next_partial(&mut follow).await.seg, seg(n));
    }
}

async fn a_final_settles_older_readings_of_audio_that_it_covers(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    log.publish_partial(&id, partial(1, 1, 0));
    log.publish_partial(&id, partial(7, 1, 0));
    log.append(&id, by(1, 0, final_of(2))).await.unwrap();
    let mut follow = log.follow(&id, Offset(1)).await.unwrap();
    assert_eq!(next_partial(&mut follow).await.seg, seg(7), "the reading of segment 1 is older than final 2");
}

async fn erasing_leaves_a_tombstone_and_tells_followers(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    append_finals(&log, &id, 0, 2).await;
    let mut follow = log.follow(&id, Offset(2)).await.unwrap();
    log.erase(&id).await.unwrap();
    assert!(matches!(soon(follow.next()).await, Some(Err(LogError::Erased))));
    assert!(soon(follow.next()).await.is_none());
    assert!(matches!(log.head(&id).await, Err(LogError::Erased)));
    assert!(matches!(log.open(&id).await, Err(LogError::Erased)));
    assert!(matches!(log.append(&id, by(9, 2, end())).await, Err(LogError::Erased)));
    assert!(matches!(log.read(&id, Offset(0), 9).await, Err(LogError::Erased)));
    log.erase(&id).await.unwrap();
    assert_eq!(log.sessions().await.unwrap(), []);
}

async fn retention_removes_only_old_finished_sessions(log: Log) {
    const DAY: Duration = Duration::from_secs(86_400);
    for n in 1..=2 {
        log.open(&session(n)).await.unwrap();
        append_finals(&log, &session(n), 0, 1).await;
    }
    log.append(&session(1), by(1, 1, end())).await.unwrap();
    let now = SystemTime::now();
    assert_eq!(log.sweep(now + DAY * 29, DAY * 30).await.unwrap().removed, 0);
    assert_eq!(log.sweep(now + DAY * 31, DAY * 30).await.unwrap().removed, 1);
    assert_eq!(log.sessions().await.unwrap(), [session(2)]);
    assert!(matches!(log.head(&session(1)).await, Err(LogError::NoSession)));
    assert_eq!(log.open(&session(1)).await.unwrap().head, Offset(0), "the name may be used again");
}

async fn sessions_lists_what_is_there(log: Log) {
    for n in [3, 1, 2] {
        log.open(&session(n)).await.unwrap();
    }
    assert_eq!(log.sessions().await.unwrap(), [session(1), session(2), session(3)]);
}

async fn an_event_over_the_limit_is_refused_and_leaves_no_hole(log: Log) {
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut event = final_of(1);
    if let roomscribe_transcript::Event::Final(event) = &mut event {
        event.text = "x".repeat(2 << 20);
    }
    assert!(matches!(log.append(&id, by(1, 0, event)).await, Err(LogError::TooLarge { .. })));
    append_finals(&log, &id, 0, 1).await;
}
