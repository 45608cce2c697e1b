//! The clock of a session, in simulated time: silence, absence and the longest duration.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::config::Limits;
use crate::faults::{Break, Faults};
use crate::request::LiveRequest;
use crate::script::Script;
use crate::scripted::ScriptedTrack;
use crate::session::Session;
use crate::session_io::{Clock, Input, Output};
use crate::track::Track;

const HOUR: f64 = 3600.0;

/// A connected session that hears one sentence, at 0.5 s to 1.5 s.
fn session() -> Session {
    let script: Script =
        serde_json::from_value(json!({"utterances": [{"start": 0.5, "end": 1.5, "text": " Hello"}]}))
            .unwrap();
    let request = Arc::new(LiveRequest::parse(json!({"endpointing": 0.3})).unwrap());
    let track = Track::Scripted(ScriptedTrack::new(&script, 0, 16_000, 0.3));
    let mut session = Session::new("s".into(), request, Faults::default(), Limits::default(), vec![track]);
    at(&mut session, 0.0, Input::Attached);
    session
}

fn clock(seconds: f64) -> Clock {
    Clock { now: Duration::from_secs_f64(seconds), wall: "2026-11-25T10:00:00.000Z".into() }
}

/// What the session does then: the texts that it sends, and everything else in short.
fn at(session: &mut Session, seconds: f64, input: Input) -> Vec<String> {
    session.handle(input, &clock(seconds));
    let short = |output| match output {
        Output::Send(_, text) => text,
        Output::Break(Break::Close(code)) => format!("close {code}"),
        Output::Finished => "finished".into(),
        _ => "other".into(),
    };
    session.out.drain(..).map(short).collect()
}

fn wake_at(session: &Session) -> Option<f64> {
    session.wake_at().map(|at| at.as_secs_f64())
}

#[test]
fn thirty_seconds_without_a_byte_cut_the_connection_and_leave_the_session() {
    let mut session = session();
    assert_eq!(wake_at(&session), Some(30.0));
    assert!(at(&mut session, 29.9, Input::Wake).is_empty());
    assert_eq!(at(&mut session, 30.0, Input::Wake), ["close 1011"]);
    assert!(!session.ended());
}

#[test]
fn audio_an_empty_chunk_and_a_text_frame_each_start_the_silence_anew() {
    let empty = || Input::Text(json!({"type": "audio_chunk", "data": {"chunk": ""}}).to_string());
    for input in [Input::Audio(Bytes::from(vec![0; 3200])), Input::Audio(Bytes::new()), empty()] {
        let mut session = session();
        at(&mut session, 29.0, input);
        assert_eq!(wake_at(&session), Some(59.0));
        assert!(at(&mut session, 58.9, Input::Wake).is_empty());
    }
}

#[test]
fn a_time_in_which_the_server_did_not_read_is_not_the_clients_silence() {
    let mut session = session();
    session.touch(Duration::from_secs(29));
    assert!(at(&mut session, 58.9, Input::Wake).is_empty());
    assert_eq!(at(&mut session, 59.0, Input::Wake), ["close 1011"]);
}

#[test]
fn a_minute_without_a_connection_ends_the_session_with_its_result() {
    let mut session = session();
    at(&mut session, 1.0, Input::Audio(Bytes::from(vec![0; 2 * 32_000])));
    at(&mut session, 2.0, Input::Detached { for_good: false });
    assert_eq!(wake_at(&session), Some(62.0));
    assert!(at(&mut session, 61.9, Input::Wake).is_empty());
    assert_eq!(at(&mut session, 62.0, Input::Wake).last().unwrap(), "finished");
    assert_eq!(session.result()["transcription"]["full_transcript"], "Hello");
}

#[test]
fn who_comes_back_within_a_minute_goes_on() {
    let mut session = session();
    at(&mut session, 2.0, Input::Detached { for_good: false });
    at(&mut session, 61.0, Input::Attached);
    assert_eq!(wake_at(&session), Some(91.0));
    assert!(at(&mut session, 62.0, Input::Wake).is_empty() && !session.ended());
}

#[test]
fn three_hours_end_the_session_with_a_reason_and_its_last_final() {
    let mut session = session();
    at(&mut session, 1.0, Input::Audio(Bytes::from(vec![0; 32_000])));
    for minute in 1..180_u32 {
        at(&mut session, f64::from(minute) * 60.0, Input::Audio(Bytes::new()));
        session.touch(Duration::from_secs(minute.into()) * 60);
    }
    session.touch(Duration::from_secs_f64(3.0 * HOUR - 1.0));
    assert_eq!(wake_at(&session), Some(3.0 * HOUR));
    let said = at(&mut session, 3.0 * HOUR, Input::Wake);
    assert!(said[0].contains("session_timeout"), "{said:?}");
    assert!(said.iter().any(|text| text.contains("\"is_final\":true")), "{said:?}");
    assert_eq!(said[said.len() - 2..], ["close 1000", "finished"]);
    assert_eq!(at(&mut session, 3.0 * HOUR + 1.0, Input::Attached), ["close 4403"]);
}

#[test]
fn a_second_stop_is_refused_and_audio_behind_a_stop_is_nothing() {
    let stop = || Input::Text(r#"{"type":"stop_recording"}"#.into());
    let mut session = session();
    at(&mut session, 1.0, Input::Audio(Bytes::from(vec![0; 2 * 32_000])));
    let first = at(&mut session, 2.0, stop());
    assert!(first[0].contains(r#""recording_duration":2.0"#) && first[0].contains(r#""acknowledged":true"#));
    assert!(at(&mut session, 2.0, Input::Audio(Bytes::from(vec![0; 3200]))).is_empty());
    let [second] = &at(&mut session, 2.0, stop())[..] else { panic!("one message") };
    assert!(
        second.contains(r#""type":"stop_recording""#) && second.contains(r#""acknowledged":false"#),
        "{second}"
    );
    assert_eq!(session.seconds(), 2.0);
}
