//! Readers, writers and partials at once, in an order that a seed gives, on every backing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[cfg(feature = "nats")]
mod server;

use common::*;
use roomscribe_transcript::{Event, Follow, FollowItem, Log, LogError, Offset, log::FOLLOW_BATCH};

/// Finals in all, then an end.
const FINALS: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_from_any_offset_get_each_later_record_once_while_appends_and_partials_run() {
    for seed in 0..12 {
        any_meeting(Log::memory(), seed).await;
        let folder = fast_folder();
        any_meeting(Log::file(folder.path()).unwrap(), 1000 + seed).await;
    }
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_over_nats() {
    for seed in 0..6 {
        let server = server::NatsServer::start("");
        any_meeting(server::log(&server).await, seed).await;
    }
}

async fn any_meeting(log: Log, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut followers = tokio::task::JoinSet::new();
    let mut head = 0;
    while head < FINALS {
        for _ in 0..random.usize(0..3) {
            let after = random.u64(0..=head);
            let follow = log.follow(&id, Offset(after)).await.unwrap();
            followers.spawn(follows_to_the_end(follow, after, random.fork(), seed));
        }
        log.publish_partial(&id, partial(head + 1, 1, head));
        let more = random.u64(1..20).min(FINALS - head);
        append_some(&log, head, head + more, &mut random).await;
        head += more;
    }
    log.append(&id, by(1, FINALS, end())).await.unwrap();
    assert!(!followers.is_empty());
    soon(followers.join_all()).await;
}

/// In order by one task, or all at once: every append is repeated until its turn has come.
async fn append_some(log: &Log, from: u64, to: u64, random: &mut fastrand::Rng) {
    if random.bool() {
        return append_finals(log, &session(1), from, to).await;
    }
    let mut order: Vec<u64> = (from..to).collect();
    random.shuffle(&mut order);
    let mut tasks = tokio::task::JoinSet::new();
    for n in order {
        let log = log.clone();
        tasks.spawn(async move {
            loop {
                match log.append(&session(1), by(1, n, final_of(n + 1))).await {
                    Ok(appended) => return assert_eq!(appended.offset, Offset(n + 1)),
                    Err(LogError::Moved { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    soon(tasks.join_all()).await;
}

async fn follows_to_the_end(mut follow: Follow, after: u64, mut random: fastrand::Rng, seed: u64) {
    let mut last = after;
    while let Some(item) = soon(follow.next()).await {
        assert!(follow.held() <= FOLLOW_BATCH, "seed {seed}");
        match item.unwrap() {
            FollowItem::Record(record) => {
                assert_eq!(record.offset.0, last + 1, "seed {seed}: a hole or a double after {last}");
                let expected = if last == FINALS { end() } else { final_of(last + 1) };
                assert_eq!(record.event, expected, "seed {seed}");
                last += 1;
            }
            FollowItem::Partial(partial) => {
                let settled = partial.seg.0[5..].parse::<u64>().unwrap() <= last;
                assert!(!settled, "seed {seed}: a reading of {} after final {last}", partial.seg.0);
            }
        }
        if random.u8(0..8) == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(last, FINALS + 1, "seed {seed}: the end is the last");
}

/// Nearly as long as a record may be.
fn long_final(n: u64) -> Event {
    let Event::Final(mut event) = final_of(n) else { panic!("a final") };
    event.text = "x".repeat(1_000_000);
    Event::Final(event)
}

#[tokio::test]
async fn long_records_are_written_and_read_a_few_at_a_time_and_all_of_them() {
    let folder = fast_folder();
    let log = Log::file(folder.path()).unwrap();
    let id = session(1);
    log.open(&id).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let log = log.clone();
        tasks.spawn(async move { log.append(&session(1), by(1, n, long_final(n + 1))).await.unwrap() });
    }
    soon(tasks.join_all()).await;
    let fsyncs = log.counters().fsyncs;
    assert!(fsyncs >= 3, "{fsyncs} batches of at most 4 MiB for 12 MB");
    drop(log);
    let log = Log::file(folder.path()).unwrap();
    assert_eq!(log.read(&id, Offset(0), 12).await.unwrap().len(), 4, "at most 4 MiB at once");
    assert_eq!(read_all(&log, &id).await.unwrap().len(), 12);
    let mut follow = log.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 12).await, (1..=12).collect::<Vec<_>>());
}
