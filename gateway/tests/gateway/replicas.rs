//! A viewer that is cut anywhere and goes on at another replica gets exactly 1…n.

use crate::common::{Client, Directory, Door, Heard, KEY, append, keyed, speak};
use roomscribe_gateway::GatewayLimits;
use roomscribe_transcript::{End, Event, Log, SessionId};
use std::sync::Arc;

const FINALS: u64 = 120;

async fn replicas() -> (Vec<Door>, Log, SessionId) {
    let (log, sessions) = (Log::memory(), Arc::<Directory>::default());
    // A ring of a few frames, so that replay, ring and live all take part.
    let limits = GatewayLimits { viewer_backlog_bytes: 4 * 1024, ..GatewayLimits::default() };
    let config = roomscribe_gateway::Config { limits, ..keyed() };
    let mut doors = Vec::new();
    for _ in 0..2 {
        doors.push(Door::over(config.clone(), log.clone(), Arc::clone(&sessions)).await);
    }
    let id = doors[0].session("standup").await;
    (doors, log, id)
}

async fn speaker(log: Log, id: SessionId, mut random: fastrand::Rng) {
    for offset in 1..=FINALS {
        speak(&log, &id, offset).await;
        for _ in 0..random.u8(..8) {
            tokio::task::yield_now().await;
        }
    }
    append(&log, &id, Event::End(End { reason: "Stopped".into() })).await;
}

/// Watches until the end over as many connections as it takes; each is cut after a few frames, politely or not.
async fn watch(doors: &[Door], id: &SessionId, mut random: fastrand::Rng) -> Vec<u64> {
    let (mut offsets, mut epoch): (Vec<u64>, Option<String>) = (Vec::new(), None);
    loop {
        let door = &doors[random.usize(..doors.len())];
        let mut query = format!("?after={}", offsets.last().unwrap_or(&0));
        if let Some(epoch) = &epoch {
            query.push_str(&format!("&epoch={epoch}"));
        }
        let mut viewer = Client::open(&door.stream_url(id.as_str(), &query), Some(KEY)).await;
        for _ in 0..random.usize(..24) {
            match viewer.next().await {
                Heard::Frame(frame) if frame["type"] == "hello" => {
                    assert_eq!(frame["recovered"], true);
                    epoch = frame["epoch"].as_str().map(str::to_owned);
                }
                Heard::Frame(frame) => {
                    offsets.extend(frame["offset"].as_u64());
                    if frame["type"] == "end" {
                        return offsets;
                    }
                }
                // Too slow for the small ring: resume.
                Heard::Closed(4408) => break,
                Heard::Closed(code) => panic!("closed with {code}"),
            }
        }
        if random.bool() {
            drop(viewer.socket.close(None).await);
        }
    }
}

async fn cut_anywhere(seed: u64) {
    let (doors, log, id) = replicas().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let speaking = tokio::spawn(speaker(log, id.clone(), random.fork()));
    let (one, two, three) = (random.fork(), random.fork(), random.fork());
    let (one, two, three) =
        tokio::join!(watch(&doors, &id, one), watch(&doors, &id, two), watch(&doors, &id, three));
    speaking.await.unwrap();
    for offsets in [one, two, three] {
        assert_eq!(offsets, (1..=FINALS + 1).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_viewer_cut_at_any_frame_and_resumed_at_another_replica_gets_each_offset_once() {
    for seed in 0..40 {
        cut_anywhere(seed).await;
    }
}

#[tokio::test]
async fn a_replica_that_drains_hands_its_viewer_over_without_a_loss() {
    let (mut doors, log, id) = replicas().await;
    speak(&log, &id, 5).await;
    let mut viewer = doors[0].stream(&id, "").await;
    let mut offsets = viewer.offsets_to(5).await;
    doors[0].stop();
    assert_eq!(viewer.close_code().await, 1001);
    speak(&log, &id, 9).await;
    offsets.extend(doors[1].stream(&id, "?after=5").await.offsets_to(9).await);
    assert_eq!(offsets, (1..=9).collect::<Vec<_>>());
}
