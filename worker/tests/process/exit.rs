//! Exit codes (contract §6), and what the last line of standard error says.

use crate::publisher::Publisher;
use crate::stage::{ID, Speech, Stage};
use roomscribe_worker::faults::POISON;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Runs a worker that cannot start; its exit code and its words.
async fn refused(stage: &Stage, change: impl FnOnce(&mut Command) -> &mut Command) -> (i32, String) {
    let mut command = stage.command();
    command.arg("--session").arg(stage.session_file(1));
    change(&mut command);
    words(command).await
}

async fn refused_file(stage: &Stage, file: &Path) -> (i32, String) {
    let mut command = stage.command();
    command.arg("--session").arg(file);
    words(command).await
}

async fn words(mut command: Command) -> (i32, String) {
    let output = command.stderr(Stdio::piped()).output().await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn assert_names(outcome: &(i32, String), code: i32, setting: &str) {
    let (seen, said) = outcome;
    assert_eq!(*seen, code, "{said}");
    assert!(!said.contains("c2hvcnQ"), "the secret is shown: {said}");
    assert!(said.contains(setting) && said.trim_end().lines().count() == 1, "{setting}: {said}");
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_is_64_and_one_line_that_names_it() {
    let stage = Stage::new("http://127.0.0.1:1");
    let bad = stage.dir.path().join("bad.json");
    let with = |text: &str| {
        std::fs::write(&bad, text).unwrap();
        bad.clone()
    };
    for (text, named) in [
        ("{", "EOF"),
        (r#"{"v":1,"session":"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000","gen":1,"roomName":"x"}"#, "secret"),
        (
            r#"{"v":1,"secret":"c2hvcnQ","session":"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000","gen":1,"roomName":"x"}"#,
            "secret",
        ),
        (
            r#"{"v":1,"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","session":"../etc","gen":1,"roomName":"x"}"#,
            "--session",
        ),
    ] {
        assert_names(&refused_file(&stage, &with(text)).await, 64, named);
    }
    assert_names(
        &refused(&stage, |command| command.args(["--grace-seconds", "soon"])).await,
        64,
        "--grace-seconds",
    );
    assert_names(&refused(&stage, |command| command.arg("--nonsense")).await, 64, "--nonsense");
    assert_names(&refused(&stage, |command| command.env("RUST_LOG", "a=b=c")).await, 64, "RUST_LOG");
    assert_names(
        &refused(&stage, |command| command.env("GLADIA_API_KEY", "two words")).await,
        64,
        "GLADIA_API_KEY",
    );
    let mut elsewhere = Stage::new("gladia");
    assert_names(&refused(&elsewhere, |command| command).await, 64, "GLADIA_API_URL");
    elsewhere.speech_url = "https://api.gladia.io".into();
    assert_names(
        &refused(&elsewhere, |command| command.env("GLADIA_API_KEY", "")).await,
        64,
        "GLADIA_API_KEY",
    );
}

#[tokio::test]
async fn a_taken_port_and_an_unusable_folder_are_69_and_one_line_that_names_them() {
    let mut stage = Stage::new("http://127.0.0.1:1");
    let taken = std::net::TcpListener::bind(("127.0.0.1", stage.rtmp)).unwrap();
    assert_names(&refused(&stage, |command| command).await, 69, "RTMP_LISTEN");
    drop(taken);
    let taken = std::net::TcpListener::bind(("127.0.0.1", stage.admin)).unwrap();
    assert_names(&refused(&stage, |command| command).await, 69, "METRICS_LISTEN");
    drop(taken);
    std::fs::write(&stage.data, "a file").unwrap();
    assert_names(&refused(&stage, |command| command).await, 69, "DATA_DIR");
    stage.data = "/proc/nowhere".into();
    assert_names(&refused(&stage, |command| command).await, 69, "DATA_DIR");
}

#[tokio::test]
async fn a_pipeline_that_panics_again_and_again_ends_with_75_so_that_the_next_process_tries() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    for _ in 0..6 {
        publisher.inject(POISON);
    }
    assert_eq!(worker.ended().await.code(), Some(75), "{}", stage.stderr());
}

#[tokio::test]
async fn a_refused_key_is_said_at_once_asked_once_and_is_78_in_the_end_while_the_port_stays() {
    let speech = Speech::start(json!({"post": {"status": 401}}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    worker.until_status(|status| status["speech"]["reason"] == "CredentialsRejected").await;
    let status = worker.status().await;
    assert_eq!((&status["speech"]["state"], &status["state"]), (&json!("refused"), &json!("publishing")));
    stage.until_events(|events| statuses(events).contains(&"CredentialsRejected")).await;
    publisher.reach(3.0).await;
    let asked = worker.metric("roomscribe_worker_speech_requests_total{reason=\"refused\"}").await;
    assert_eq!(asked, 1, "a refused key is asked again and again");
    assert!(publisher.holes().is_empty(), "the port closed: LiveKit would start egress after egress");
    drop(publisher);
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(78), "{}", stage.stderr());
}

#[tokio::test]
async fn a_worker_that_a_later_attempt_has_replaced_ends_with_0_and_writes_nothing() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    write_as_attempt_2(&stage).await;
    let before = stage.events();
    let mut worker = stage.worker().await;
    let _publisher = Publisher::start(&stage.url(1), 1.0).await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    assert_eq!(stage.events(), before);
}

async fn write_as_attempt_2(stage: &Stage) {
    use roomscribe_transcript::{Append, Event, Generation, Log, Offset, SessionId, Status, file::FileLog};
    let log = Log::File(std::sync::Arc::new(FileLog::open(&stage.data).unwrap()));
    let id = SessionId::parse(ID).unwrap();
    log.open(&id).await.unwrap();
    let status = Status { state: "Live".into(), reason: "x".into(), message: String::new() };
    let append = Append {
        generation: Generation(2),
        expected_head: Offset(0),
        event: Event::Status(status),
        note: None,
    };
    log.append(&id, append).await.unwrap();
}

fn statuses(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter(|event| event["type"] == "status")
        .filter_map(|event| event["reason"].as_str())
        .collect()
}
