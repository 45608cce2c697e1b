//! An egress as LiveKit's is on the wire: a start burst, a stall of seconds, a connection that breaks and comes back
//! with headers at timestamp 0 and frames in stream time. The transcript's times stay true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::{Place, Viewer, repository};
use roomscribe_sims::egress::{AudioSource, Habits, Publisher, publish};
use roomscribe_sims::meeting::MEETING_AAC;
use serde_json::{Value, json};
use std::time::Duration;

/// When the turns of the meeting begin that follow a pause, milliseconds: the second comes after the stall, the third
/// after the cut.
fn turns() -> [f64; 3] {
    let text = std::fs::read_to_string(repository("tests/fixtures/meeting/reference.json")).unwrap();
    let turns: Vec<Value> = serde_json::from_str(&text).unwrap();
    [0, 1, 3].map(|turn| turns[turn]["startMs"].as_f64().unwrap())
}

#[tokio::test]
async fn times_stay_true_over_a_start_burst_a_stall_and_a_reconnect_in_stream_time() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let habits = Habits {
        start_burst: Duration::from_millis(600),
        stall: Some((Duration::from_secs(5), Duration::from_secs(3))),
        cut: Some(Duration::from_secs(11)),
        lost: Duration::from_millis(500),
    };
    let url = session["ingest"]["url"].as_str().unwrap().to_owned();
    // At its own speed: the clock over a reconnect is the wall's.
    let audio = AudioSource::Adts(MEETING_AAC.to_vec());
    let publisher = Publisher { url, audio, speed: 1.0, habits };
    let mut viewer = Viewer::new(&program.url, &session);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let last = turns()[2] - 500.0;
    let publishing = publish(publisher, async { stopped.await.unwrap_or_default() });
    let watching = async {
        let late =
            |viewer: &Viewer| viewer.of("final").iter().any(|event| event["startMs"].as_f64() >= Some(last));
        viewer.watch_until(late).await.unwrap();
        let _ = stop.send(());
    };
    let (published, ()) = tokio::join!(publishing, watching);
    assert_eq!(published.unwrap().connections, 2);
    program.stop_session(&session).await.unwrap();
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    let starts: Vec<f64> = viewer.of("final").iter().filter_map(|event| event["startMs"].as_f64()).collect();
    for turn in turns() {
        assert!(starts.iter().any(|start| (start - turn).abs() <= 300.0), "no final at {turn}: {starts:?}");
    }
    let gaps = viewer.of("gap");
    assert_eq!(gaps.len(), 1, "one hole, where audio was lost: {gaps:?}");
    let (from, to) = (gaps[0]["startMs"].as_f64().unwrap(), gaps[0]["endMs"].as_f64().unwrap());
    assert!((from - 11_000.0).abs() <= 150.0 && (to - 11_500.0).abs() <= 150.0, "{from}…{to}");
}
