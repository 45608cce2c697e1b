//! `:9090`, and what must never be seen there or in the log.

use crate::publisher::Publisher;
use crate::stage::{API_KEY, PATIENCE, Speech, Stage, Worker};
use crate::tones::numbers;
use roomscribe_sims::rtmp_client::{Client, target};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

async fn poll(worker: &Worker, since: &Value, seconds: u64) -> Value {
    let (status, text) = worker.get(&format!("/status?since={since}&waitSeconds={seconds}")).await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_long_poll_answers_at_the_change_of_publisher_silence_speech_and_error_and_else_after_its_wait() {
    let speech = Speech::start(json!({}));
    let (port, stage) = (speech.port, Stage::new(&speech.url()));
    let worker = stage.worker().await;
    let first = worker.status().await;
    assert_eq!((&first["v"], &first["state"]), (&json!(1), &json!("listening")));
    let begun = Instant::now();
    assert_eq!(poll(&worker, &first["version"], 1).await["version"], first["version"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the poll did not wait");
    assert_eq!(poll(&worker, &json!(3), 50).await["version"], first["version"], "another process's version");

    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    let until = async |condition: &dyn Fn(&Value) -> bool| {
        let mut report = worker.status().await;
        while !condition(&report) {
            report =
                timeout(PATIENCE, poll(&worker, &report["version"], 50)).await.expect("the poll slept on");
        }
    };
    until(&|report| report["publisher"]["attempt"] == 1 && report["state"] == "publishing").await;
    until(&|report| report["speech"]["state"] == "live").await;
    drop(speech);
    until(&|report| report["speech"]["reason"] == "SpeechUnreachable" && report["lastError"].is_string())
        .await;
    let speech = Speech::at(port, json!({}));
    until(&|report| report["speech"]["state"] == "live").await;
    publisher.pause();
    until(&|report| report["state"] == "silent" && report["publisher"]["attempt"] == 1).await;
    drop(publisher);
    until(&|report| report["state"] == "listening" && report["publisher"].is_null()).await;
    drop(speech);
}

#[tokio::test]
async fn a_wrong_query_is_400_and_names_its_field() {
    let stage = Stage::new("http://127.0.0.1:1");
    let worker = stage.worker().await;
    for (query, named) in [
        ("since=soon", "since"),
        ("since=-1", "since"),
        ("since=1&waitSeconds=x", "waitSeconds"),
        ("since=1&waitSeconds=3600", "waitSeconds"),
        ("sinse=1", "sinse"),
    ] {
        let (status, text) = worker.get(&format!("/status?{query}")).await.unwrap();
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(named), "{query}: {text}");
    }
    assert_eq!(worker.get("/nowhere").await.unwrap().0, 404);
}

#[tokio::test]
async fn no_secret_and_no_spoken_word_is_in_metrics_status_or_log_even_at_debug_and_trace_of_others() {
    let speech = Speech::start(json!({"error": {"atSeconds": 1.0, "code": "x", "message": "m"}}));
    let mut stage = Stage::new(&speech.url());
    // The narrowest directives, as somebody sets them who wants to see frames.
    stage.log = "trace,tungstenite=trace,tungstenite::protocol=trace,tungstenite::handshake::client=trace,hyper_util::client=trace,reqwest=trace";
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&1)).await;
    let metrics = worker.get("/metrics").await.unwrap().1;
    let status = worker.get("/status").await.unwrap().1;
    drop(publisher);
    let stranger = format!("{}x", stage.url(1));
    let stranger = target(&stranger).unwrap();
    assert!(Client::publish(&stranger).await.is_err());
    let key = stage.url(1).rsplit('/').next().unwrap().to_owned();
    for (place, text) in [("metrics", metrics.clone()), ("status", status), ("log", stage.stderr())] {
        for (what, secret) in [
            ("stream key", key.as_str()),
            ("API key", API_KEY),
            ("speech token", "token="),
            ("words", "tone0"),
        ] {
            assert!(!text.contains(secret), "{place} holds the {what}: {text}");
        }
    }
    assert!(stage.stderr().contains("publisher accepted"), "nothing was logged at all");
    assert_is_openmetrics(&metrics);
}

/// The grammar of OpenMetrics 1.0 as far as counters and gauges use it.
fn assert_is_openmetrics(text: &str) {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut kind = (String::new(), String::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (keyword, name, value) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            assert!(["HELP", "TYPE", "UNIT"].contains(&keyword), "{line}");
            if keyword == "TYPE" {
                kind = (name.to_owned(), value.to_owned());
                assert!(["counter", "gauge"].contains(&value), "{line}");
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        assert!(
            name.starts_with("roomscribe_worker_")
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{line}"
        );
        let expected = if kind.1 == "counter" { format!("{}_total", kind.0) } else { kind.0.clone() };
        assert_eq!(name, expected, "{line}");
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            assert!(labels.starts_with("{reason=\"") && labels.ends_with("\"}"), "{line}");
        }
    }
}
