//! `serve` with LiveKit: a session is an egress and words; its end leaves nothing; every trouble has its name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::command::run;
use roomscribe_e2e::livekit::*;
use roomscribe_e2e::{Place, Viewer, eventually, signal};
use roomscribe_sims::livekit::{Faults, Keys};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn ten_people_cost_one_egress_and_one_speech_session_and_the_end_leaves_neither() {
    let studio = Studio::open(1.0).await.unwrap();
    studio.people(10);
    let program = studio.serve().await.unwrap();
    let said = run(&program.url, &["start", ROOM, "--name", "cheap"]).await.unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("started cheap") && said.out.contains("captures  the LiveKit room standup"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("rtmp://"), "a key was shown: {}", said.out);
    let session = program.get("/v1/sessions/cheap").await.unwrap();
    let mut viewer = Viewer::new(&program.url, &session);
    hear(&mut viewer, 5).await.unwrap();
    let live = program.until(&path(&session), |now| now["state"] == "Live").await.unwrap();
    assert_eq!(live["captureMode"], "RoomComposite");
    assert!(live["ingest"].is_null(), "a key was shown: {live}");
    assert_eq!(run(&program.url, &["stop", "cheap"]).await.unwrap().code, 0);
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    let over = until_finished(&program, &session).await.unwrap();
    assert_eq!((&over["state"], &over["reason"]), (&"Succeeded".into(), &"Stopped".into()), "{over}");
    assert_eq!(viewer.events.last().unwrap()["reason"], "Stopped");
    assert!(studio.running().is_empty(), "{:?}", studio.running());
    let usage = &over["usage"];
    assert_eq!((studio.starts(), studio.speech.asked()), (1, 1));
    assert_eq!((&usage["speechSessions"], &usage["audioLostMs"]), (&1.into(), &0.into()), "{usage}");
    let (egress, speech) =
        (usage["egressSeconds"].as_u64().unwrap(), usage["speechSeconds"].as_u64().unwrap());
    assert!((4..60).contains(&speech) && egress >= speech && egress < speech + 10, "{usage}");
    viewer.assert_each_segment_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_starts_of_one_room_are_one_session_and_one_egress() {
    let studio = Studio::open(1.0).await.unwrap();
    studio.people(1);
    let program = studio.serve().await.unwrap();
    let starts = (0..10).map(|_| start(&program, ROOM));
    let ids: Vec<Value> = futures_util::future::join_all(starts)
        .await
        .into_iter()
        .map(|session| session.unwrap()["id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    program
        .until(&format!("/v1/sessions/{}", ids[0].as_str().unwrap()), |now| now["state"] == "Live")
        .await
        .unwrap();
    assert_eq!((studio.running().len(), studio.starts()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_not_there_is_waited_for_and_its_end_ends_the_session() {
    let studio = Studio::open(1.0).await.unwrap();
    let program = studio.serve().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    let waiting = until_reason(&program, &session, "WaitingForRoom").await.unwrap();
    assert_eq!((&waiting["state"], studio.starts()), (&"WaitingForRoom".into(), 0), "{waiting}");
    studio.people(1);
    let mut viewer = Viewer::new(&program.url, &session);
    hear(&mut viewer, 1).await.unwrap();
    assert!(studio.livekit.close_room(ROOM));
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    assert_eq!(viewer.events.last().unwrap()["reason"], "RoomEnded");
    assert_eq!(until_finished(&program, &session).await.unwrap()["reason"], "RoomEnded");
    assert!(studio.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_named_and_nothing_is_billed() {
    let studio = Studio::open(1.0).await.unwrap();
    studio.people(1);
    studio
        .livekit
        .set_keys(Keys { api_key: "devkey".into(), api_secret: "another-secret-of-thirty-two-bytes".into() });
    let program = studio.serve().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    let refused = until_reason(&program, &session, "CredentialsRefused").await.unwrap();
    assert!(refused["message"].as_str().unwrap().contains("LIVEKIT_API_SECRET"), "{refused}");
    assert_eq!((studio.starts(), studio.livekit.egresses().len(), studio.speech.asked()), (0, 0, 0));
    assert_eq!(refused["usage"]["speechSessions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_that_is_away_at_the_start_is_named_and_waited_for() {
    let away = Studio::open(1.0).await.unwrap().end_livekit();
    let program = away.serve().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    let unreachable = until_reason(&program, &session, "LiveKitUnreachable").await.unwrap();
    assert!(unreachable["message"].as_str().unwrap().contains("LIVEKIT_HTTP_URL"), "{unreachable}");
    let studio = away.come_back().await.unwrap();
    studio.people(1);
    let mut viewer = Viewer::new(&program.url, &session);
    hear(&mut viewer, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_that_is_away_at_the_stop_is_waited_for_until_the_deadline() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, mut viewer) = in_mid_meeting(&studio).await.unwrap();
    let away = studio.end_livekit();
    program.stop_session(&session).await.unwrap();
    let stopping = until_reason(&program, &session, "LiveKitUnreachable").await.unwrap();
    assert_eq!(stopping["state"], "Stopping");
    assert!(stopping["message"].as_str().unwrap().contains("Trying on until"), "{stopping}");
    program.kill().await.unwrap();
    age_stop(&away.place, &session);
    let program = away.serve().await.unwrap();
    let over = until_finished(&program, &session).await.unwrap();
    assert_eq!((&over["state"], &over["reason"]), (&"Succeeded".into(), &"Stopped".into()), "{over}");
    assert!(over["message"].as_str().unwrap().contains("did not confirm"), "{over}");
    viewer.watch_until(Viewer::has_ended).await.unwrap();
}

/// The stop was asked for six minutes ago.
fn age_stop(place: &Place, session: &Value) {
    let file = place.data_dir.join("sessions").join(session["id"].as_str().unwrap()).join("session.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(document["stopRequestedAt"].is_string(), "{document}");
    document["stopRequestedAt"] = "2026-01-01T00:00:00Z".into();
    std::fs::write(&file, document.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wedged_egress_is_replaced_and_the_hole_is_told() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, mut viewer) = in_mid_meeting(&studio).await.unwrap();
    let first = studio.running()[0].id.clone();
    studio.livekit.with_core(|core, now| assert!(core.wedge(&first, now)));
    let gaps = |viewer: &Viewer| viewer.of("gap").len();
    viewer.watch_until(|viewer| gaps(viewer) == 1).await.unwrap();
    hear(&mut viewer, 2).await.unwrap();
    let gap = viewer.of("gap")[0].clone();
    assert!(gap["endMs"].as_u64().unwrap() - gap["startMs"].as_u64().unwrap() < 30_000, "{gap}");
    eventually(|| async { studio.running().iter().filter(|egress| egress.id != first).count() == 1 })
        .await
        .unwrap();
    assert_eq!(studio.starts(), 2);
    program.stop_session(&session).await.unwrap();
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    viewer.assert_each_segment_once();
    studio.until_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_that_has_forgotten_its_rooms_for_a_moment_does_not_end_the_session() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, mut viewer) = in_mid_meeting(&studio).await.unwrap();
    let first = studio.running()[0].id.clone();
    // The look at the room that came before the start is old by then.
    hear(&mut viewer, 12).await.unwrap();
    studio.livekit.set_faults(|faults| faults.forgotten_rooms = 1);
    // Its egresses die with it, and the list knows them still.
    studio.livekit.with_core(|core, _| assert!(core.vanish(&first)));
    hear(&mut viewer, 3).await.unwrap();
    assert_eq!((studio.starts(), viewer.of("end").len()), (2, 0));
    assert!(studio.livekit.calls()["ListRooms 200"] >= 3, "nobody looked: {:?}", studio.livekit.calls());
    program.stop_session(&session).await.unwrap();
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    assert_eq!(viewer.events.last().unwrap()["reason"], "Stopped");
    viewer.assert_each_segment_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_without_room_for_an_egress_is_named_and_asked_again() {
    // LiveKit answers 503 after 22.4 s of its own clock.
    let studio = Studio::open(20.0).await.unwrap();
    studio.people(1);
    studio.livekit.set_faults(|faults| faults.no_worker = true);
    let program = studio.serve().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    until_reason(&program, &session, "CapacityExhausted").await.unwrap();
    studio.livekit.set_faults(|faults| *faults = Faults::default());
    let mut viewer = Viewer::new(&program.url, &session);
    hear(&mut viewer, 1).await.unwrap();
    assert_eq!(studio.running().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_on_one_livekit_never_touch_each_other_s_egresses() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, mut viewer) = in_mid_meeting(&studio).await.unwrap();
    let ours = studio.running()[0].id.clone();
    let elsewhere = Place::new().unwrap();
    let other = elsewhere.run(studio.command(&elsewhere).unwrap()).await.unwrap();
    let theirs = start(&other, ROOM).await.unwrap();
    let mut their_viewer = Viewer::new(&other.url, &theirs);
    hear(&mut their_viewer, 2).await.unwrap();
    assert_eq!(studio.running().len(), 2);
    // Both start again: their collectors look at every egress.
    other.kill().await.unwrap();
    let other = elsewhere.run(studio.command(&elsewhere).unwrap()).await.unwrap();
    hear(&mut their_viewer, 2).await.unwrap();
    other.stop_session(&theirs).await.unwrap();
    their_viewer.watch_until(Viewer::has_ended).await.unwrap();
    hear(&mut viewer, 2).await.unwrap();
    eventually(|| async { studio.running().len() == 1 }).await.unwrap();
    assert_eq!(studio.running()[0].id, ours, "the other installation's end cost us our egress");
    program.stop_session(&session).await.unwrap();
    studio.until_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_session_and_one_egress() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, mut viewer) = in_mid_meeting(&studio).await.unwrap();
    program.kill().await.unwrap();
    let program = studio.serve().await.unwrap();
    hear(&mut viewer, 3).await.unwrap();
    eventually(|| async { studio.running().len() == 1 }).await.unwrap();
    assert_eq!(program.terminate().await.unwrap(), 0);
    let program = studio.serve().await.unwrap();
    hear(&mut viewer, 3).await.unwrap();
    eventually(|| async { studio.running().len() == 1 }).await.unwrap();
    viewer.assert_each_segment_once();
    program.stop_session(&session).await.unwrap();
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    studio.until_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_whose_session_is_unknown_is_stopped_at_the_next_start() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, _) = in_mid_meeting(&studio).await.unwrap();
    program.kill().await.unwrap();
    let folder = studio.place.data_dir.join("sessions").join(session["id"].as_str().unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    let _program = studio.serve().await.unwrap();
    studio.until_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_in_mid_meeting_ends_the_egress_too() {
    let studio = Studio::open(1.0).await.unwrap();
    let (program, session, _) = in_mid_meeting(&studio).await.unwrap();
    let url = format!("{}{}/transcript", program.url, path(&session));
    let erased = reqwest::Client::new().delete(&url).send().await.unwrap();
    assert_eq!(erased.status(), 202);
    assert!(studio.running().is_empty(), "{:?}", studio.running());
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 410);
    let over = program.get(&path(&session)).await.unwrap();
    assert!(over["completedAt"].is_string(), "{over}");
}

#[tokio::test]
async fn a_loopback_address_for_a_livekit_elsewhere_is_said_at_the_start_and_in_the_session() {
    let place = Place::new().unwrap();
    let mut command = place.command(&["--gladia-api-url", "http://127.0.0.1:9"]).unwrap();
    command.envs(settings("http://livekit.invalid:7880")).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut err = child.stderr.take().unwrap();
    let program = place.watch().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    let told = until_reason(&program, &session, "AddressLoopback").await.unwrap();
    assert!(told["message"].as_str().unwrap().contains("RTMP_HOST"), "{told}");
    program.stop_session(&session).await.unwrap();
    assert_eq!(until_finished(&program, &session).await.unwrap()["reason"], "Stopped");
    signal(&child, "TERM").await.unwrap();
    child.wait().await.unwrap();
    let mut said = String::new();
    err.read_to_string(&mut said).await.unwrap();
    assert!(
        said.lines().any(|line| line.starts_with("RTMP_HOST: ") && line.contains("AddressLoopback")),
        "{said}"
    );
}

#[tokio::test]
async fn without_livekit_a_start_names_the_settings_and_the_way_without() {
    let place = Place::new().unwrap();
    let program = place.serve(&["--gladia-api-url", "http://127.0.0.1:9"]).await.unwrap();
    let refused = run(&program.url, &["start", ROOM]).await.unwrap();
    assert_eq!(refused.code, 69, "{}", refused.err);
    for part in ["LIVEKIT_HTTP_URL", "--capture push", "501"] {
        assert!(refused.line().contains(part), "{part}: {}", refused.err);
    }
}
