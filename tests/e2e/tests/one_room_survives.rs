//! `serve --speech local`, a real ffmpeg, two viewers: killing and restarting any one loses and doubles nothing.

use roomscribe_e2e::{Place, Viewer, ffmpeg, repository};
use serde_json::json;
use std::path::PathBuf;

fn speech() -> PathBuf {
    repository("tests/fixtures/meeting/meeting.aac")
}

/// Enough of the meeting to be in mid-conversation.
fn has_finals(count: usize) -> impl FnMut(&Viewer) -> bool {
    move |viewer| viewer.finals().len() >= count
}

fn has_ended(viewer: &Viewer) -> bool {
    viewer.events.last().is_some_and(|event| event["type"] == "end")
}

#[tokio::test]
async fn two_viewers_of_one_push_session_see_the_same_finals_each_once() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let mut publisher = ffmpeg(&speech(), session["ingest"]["url"].as_str().unwrap()).unwrap();
    let (mut first, mut second) = (Viewer::new(&program.url, &session), Viewer::new(&program.url, &session));
    let (one, two) = tokio::join!(first.watch_until(has_finals(3)), second.watch_until(has_finals(3)));
    one.unwrap();
    two.unwrap();
    publisher.kill().await.unwrap();
    assert_eq!(first.finals()[..3], second.finals()[..3]);
    assert!(first.partials > 0, "no partial was shown");
    first.assert_each_segment_once();
}

#[tokio::test]
async fn a_kill_of_serve_in_mid_sentence_loses_no_final_and_doubles_none() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let url = session["ingest"]["url"].as_str().unwrap().to_owned();
    let mut viewer = Viewer::new(&program.url, &session);
    let mut publisher = ffmpeg(&speech(), &url).unwrap();
    viewer.watch_until(has_finals(2)).await.unwrap();
    program.kill().await.unwrap();
    let before: Vec<String> = viewer.finals().into_iter().map(str::to_owned).collect();
    publisher.wait().await.unwrap();

    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let _publisher = ffmpeg(&speech(), &url).unwrap();
    viewer.watch_until(has_finals(before.len() + 3)).await.unwrap();
    viewer.assert_each_segment_once();
    assert_eq!(viewer.finals()[..before.len()], before[..], "a final that was shown has changed");
    let again = program.get(&format!("/v1/sessions/{}", session["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(
        again["ingest"]["url"], session["ingest"]["url"],
        "the publisher's URL must outlive a restart"
    );
}

#[tokio::test]
async fn a_publisher_that_is_killed_and_restarted_goes_on_in_the_same_transcript() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let url = session["ingest"]["url"].as_str().unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    let mut publisher = ffmpeg(&speech(), url).unwrap();
    viewer.watch_until(has_finals(2)).await.unwrap();
    publisher.kill().await.unwrap();
    let _publisher = ffmpeg(&speech(), url).unwrap();
    let count = viewer.finals().len();
    viewer.watch_until(has_finals(count + 2)).await.unwrap();
    viewer.assert_each_segment_once();
    let starts: Vec<u64> = viewer
        .events
        .iter()
        .filter(|event| event["type"] == "final")
        .filter_map(|event| event["startMs"].as_u64())
        .collect();
    assert!(starts.windows(2).all(|pair| pair[0] <= pair[1]), "media time runs backwards: {starts:?}");
}

#[tokio::test]
async fn a_stopped_session_ends_for_its_viewers_and_is_served_after_a_restart() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let id = session["id"].as_str().unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    let _publisher = ffmpeg(&speech(), session["ingest"]["url"].as_str().unwrap()).unwrap();
    viewer.watch_until(has_finals(2)).await.unwrap();
    let stop =
        reqwest::Client::new().delete(format!("{}/v1/sessions/{id}", program.url)).send().await.unwrap();
    assert!(stop.status().is_success());
    viewer.watch_until(has_ended).await.unwrap();
    assert_eq!(program.terminate().await.unwrap(), 0);
    assert!(!place.data_dir.join("sessions").join(id).join("spool").exists(), "its audio is still there");

    let program = place.serve(&["--speech", "local"]).await.unwrap();
    let mut later = Viewer::new(&program.url, &session);
    later.watch_until(has_ended).await.unwrap();
    assert_eq!(later.events, viewer.events);
    let text = reqwest::get(format!("{}/v1/sessions/{id}/transcript?format=txt", program.url))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains(viewer.finals()[0]), "the export lacks the first final");
}

#[tokio::test]
async fn a_speech_service_that_refuses_the_key_is_named_and_not_asked_for_ever() {
    let place = Place::new().unwrap();
    let refusing = roomscribe_e2e::speech::refusing().await.unwrap();
    let program =
        place.serve(&["--gladia-api-url", &refusing.url, "--gladia-api-key", "wrong"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let _publisher = ffmpeg(&speech(), session["ingest"]["url"].as_str().unwrap()).unwrap();
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    roomscribe_e2e::eventually(|| async {
        program.get(&path).await.is_ok_and(|now| now["reason"] == "CredentialsRejected")
    })
    .await
    .unwrap();
    let asked = refusing.asked();
    assert!(asked <= 2, "a refused key was tried {asked} times");
}

#[tokio::test]
async fn a_publisher_whose_audio_is_not_aac_is_named_in_the_session_document() {
    let place = Place::new().unwrap();
    let refusing = roomscribe_e2e::speech::refusing().await.unwrap();
    let program = place.serve(&["--gladia-api-url", &refusing.url, "--gladia-api-key", "any"]).await.unwrap();
    let session = program.start_push("standup", json!({})).await.unwrap();
    let url = session["ingest"]["url"].as_str().unwrap();
    let arguments = ["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "sine=d=60"];
    let _publisher = tokio::process::Command::new("ffmpeg")
        .args(arguments)
        .args(["-c:a", "libmp3lame", "-f", "flv", url])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    roomscribe_e2e::eventually(|| async {
        let now = program.get(&path).await;
        now.is_ok_and(|now| {
            now["reason"] == "UnsupportedAudio"
                && now["message"].as_str().is_some_and(|text| text.contains("AAC"))
        })
    })
    .await
    .unwrap();
}
