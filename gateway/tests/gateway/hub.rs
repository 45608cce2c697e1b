//! The pure hub under random schedules: what each viewer gets, and what the hub holds.

use roomscribe_gateway::fanout::{Closing, Cursor, Hub, OPEN_SEGMENTS_MAX, PartialFrame, Settles, Taken};

const BOUND: usize = 400;

fn frame(offset: u64) -> String {
    format!("{offset:>40}")
}

fn partial(seg: &str, rev: u32, after: u64, end_ms: u64) -> PartialFrame<String> {
    PartialFrame { seg: seg.into(), rev, after, end_ms, frame: format!("{seg}#{rev}") }
}

fn take_all(hub: &Hub<String>, cursor: &mut Cursor) -> (Vec<String>, Taken) {
    let mut out = Vec::new();
    loop {
        match hub.take(cursor, 7, &mut out) {
            Taken::More => {}
            taken => return (out, taken),
        }
    }
}

/// One viewer at random moments, against a log that holds everything.
fn schedule(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut hub, mut head) = (Hub::new(0, BOUND), 0);
    let (mut cursor, mut got) = (Cursor::new(0, random.bool()), Vec::<u64>::new());
    for _ in 0..300 {
        match random.u8(..5) {
            0 | 1 => {
                head += 1;
                let settles = Settles { seg: format!("s{}", random.u8(..4)), end_ms: head * 10 };
                hub.publish(head, frame(head), Some(&settles));
                hub.publish(head, frame(head), Some(&settles));
            }
            2 => hub.publish_partial(partial(
                &format!("p{}", random.u8(..4)),
                random.u32(..50),
                head,
                u64::MAX,
            )),
            _ => look(&hub, &mut cursor, &mut got, head, &mut random),
        }
        assert!(hub.held_bytes() <= BOUND, "seed {seed}: {} bytes", hub.held_bytes());
        assert!(hub.backlog_bytes(&cursor) <= hub.held_bytes(), "seed {seed}");
    }
    hub.finish(Closing::End);
    look(&hub, &mut cursor, &mut got, head, &mut random);
    assert_eq!(got, (1..=head).collect::<Vec<_>>(), "seed {seed}");
}

fn look(hub: &Hub<String>, cursor: &mut Cursor, got: &mut Vec<u64>, head: u64, random: &mut fastrand::Rng) {
    loop {
        let mut out = Vec::new();
        let taken = hub.take(cursor, random.usize(1..9), &mut out);
        got.extend(out.iter().filter_map(|frame| frame.trim().parse::<u64>().ok()));
        match taken {
            Taken::More => {}
            Taken::Idle | Taken::Close(Closing::End) => return,
            Taken::ReadLog { after } => {
                for offset in after + 1..=head.min(after + 3) {
                    assert!(cursor.replayed(offset));
                    got.push(offset);
                }
            }
            // It resumes by its offset, as a client does.
            Taken::Close(Closing::Slow) => *cursor = Cursor::new(got.last().copied().unwrap_or(0), true),
            Taken::Close(why) => panic!("closed: {why:?}"),
        }
    }
}

#[test]
fn under_any_schedule_a_viewer_gets_every_offset_once_and_the_ring_stays_within_its_bound() {
    (0..500).for_each(schedule);
}

#[test]
fn a_viewer_that_was_live_and_fell_out_of_the_ring_is_slow_and_a_new_one_reads_the_log() {
    let mut hub = Hub::new(0, BOUND);
    let mut live = Cursor::new(0, true);
    assert_eq!(take_all(&hub, &mut live).1, Taken::Idle);
    (1..=50).for_each(|offset| hub.publish(offset, frame(offset), None));
    assert_eq!(take_all(&hub, &mut live).1, Taken::Close(Closing::Slow));
    assert_eq!(take_all(&hub, &mut Cursor::new(3, true)).1, Taken::ReadLog { after: 3 });
}

#[test]
fn a_hole_in_the_log_breaks_the_hub_instead_of_being_hidden() {
    let mut hub = Hub::new(4, BOUND);
    hub.publish(5, frame(5), None);
    hub.publish(7, frame(7), None);
    let (frames, taken) = take_all(&hub, &mut Cursor::new(4, true));
    assert_eq!((frames, taken), (vec![frame(5)], Taken::Close(Closing::Broken)));
}

#[test]
fn one_frame_over_the_bound_is_still_delivered() {
    let mut hub = Hub::new(0, 10);
    hub.publish(1, frame(1), None);
    assert_eq!(take_all(&hub, &mut Cursor::new(0, true)).0, [frame(1)]);
}

#[test]
fn an_erased_transcript_is_gone_at_once_even_for_those_who_lag() {
    let mut hub = Hub::new(0, BOUND);
    hub.publish(1, frame(1), None);
    hub.finish(Closing::Gone);
    assert_eq!(take_all(&hub, &mut Cursor::new(0, true)), (vec![], Taken::Close(Closing::Gone)));
}

#[test]
fn a_final_settles_its_segment_and_older_readings_of_the_same_audio() {
    let mut hub = Hub::new(0, BOUND);
    hub.publish_partial(partial("a", 1, 0, 900));
    hub.publish_partial(partial("b", 1, 0, 800));
    hub.publish_partial(partial("c", 1, 0, 2_000));
    hub.publish(1, frame(1), Some(&Settles { seg: "a".into(), end_ms: 1_000 }));
    hub.publish_partial(partial("a", 2, 0, 900));
    assert_eq!(take_all(&hub, &mut Cursor::new(0, true)).0, [frame(1), "c#1".into()]);
}

#[test]
fn the_number_of_open_segments_is_bounded() {
    let mut hub = Hub::new(0, BOUND);
    (0..500).for_each(|seg| hub.publish_partial(partial(&seg.to_string(), 1, 0, 1)));
    let (frames, _) = take_all(&hub, &mut Cursor::new(0, true));
    assert_eq!(frames.len(), OPEN_SEGMENTS_MAX);
    assert_eq!(frames.last().unwrap(), "499#1");
}

#[test]
fn replaced_readings_are_counted_for_those_who_missed_them() {
    let mut hub = Hub::new(0, BOUND);
    let mut cursor = Cursor::new(0, true);
    take_all(&hub, &mut cursor);
    (1..=5).for_each(|rev| hub.publish_partial(partial("a", rev, 0, 1)));
    assert_eq!(take_all(&hub, &mut cursor).0, ["a#5"]);
    assert_eq!((cursor.take_skipped(), cursor.take_skipped()), (4, 0));
}
