//! Viewers that do not read: bounded memory, closed, resumed by offset; nobody else waits for them.

use crate::common::{Client, Door, Heard, append, eventually, keyed, utterance};
use roomscribe_gateway::{Config, GatewayLimits};
use roomscribe_transcript::{Event, SessionId};
use std::time::Duration;

const BACKLOG: usize = 64 * 1024;
/// Text of one final: a few dozen overflow every buffer of the kernel.
const LARGE: usize = 100_000;
const FINALS: u64 = 60;

fn small(write_timeout: Duration) -> Config {
    let limits = GatewayLimits { viewer_backlog_bytes: BACKLOG, ..GatewayLimits::default() };
    Config { limits, write_timeout, ..keyed() }
}

async fn speak_large(door: &Door, id: &SessionId, last: u64) {
    for offset in door.log.head(id).await.unwrap().head.0 + 1..=last {
        append(&door.log, id, Event::Final(utterance(offset, &"x".repeat(LARGE)))).await;
        tokio::task::yield_now().await;
    }
}

async fn offsets_until_closed(viewer: &mut Client) -> (Vec<u64>, u16) {
    let mut offsets = Vec::new();
    loop {
        match viewer.next().await {
            Heard::Frame(frame) => offsets.extend(frame["offset"].as_u64()),
            Heard::Closed(code) => return (offsets, code),
        }
    }
}

#[tokio::test]
async fn a_viewer_that_falls_out_of_its_byte_bound_is_closed_with_4408_and_resumes_by_offset() {
    let door = Door::with(small(Duration::from_secs(10))).await;
    let id = door.session("standup").await;
    let mut slow = door.stream(&id, "").await;
    slow.frame().await;
    let mut witness = door.stream(&id, "").await;
    for last in 1..=FINALS {
        speak_large(&door, &id, last).await;
        witness.offsets_to(last).await;
    }
    let (mut offsets, code) = offsets_until_closed(&mut slow).await;
    assert_eq!(code, 4408);
    let last = *offsets.last().unwrap();
    assert!(last < FINALS, "it had everything");
    offsets.extend(door.stream(&id, &format!("?after={last}")).await.offsets_to(FINALS).await);
    assert_eq!(offsets, (1..=FINALS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_viewer_that_never_reads_is_cut_by_the_write_time_out_and_holds_no_memory() {
    let door = Door::with(small(Duration::from_millis(200))).await;
    let id = door.session("standup").await;
    let frozen = door.stream(&id, "").await;
    let mut last = 0;
    eventually("the frozen viewer is cut", async || {
        last += 1;
        speak_large(&door, &id, last).await;
        let held = door.metric("held_bytes").await;
        assert!(held <= (BACKLOG + LARGE + 1024) as f64, "{held} bytes are held");
        door.metric("viewers").await == 0.0
    })
    .await;
    drop(frozen);
    let offsets = door.stream(&id, "?after=1").await.offsets_to(last).await;
    assert_eq!(offsets, (2..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_frozen_viewers_of_one_session_share_its_one_ring() {
    let door = Door::with(small(Duration::from_secs(10))).await;
    let id = door.session("standup").await;
    let mut frozen = Vec::new();
    for _ in 0..30 {
        frozen.push(door.stream(&id, "").await);
    }
    let mut witness = door.stream(&id, "").await;
    for last in 1..=FINALS {
        speak_large(&door, &id, last).await;
        witness.offsets_to(last).await;
    }
    let held = door.metric("held_bytes").await;
    assert!(held <= (BACKLOG + LARGE + 1024) as f64, "{held} bytes are held for 30 viewers");
}
