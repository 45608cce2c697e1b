//! The speech service refuses, is away, or dies in mid-sentence: the session says so, and goes on by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::speech::{Front, Mood, Scripted, sentences};
use roomscribe_e2e::{Place, Program, Viewer, ffmpeg, repository};
use serde_json::{Value, json};

async fn started(front: &Front) -> (Place, Program, Value) {
    let place = Place::new().unwrap();
    let program = place.serve(&["--gladia-api-url", &front.url, "--gladia-api-key", "k"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    (place, program, session)
}

fn path(session: &Value) -> String {
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

fn script() -> Value {
    sentences(100, 1.0, 0.6, |n| format!("Sentence {n}."))
}

#[tokio::test]
async fn a_quota_is_named_and_waited_out() {
    let speech = Scripted::start(&script()).await.unwrap();
    let front = Front::start(&speech.address, Mood::Refuse(429)).await.unwrap();
    let (_place, program, session) = started(&front).await;
    let _publisher =
        ffmpeg(&repository("tests/fixtures/meeting/meeting.aac"), session["ingest"]["url"].as_str().unwrap())
            .unwrap();
    program.until(&path(&session), |now| now["reason"] == "RateLimited").await.unwrap();
    front.set(Mood::Open);
    program.until(&path(&session), |now| now["state"] == "Live").await.unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    viewer.watch_until(|viewer| viewer.finals().len() >= 3).await.unwrap();
    assert_eq!(viewer.finals()[0], "Sentence 0.", "what was said before the quota was lifted is lost");
}

#[tokio::test]
async fn a_service_that_is_away_is_named_and_everything_said_meanwhile_comes_later() {
    let speech = Scripted::start(&script()).await.unwrap();
    let front = Front::start(&speech.address, Mood::Deaf).await.unwrap();
    let (_place, program, session) = started(&front).await;
    let _publisher =
        ffmpeg(&repository("tests/fixtures/meeting/meeting.aac"), session["ingest"]["url"].as_str().unwrap())
            .unwrap();
    let away = program.until(&path(&session), |now| now["state"] == "Recovering").await.unwrap();
    assert!(away["message"].as_str().unwrap().contains("GLADIA_API_URL"), "{away}");
    front.set(Mood::Open);
    let mut viewer = Viewer::new(&program.url, &session);
    viewer.watch_until(|viewer| viewer.finals().len() >= 3).await.unwrap();
    assert_eq!(viewer.finals()[0], "Sentence 0.");
    assert!(viewer.of("gap").is_empty(), "an outage of seconds lost audio");
}

#[tokio::test]
async fn a_service_that_is_killed_in_mid_sentence_loses_no_final_and_doubles_none() {
    let mut speech = Scripted::start(&script()).await.unwrap();
    let front = Front::start(&speech.address, Mood::Open).await.unwrap();
    let (_place, program, session) = started(&front).await;
    let _publisher =
        ffmpeg(&repository("tests/fixtures/meeting/meeting.aac"), session["ingest"]["url"].as_str().unwrap())
            .unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    viewer.watch_until(|viewer| viewer.finals().len() >= 3).await.unwrap();
    speech.kill_and_restart().await.unwrap();
    front.cut().await;
    let before: Vec<String> = viewer.finals().into_iter().map(str::to_owned).collect();
    viewer.watch_until(|viewer| viewer.finals().len() >= before.len() + 3).await.unwrap();
    viewer.assert_each_segment_once();
    assert_eq!(viewer.finals()[..before.len()], before[..]);
    assert!(viewer.of("gap").is_empty(), "no audio was lost: it was kept");
    let starts: Vec<u64> = viewer.of("final").iter().filter_map(|event| event["startMs"].as_u64()).collect();
    assert!(starts.windows(2).all(|pair| pair[0] < pair[1]), "{starts:?}");
    assert!(front.bodies().len() >= 2, "a new speech session was asked for");
}
