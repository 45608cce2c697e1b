//! `demo`: the whole path with the real recogniser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::{Finished, finish};
use roomscribe_e2e::{PATIENCE, lines, repository, roomscribe, signal};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::time::timeout;

/// Percent, by `tests/tools/wer.py`: lower case, no punctuation, numbers as words, nothing else removed.
fn word_error_rate(reference: &Path, events: &str) -> f64 {
    let mut hypothesis = tempfile::NamedTempFile::new().unwrap();
    hypothesis.write_all(events.as_bytes()).unwrap();
    let mut tool = std::process::Command::new("python3");
    tool.arg(repository("tests/tools/wer.py")).arg(reference).arg(hypothesis.path());
    let said = String::from_utf8(tool.output().unwrap().stdout).unwrap();
    let last = said.lines().last().unwrap_or_default();
    let percent = last.strip_prefix("WER ").and_then(|rest| rest.split(' ').next());
    percent.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("wer.py said: {said}"))
}

/// Any demo fetches the recogniser's files.
async fn fetched(recording: &Path) -> bool {
    if !recording.exists() {
        demo(&["--once", "--speed", "20"]).await;
    }
    recording.exists()
}

async fn demo(words: &[&str]) -> Finished {
    let mut command = roomscribe().unwrap();
    command.arg("demo").args(words).current_dir("/");
    finish(command).await.unwrap()
}

/// Only wire events, and offsets 1…n.
fn assert_wire_events(out: &Finished) -> Vec<Value> {
    assert_eq!(out.code, 0, "{}", out.err);
    let events = out.json().unwrap();
    assert_eq!(events[0]["type"], "hello");
    assert_eq!(events.last().unwrap()["type"], "end");
    assert!(events.iter().all(|event| event["type"].is_string()));
    let offsets: Vec<u64> = events.iter().filter_map(|event| event["offset"].as_u64()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
    events
}

#[tokio::test]
async fn the_meeting_is_understood_at_four_times_its_speed() {
    let out = demo(&["--once", "--format", "json", "--speed", "4"]).await;
    let events = assert_wire_events(&out);
    assert!(out.err.starts_with("page  http://127.0.0.1:"), "the page goes first: {}", out.err);
    assert!(events.iter().any(|event| event["type"] == "partial"), "no partial was shown");
    let rate = word_error_rate(&repository("tests/fixtures/meeting/reference.json"), &out.out);
    eprintln!("word error rate of the meeting: {rate} %");
    assert!(rate <= 15.0, "{rate} %");
}

#[tokio::test]
async fn a_recording_that_the_fixtures_author_did_not_make_is_understood() {
    let name = "moonshine-voice-0.0.49/moonshine_voice/assets/two_cities.wav";
    let cache = std::env::var_os("ROOMSCRIBE_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/roomscribe"));
    let recording = cache.join(name);
    // The recogniser's own files bring it; whoever runs this test first fetches them.
    assert!(fetched(&recording).await, "{} is missing", recording.display());
    let out =
        demo(&["--once", "--format", "json", "--speed", "3", "--audio", recording.to_str().unwrap()]).await;
    assert_wire_events(&out);
    let rate = word_error_rate(&repository("speech/tests/two_cities.txt"), &out.out);
    eprintln!("word error rate of two_cities.wav: {rate} %");
    assert!(rate <= 15.0, "{rate} %");
}

#[tokio::test]
async fn without_once_the_demo_stays_and_ends_well_on_ctrl_c() {
    let mut command = roomscribe().unwrap();
    command.args(["demo", "--speed", "1"]).stdout(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut printed = lines(&mut demo).unwrap();
    let page = timeout(PATIENCE, printed.next_line()).await.unwrap().unwrap().unwrap();
    let page = page.strip_prefix("page  ").expect("the page's URL goes first");
    assert!(reqwest::get(page).await.unwrap().status().is_success());
    let caption = loop {
        let line = timeout(PATIENCE, printed.next_line()).await.unwrap().unwrap().unwrap();
        if line.starts_with("00:00:0") {
            break line;
        }
    };
    assert!(!caption.contains('\u{1b}'), "escapes in a pipe: {caption}");
    signal(&demo, "INT").await.unwrap();
    let status = timeout(PATIENCE, demo.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_file_or_speed_that_cannot_be_played_is_refused_in_one_line() {
    let text = repository("README.md");
    let text = text.to_str().unwrap();
    for (words, parts) in [
        (["--audio", text], ["--audio", "ffmpeg cannot read it"]),
        (["--audio", "/nothing/here.wav"], ["/nothing/here.wav", "No such file"]),
        (["--audio", "/"], ["--audio", "directory"]),
        (["--speed", "0"], ["--speed", "0.1"]),
        (["--speed", "1000"], ["--speed", "20"]),
        (["--http-listen", "192.0.2.1:80"], ["--http-listen", "loopback"]),
    ] {
        let out = demo(&words).await;
        assert_eq!((out.code, out.out.as_str()), (64, ""), "{words:?}: {}", out.err);
        assert!(parts.iter().all(|part| out.line().contains(part)), "{words:?}: {}", out.err);
    }
}
