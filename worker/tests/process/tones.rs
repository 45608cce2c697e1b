//! What a transcript of tones must say.

use roomscribe_sims::adts::{self, Recording};
use roomscribe_sims::tones::{self, LENGTH, PERIOD, TONES};
use serde_json::Value;
use std::sync::OnceLock;

/// Milliseconds that a time may be off: frames of the detector, the encoder's delay.
const TOLERANCE: f64 = 100.0;
/// … and more for each hole before it: across publishes wall time is the clock (contract §4), so what a busy machine
/// takes later than before, or in a burst, stands elsewhere by that much.
const TOLERANCE_PER_HOLE: f64 = 300.0;

/// 90 s of tones, AAC 48 kHz, made by ffmpeg once per test run.
pub(crate) fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(|| adts::parse(&encode(f64::from(TONES) * PERIOD)).unwrap())
}

/// So many seconds of tones, ADTS.
pub(crate) fn encode(seconds: f64) -> Vec<u8> {
    tones::encode(seconds).unwrap()
}

/// A stretch of stream time, in seconds, that reached no worker, or may not have.
pub(crate) type Hole = (f64, f64);

/// Holds a transcript to account: offsets 1 … n; every tone that no hole touches exactly once and at its time, up to
/// stream second `until`; every other tone at most once on each side of its hole.
pub(crate) fn check(events: &[Value], holes: &[Hole], until: f64) {
    check_within(events, holes, until, 0.0);
}

/// The same, with so many milliseconds more for every time.
pub(crate) fn check_within(events: &[Value], holes: &[Hole], until: f64, more: f64) {
    let told = brief(events);
    let offsets: Vec<u64> = events.iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=events.len() as u64).collect::<Vec<_>>(), "offsets");
    let heard = heard(events);
    for number in 0..TONES {
        let (start, end) = (f64::from(number) * PERIOD, f64::from(number) * PERIOD + LENGTH);
        let times: Vec<(f64, f64)> =
            heard.iter().filter(|word| word.0 == number).map(|word| word.1).collect();
        let touched = holes.iter().any(|hole| hole.0 < end + 0.1 && hole.1 > start - 0.1);
        if touched {
            assert!(times.len() <= 2, "tone{number} at {times:?}, holes {holes:?}: {told}");
        } else if end + 0.1 < until {
            assert!(once(&times), "tone{number} at {times:?} of {until} s, holes {holes:?}: {told}");
        }
        let before = holes.iter().filter(|hole| hole.0 < end).count();
        let tolerance = TOLERANCE + more + TOLERANCE_PER_HOLE * before as f64;
        for (from, to) in times {
            assert!(
                from >= start * 1000.0 - tolerance && to <= end * 1000.0 + tolerance,
                "tone{number} sounds {start}–{end} s and stands at {from}–{to} ms, holes {holes:?}: {told}"
            );
        }
    }
}

/// Whole or, where the sound stalled in its middle, in two halves; never a second time.
fn once(times: &[(f64, f64)]) -> bool {
    let sounding: f64 = times.iter().map(|(from, to)| to - from).sum();
    let apart = times.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 30.0);
    (1..=2).contains(&times.len()) && apart && (400.0..=LENGTH * 1000.0 + 150.0).contains(&sounding)
}

/// For messages: the events without what is the same in all.
fn brief(events: &[Value]) -> String {
    let line = |event: &Value| {
        let (kind, seg, text) =
            (&event["type"], &event["seg"], event.get("text").or_else(|| event.get("reason")));
        format!("\n  {kind} {seg} {}–{} {text:?}", event["startMs"], event["endMs"])
    };
    events.iter().map(line).collect()
}

/// Number and time in milliseconds of every word; a final with several words gives each its share.
fn heard(events: &[Value]) -> Vec<(u32, (f64, f64))> {
    let finals = events.iter().filter(|event| event["type"] == "final");
    let words = finals.flat_map(|event| {
        let text = event["text"].as_str().unwrap();
        assert!(text.split_whitespace().all(|word| word.starts_with("tone")), "{text}");
        event["words"].as_array().unwrap()
    });
    words
        .map(|word| {
            let number = word["w"].as_str().unwrap().trim_start_matches("tone").parse().unwrap();
            (number, (word["startMs"].as_f64().unwrap(), word["endMs"].as_f64().unwrap()))
        })
        .collect()
}

/// Numbers of the tones heard, in the order of the log.
pub(crate) fn numbers(events: &[Value]) -> Vec<u32> {
    heard(events).into_iter().map(|(number, _)| number).collect()
}
