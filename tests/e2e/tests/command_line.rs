//! `start · stop · list · tail · export` against a real `serve`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::{finish, run};
use roomscribe_e2e::speech::{Scripted, sentences};
use roomscribe_e2e::{PATIENCE, Place, Program, free_port, lines, roomscribe};
use roomscribe_sims::adts::first;
use roomscribe_sims::egress::{AudioSource, Habits, Publisher, publish};
use roomscribe_sims::meeting::MEETING_AAC;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const KEY: &str = "0123456789abcdef";

/// Publishes half a minute of the meeting faster than it was: the scripted recogniser counts audio, not time.
fn publish_fast(session: &Value, speed: f64) -> JoinHandle<()> {
    let url = session["ingest"]["url"].as_str().unwrap().to_owned();
    let audio = AudioSource::Adts(first(MEETING_AAC, 30));
    tokio::spawn(async move {
        let publisher = Publisher { url, audio, speed, habits: Habits::default() };
        // A publish that is cut with its server is what some tests are about.
        let _ = publish(publisher, std::future::pending()).await;
    })
}

async fn keyed(place: &Place, speech: &Scripted) -> Program {
    place.serve(&["--gladia-api-url", &speech.url(), "--api-key", KEY]).await.unwrap()
}

#[tokio::test]
async fn a_session_is_started_listed_followed_stopped_and_exported_by_name() {
    let speech = Scripted::start(&sentences(4, 3.0, 2.0, |n| format!("Sentence {n}."))).await.unwrap();
    let place = Place::new().unwrap();
    let program = keyed(&place, &speech).await;
    let go = |words: &'static [&'static str]| {
        let url = program.url.clone();
        async move {
            let mut command = roomscribe().unwrap();
            command.args(words).env("ROOMSCRIBE_URL", url).env("ROOMSCRIBE_API_KEY", KEY);
            finish(command).await.unwrap()
        }
    };
    assert!(go(&["list"]).await.out.contains("roomscribe start NAME --capture push"));
    let text = go(&["start", "Team standup", "--capture", "push", "--name", "standup"]).await;
    assert_eq!(text.code, 0, "{}", text.err);
    for part in [
        "started standup",
        "ffmpeg -re -i INPUT",
        "rtmp://127.0.0.1",
        "stream key",
        "roomscribe tail standup",
    ] {
        assert!(text.out.contains(part), "{part}: {}", text.out);
    }
    let again = go(&["start", "Team standup", "--capture", "push", "--format", "json"]).await.json().unwrap();
    let listed = go(&["list", "--format", "json"]).await.json().unwrap();
    assert_eq!((again.len(), listed.len()), (1, 1));
    assert_eq!(again[0]["id"], listed[0]["id"]);
    let table = go(&["list"]).await.out;
    assert!(table.lines().nth(1).is_some_and(|row| row.starts_with("standup  Team standup  ")), "{table}");

    publish_fast(&again[0], 10.0).await.unwrap();
    assert!(go(&["stop", "standup"]).await.out.contains("roomscribe export standup"));
    let tail = go(&["tail", "standup"]).await;
    assert_eq!(tail.code, 0, "{}", tail.err);
    assert!(tail.out.contains("00:00:00  Sentence 0.\n00:00:03  Sentence 1.\n"), "{}", tail.out);
    assert!(tail.out.ends_with("[end: Stopped]\n"), "{}", tail.out);
    let later = go(&["tail", "standup", "--after", "3", "--format", "json"]).await.json().unwrap();
    let first = later.iter().find_map(|event| event["offset"].as_u64());
    assert_eq!(first, Some(4), "--after 3 begins with offset 4");

    for (format, part) in [
        ("txt", "Sentence 3."),
        ("srt", "00:00:03,200 --> 00:00:05,200"),
        ("vtt", "WEBVTT"),
        ("json", "\"text\""),
    ] {
        let file = place.data.path().join(format!("out.{format}"));
        let mut command = roomscribe().unwrap();
        command.args(["export", "standup", "--format", format, "--output"]).arg(&file);
        command.envs([("ROOMSCRIBE_URL", program.url.as_str()), ("ROOMSCRIBE_API_KEY", KEY)]);
        let export = finish(command).await.unwrap();
        assert_eq!((export.code, export.out.as_str()), (0, ""), "{}", export.err);
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains(part) && written.contains("Sentence 3."), "{format}: {written}");
    }
    assert!(go(&["stop", "standup"]).await.out.contains("has ended already"));
}

#[tokio::test]
async fn every_failure_says_in_one_line_what_to_mend() {
    let speech = Scripted::start(&json!({"utterances": []})).await.unwrap();
    let place = Place::new().unwrap();
    let program = keyed(&place, &speech).await;
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let url = program.url.as_str();
    // URL, key, words, exit code, what the line holds.
    type Case<'a> = (&'a str, Option<&'a str>, &'a [&'a str], i32, &'a [&'a str]);
    let table: &[Case<'_>] = &[
        (&nobody, None, &["list"], 69, &[&nobody, "roomscribe serve"]),
        (&nobody, None, &["tail", "x"], 69, &[&nobody, "roomscribe serve"]),
        ("127.0.0.1:8080", None, &["list"], 64, &["ROOMSCRIBE_URL", "http://"]),
        (url, None, &["list"], 78, &["ROOMSCRIBE_API_KEY", "is not set", "401"]),
        (url, None, &["tail", "x"], 78, &["ROOMSCRIBE_API_KEY", "is not set"]),
        (url, Some("a-key-of-someone-else"), &["list"], 78, &["ROOMSCRIBE_API_KEY", "refused"]),
        (url, Some(KEY), &["tail", "nothing"], 64, &["roomscribe list", "404"]),
        (url, Some(KEY), &["stop", "nothing"], 64, &["roomscribe list"]),
        (url, Some(KEY), &["export", "nothing"], 64, &["roomscribe list"]),
        (url, Some(KEY), &["start", "room"], 69, &["--capture push"]),
        (url, Some(KEY), &["start", " ", "--capture", "push"], 64, &["/roomName"]),
        (
            url,
            Some(KEY),
            &["start", "r", "--capture", "push", "--languages", "English"],
            64,
            &["/speech/languages/0"],
        ),
        (url, Some(KEY), &["export"], 64, &["<SESSION>", "export --help"]),
    ];
    for (url, key, words, code, parts) in table {
        let mut command = roomscribe().unwrap();
        command.args(*words).env("ROOMSCRIBE_URL", url).envs(key.map(|key| ("ROOMSCRIBE_API_KEY", key)));
        let ended = finish(command).await.unwrap();
        assert_eq!(ended.code, *code, "{words:?}: {}", ended.err);
        for part in *parts {
            assert!(ended.line().contains(part), "{words:?}: `{part}` is not in: {}", ended.err);
        }
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn tail_goes_on_over_a_kill_and_restart_of_serve_with_no_line_lost_or_doubled() {
    let speech = Scripted::start(&sentences(60, 1.5, 1.0, |n| format!("Sentence {n}."))).await.unwrap();
    let place = Place::new().unwrap();
    let flags = ["--gladia-api-url".to_owned(), speech.url()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let program = place.serve(&flags).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let id = session["id"].as_str().unwrap();
    let mut command = roomscribe().unwrap();
    command.args(["tail", id, "--format", "json"]).env("ROOMSCRIBE_URL", &program.url);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut printed = lines(&mut tail).unwrap();
    let first = publish_fast(&session, 10.0);
    let mut offsets = Vec::new();
    let mut finals = 0;
    while finals < 5 {
        let line = timeout(PATIENCE, printed.next_line()).await.unwrap().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        offsets.extend(event["offset"].as_u64());
        finals += usize::from(event["type"] == "final");
    }
    program.kill().await.unwrap();
    first.await.unwrap();
    let program = place.serve(&flags).await.unwrap();
    publish_fast(&session, 10.0).await.unwrap();
    program.stop_session(&session).await.unwrap();
    let mut last = Value::Null;
    while let Some(line) = timeout(PATIENCE, printed.next_line()).await.unwrap().unwrap() {
        last = serde_json::from_str(&line).unwrap();
        offsets.extend(last["offset"].as_u64());
    }
    assert_eq!(last["type"], "end");
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
    assert!(timeout(PATIENCE, tail.wait()).await.unwrap().unwrap().success());
    let head = program.get(&format!("/v1/sessions/{id}")).await.unwrap()["head"].as_u64();
    assert_eq!(head, offsets.last().copied());
}

#[tokio::test]
async fn a_publisher_that_is_quicker_than_the_disk_is_not_refused() {
    let place = Place::new().unwrap();
    let program =
        place.serve(&["--gladia-api-url", "http://127.0.0.1:9", "--max-sessions", "50"]).await.unwrap();
    for room in 0..20 {
        let session = program.start_push(&format!("room {room}"), json!({})).await.unwrap();
        let url = session["ingest"]["url"].as_str().unwrap().to_owned();
        let audio = AudioSource::Adts(MEETING_AAC.to_vec());
        let publisher = Publisher { url, audio, speed: 1.0, habits: Habits::default() };
        let published = publish(publisher, tokio::time::sleep(std::time::Duration::from_millis(50))).await;
        assert!(published.is_ok(), "room {room}: {published:?}");
    }
}

#[tokio::test]
async fn version_and_help_go_to_standard_output() {
    let version = run("", &["--version"]).await.unwrap();
    let parts: Vec<&str> = version.out.split_whitespace().collect();
    assert_eq!((version.code, parts[0], parts[1]), (0, "roomscribe", env!("CARGO_PKG_VERSION")));
    assert!(parts[2].len() >= 9 || version.out.contains("unknown commit"), "{}", version.out);
    for command in ["demo", "serve", "speech", "start", "stop", "list", "tail", "export"] {
        let help = run("", &[command, "--help"]).await.unwrap();
        assert_eq!(help.code, 0);
        assert!(help.out.contains(&format!("Usage: roomscribe {command}")), "{}", help.out);
        assert!(!help.out.contains('\u{1b}'), "escapes in a file");
        assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{}", help.out);
    }
    let nothing = run("", &[]).await.unwrap();
    assert_eq!(nothing.code, 64);
    assert!(nothing.line().contains("roomscribe demo"));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_command_quietly() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--gladia-api-url", "http://127.0.0.1:9"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let mut command = roomscribe().unwrap();
    command
        .args(["tail", session["id"].as_str().unwrap(), "--format", "json"])
        .env("ROOMSCRIBE_URL", &program.url);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = lines(&mut tail).unwrap();
    printed.next_line().await.unwrap().unwrap();
    drop(printed);
    program.stop_session(&session).await.unwrap();
    assert!(timeout(PATIENCE, tail.wait()).await.unwrap().unwrap().success());
}
