//! A real LiveKit egress's bytes (tests/fixtures/egress-rtmp/README.md), in the cuts they came in and in others.

mod common;

use std::time::Duration;

use common::wire::{Peer, audio_of, contains};
use roomscribe_rtmp::{Event, Limits, UnwrappedTime};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/egress-rtmp");
const SAMPLES: [&str; 3] = ["steady", "reconnect-1", "reconnect-2"];

struct Recording {
    bytes: Vec<u8>,
    /// When each read came, and where it ends.
    reads: Vec<(Duration, usize)>,
}

fn recording(name: &str) -> Recording {
    let bytes = std::fs::read(format!("{FOLDER}/{name}.c2s")).expect("sample");
    let index = std::fs::read_to_string(format!("{FOLDER}/{name}.idx")).expect("index");
    let line = |line: &str| {
        let field: Vec<&str> = line.split(' ').collect();
        let end = field[2].parse::<usize>().expect("offset") + field[3].parse::<usize>().expect("length");
        (field[1] == "c").then(|| (field[0].parse::<f64>().expect("time"), end))
    };
    let reads: Vec<(f64, usize)> = index.lines().filter_map(line).collect();
    let start = reads[0].0;
    let reads = reads.into_iter().map(|(time, end)| (Duration::from_secs_f64(time - start), end)).collect();
    Recording { bytes, reads }
}

/// Gives the bytes up to each cut at its time; accepts the publisher as a server would.
fn replay(bytes: &[u8], cuts: impl IntoIterator<Item = (Duration, usize)>) -> Vec<Event> {
    let mut peer = Peer::new(Limits::default());
    let mut events = Vec::new();
    let mut at = 0;
    for (now, end) in cuts {
        peer.now = now;
        peer.session.handle_timeout(now).expect("in time");
        let new = peer.send(&bytes[at..end]).expect("a good publisher");
        if new.iter().any(|event| matches!(event, Event::Publish { .. })) {
            peer.session.accept_publish(now);
        }
        events.extend(new);
        peer.answers();
        assert!(peer.session.held_bytes() < 64 * 1024);
        at = end;
    }
    assert_eq!(at, bytes.len(), "all of the recording");
    events
}

/// The same audio by the plainest reading: one stream, all bytes at hand, no limits.
fn plain_reading(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let (mut at, mut chunk_size) = (1 + 1536 + 1536, 128);
    let mut streams = std::collections::HashMap::<u8, (u32, u32, usize, u8, Vec<u8>)>::new();
    let mut audio = Vec::new();
    let number = |at: usize, n: usize| bytes[at..at + n].iter().fold(0u32, |sum, b| sum << 8 | u32::from(*b));
    while at < bytes.len() {
        let (fmt, csid) = (bytes[at] >> 6, bytes[at] & 63);
        let (time, delta, length, kind, body) = streams.entry(csid).or_default();
        at += 1;
        if fmt < 3 {
            *delta = number(at, 3);
        }
        if fmt < 2 {
            *length = number(at + 3, 3) as usize;
            *kind = bytes[at + 6];
        }
        if body.is_empty() {
            *time = if fmt == 0 { *delta } else { *time + *delta };
        }
        at += [11, 7, 3, 0][usize::from(fmt)];
        let n = chunk_size.min(*length - body.len());
        body.extend_from_slice(&bytes[at..at + n]);
        at += n;
        if body.len() == *length {
            let body = std::mem::take(body);
            match *kind {
                1 => chunk_size = u32::from_be_bytes(body[..4].try_into().expect("four")) as usize,
                8 => audio.push((*time, body)),
                _ => {}
            }
        }
    }
    audio
}

#[test]
fn the_audio_is_that_of_a_plain_reading_with_the_cuts_of_the_recording() {
    for name in SAMPLES {
        let recording = recording(name);
        let events = replay(&recording.bytes, recording.reads.iter().copied());
        let audio = audio_of(&events);
        assert_eq!(audio, plain_reading(&recording.bytes), "{name}");
        assert!(audio.len() > 400, "{name}: {}", audio.len());
        assert_eq!(audio[0], (0, vec![0xaf, 0, 0x12, 0x10]), "{name}: the AAC header first, at 0");
        assert!(audio[1..].iter().all(|(_, body)| body[..2] == [0xaf, 1]), "{name}");
    }
}

#[test]
fn the_events_are_the_same_one_byte_at_a_time() {
    for name in SAMPLES {
        let recording = recording(name);
        let whole = replay(&recording.bytes, recording.reads.iter().copied());
        let at = |end: usize| recording.reads.iter().find(|read| read.1 >= end).expect("a read").0;
        let bytewise =
            replay(&recording.bytes, (1..=recording.bytes.len()).map(|end| (at(end), end)).step_by(1));
        assert!(bytewise == whole, "{name}");
    }
}

#[test]
fn the_events_are_the_same_with_seeded_cuts() {
    for name in SAMPLES {
        let recording = recording(name);
        let whole = replay(&recording.bytes, recording.reads.iter().copied());
        for seed in 0..15 {
            let mut random = fastrand::Rng::with_seed(seed);
            let longest = [3, 20, 400, 5000, 60_000][seed as usize % 5];
            let mut cuts = Vec::new();
            let mut end = 0;
            while end < recording.bytes.len() {
                end = (end + random.usize(1..=longest)).min(recording.bytes.len());
                let read = recording.reads.partition_point(|read| read.1 < end);
                cuts.push((recording.reads[read].0, end));
            }
            assert!(replay(&recording.bytes, cuts) == whole, "{name} seed {seed}");
        }
    }
}

#[test]
fn an_egress_says_who_it_is_and_goodbye() {
    let recording = recording("steady");
    let events = replay(&recording.bytes, recording.reads);
    let Event::Publish { app, stream_key, tc_url } = &events[0] else { unreachable!("{:?}", events[0]) };
    assert_eq!(
        (app.as_str(), stream_key.expose(), tc_url.as_str()),
        ("live", "KEY1", "rtmp://127.0.0.1/live")
    );
    let Event::Metadata(metadata) = &events[1] else { unreachable!("{:?}", events[1]) };
    assert_eq!(metadata.audio_codec, Some(roomscribe_rtmp::AudioCodec::Number(10.0)));
    assert!(metadata.encoder.as_deref().is_some_and(|e| e.starts_with("GStreamer")), "{metadata:?}");
    assert_eq!(
        events.last(),
        Some(&Event::Unpublished),
        "FCUnpublish, then deleteStream with a string, is one end"
    );
    assert!(contains(&recording.bytes, "deleteStream"));
}

#[test]
fn after_a_reconnect_headers_come_at_zero_and_time_jumps_on_to_stream_time() {
    let first = recording("reconnect-1");
    let second = recording("reconnect-2");
    let end = audio_of(&replay(&first.bytes, first.reads)).last().expect("audio").0;
    let audio = audio_of(&replay(&second.bytes, second.reads));
    assert_eq!((audio[0].0, audio[0].1[1]), (0, 0), "the AAC header again, at 0");
    assert!(audio[1].0 > end, "frames go on at {} after {end}", audio[1].0);
    let mut time = UnwrappedTime::default();
    let unwrapped: Vec<i64> = audio.iter().map(|(stamp, _)| time.advance(*stamp)).collect();
    assert!(unwrapped.windows(2).skip(1).all(|pair| pair[1] - pair[0] <= 500), "one jump only, at the start");
}
