//! The wire events, letter by letter as the contract spells them (§4).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use roomscribe_transcript::wire::{Frame, PartialFrame};

/// The contract's own examples, with its ellipses filled in.
const DURABLE: &[&str] = &[
    r#"{"type":"final","offset":1,"gen":1,"seg":"1-00_00000003","startMs":1200,"endMs":3480,"speaker":{"id":"alice","name":"Alice","method":"active-speaker","confidence":0.93},"language":"en","text":"…","words":[{"w":"…","startMs":1200,"endMs":1400,"c":0.98}],"confidence":0.95,"at":"2026-11-23T10:00:04.120Z"}"#,
    r#"{"type":"translation","offset":2,"gen":1,"seg":"…","language":"en","text":"…"}"#,
    r#"{"type":"relabel","offset":18,"gen":1,"seg":"…","parts":[{"fromWord":0,"toWord":7,"speaker":{"id":"bob","name":"Bob","method":"diarization","confidence":0.5}}]}"#,
    r#"{"type":"status","offset":19,"gen":1,"state":"Recovering","reason":"WorkerRestarted","message":"…"}"#,
    r#"{"type":"gap","offset":20,"gen":2,"startMs":1,"endMs":2,"reason":"…"}"#,
    r#"{"type":"handover","offset":21,"gen":1}"#,
    r#"{"type":"end","offset":22,"gen":2,"reason":"RoomEnded"}"#,
];

const PASSING: &[&str] = &[
    r#"{"type":"hello","session":"019aaaaa-0000-7000-8000-000000000001","epoch":"9f2c01ab","oldest":1,"head":17,"from":0,"recovered":true,"state":"Live","mediaZeroAt":"2026-11-23T10:00:00.000Z","pingSeconds":20,"server":"roomscribe/0.1.0"}"#,
    r#"{"type":"partial","seg":"…","rev":3,"after":17,"startMs":1,"endMs":2,"speaker":null,"text":"…"}"#,
    r#"{"type":"heartbeat","head":22}"#,
    r#"{"type":"lag","skippedPartials":4}"#,
    r#"{"type":"error","code":"…","message":"…","retry":true}"#,
    r#"{"type":"authExpiring","seconds":60}"#,
    r#"{"type":"authOk","expiresInSeconds":3600}"#,
];

fn written(frame: &Frame) -> String {
    match frame {
        Frame::Hello(frame) => serde_json::to_string(frame),
        Frame::Record(frame) => serde_json::to_string(frame),
        Frame::Partial(frame) => serde_json::to_string(&PartialFrame(frame)),
        Frame::Heartbeat(frame) => serde_json::to_string(frame),
        Frame::Lag(frame) => serde_json::to_string(frame),
        Frame::Error(frame) => serde_json::to_string(frame),
        Frame::AuthExpiring(frame) => serde_json::to_string(frame),
        Frame::AuthOk(frame) => serde_json::to_string(frame),
        Frame::Unknown(kind) => panic!("unknown: {kind}"),
    }
    .unwrap()
}

#[test]
fn every_example_of_the_contract_is_read_and_written_letter_by_letter() {
    for example in DURABLE.iter().chain(PASSING) {
        assert_eq!(written(&Frame::parse(example).unwrap()), *example);
    }
}

#[test]
fn durable_events_are_records_and_the_others_are_not() {
    assert!(DURABLE.iter().all(|json| matches!(Frame::parse(json).unwrap(), Frame::Record(_))));
    assert!(
        PASSING
            .iter()
            .all(|json| !matches!(Frame::parse(json).unwrap(), Frame::Record(_) | Frame::Unknown(_)))
    );
}

#[test]
fn fields_and_types_of_a_later_version_are_ignored() {
    let json = r#"{"offset":22,"later":[1],"gen":2,"reason":"RoomEnded","type":"end"}"#;
    assert_eq!(written(&Frame::parse(json).unwrap()), DURABLE[6]);
    assert_eq!(Frame::parse(r#"{"type":"hologram"}"#).unwrap(), Frame::Unknown("hologram".into()));
}

#[test]
fn a_final_without_speaker_says_null_and_without_words_says_nothing() {
    let json = r#"{"type":"final","offset":1,"gen":1,"seg":"1-a","startMs":1,"endMs":2,"speaker":null,"text":"x","at":"2026-11-23T10:00:04.120Z"}"#;
    assert_eq!(written(&Frame::parse(json).unwrap()), json);
}
