//! What `serve` says of a LiveKit room that it captures: in its log, at its start, and in the session.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::livekit::*;
use roomscribe_e2e::{Viewer, eventually};
use roomscribe_sims::livekit::Microphone;

/// Words of a world that somebody with a `.env` does not live in.
const FOREIGN: &[&str] =
    &["Secret", "pod", "Pod", "PodPending", "Service", "kubectl", "namespace", "node", "Everything"];

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_whole_life_warns_of_nothing_and_every_line_has_words_that_its_reader_knows() {
    let studio = Studio::open(1.0).await.unwrap();
    let (child, _program, _, mut viewer) = in_mid_meeting_with_log(&studio).await.unwrap();
    assert!(studio.livekit.set_microphone(ROOM, "speaker-0", Microphone::Muted));
    assert!(studio.livekit.set_microphone(ROOM, "speaker-0", Microphone::Open));
    hear(&mut viewer, 1).await.unwrap();
    // Stopped in mid-meeting: its egress goes on knocking until the process is gone.
    let log = last_log(child).await.unwrap();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains(" INFO ") || line.contains(" WARN ")).collect();
    assert!(lines.iter().any(|line| line.contains("LiveKit is asked for an egress, attempt 1")), "{log}");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    for line in lines {
        let words = line.split(|c: char| !c.is_alphanumeric());
        assert_eq!(words.filter(|word| FOREIGN.contains(word)).count(), 0, "{line}");
        let message = line.split_once(": ").map_or("", |(_, message)| message);
        assert!(!message.starts_with("session=") && !message.trim().is_empty(), "no words: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egresses_that_knock_at_a_process_that_is_leaving_are_no_wrong_keys() {
    let studio = Studio::open(1.0).await.unwrap();
    let rooms: Vec<String> = (0..6).map(|number| format!("room-{number}")).collect();
    for room in &rooms {
        studio.livekit.join(room, &speaker("ada"));
    }
    let (child, program) = studio.serve_and_listen().await.unwrap();
    for room in &rooms {
        let session = start(&program, room).await.unwrap();
        hear(&mut Viewer::new(&program.url, &session), 1).await.unwrap();
    }
    let log = last_log(child).await.unwrap();
    assert!(!log.contains(" WARN "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_a_session_whose_egress_s_machine_has_died_says_what_it_waits_for_and_ends() {
    let studio = Studio::open(1.0).await.unwrap();
    let (child, program, session, mut viewer) = in_mid_meeting_with_log(&studio).await.unwrap();
    let id = studio.running()[0].id.clone();
    studio.livekit.with_core(|core, _| assert!(core.vanish(&id)));
    program.stop_session(&session).await.unwrap();
    let stopping = until_reason(&program, &session, "Draining").await.unwrap();
    let told = stopping["message"].as_str().unwrap();
    assert!(told.contains(&id) && told.contains("LiveKit"), "{told}");
    let over = until_finished(&program, &session).await.unwrap();
    assert_eq!((&over["state"], &over["reason"]), (&"Succeeded".into(), &"Stopped".into()), "{over}");
    viewer.watch_until(Viewer::has_ended).await.unwrap();
    let log = last_log(child).await.unwrap();
    assert!(!log.contains("cannot be asked"), "{log}");
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    assert_eq!(studio.livekit.calls().get("StopEgress 408"), Some(&2), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_to_listen_on_is_none_to_publish_to_even_beside_livekit() {
    let studio = Studio::open(1.0).await.unwrap();
    studio.people(1);
    let mut command = studio.command(&studio.place).unwrap();
    let mut child = command.env("RTMP_HOST", "0.0.0.0").stderr(std::process::Stdio::piped()).spawn().unwrap();
    let program = studio.place.watch().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    let told = until_reason(&program, &session, "AddressLoopback").await.unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("RTMP_HOST") && !message.contains("elsewhere"), "{message}");
    assert_eq!(studio.starts(), 0);
    child.stdout.take();
    let log = last_log(child).await.unwrap();
    assert!(log.lines().any(|line| line.starts_with("RTMP_HOST: 0.0.0.0 ")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_asked_seldom_and_warned_of_once() {
    let studio = Studio::open(1.0).await.unwrap();
    studio.people(1);
    studio.livekit.set_keys(roomscribe_sims::livekit::Keys {
        api_key: "devkey".into(),
        api_secret: "another-secret-of-thirty-two-bytes".into(),
    });
    let (child, program) = studio.serve_and_listen().await.unwrap();
    let session = start(&program, ROOM).await.unwrap();
    until_reason(&program, &session, "CredentialsRefused").await.unwrap();
    // The collector's first look, and the session's.
    eventually(|| async { studio.livekit.calls().get("ListEgress 401").is_some_and(|asked| *asked >= 2) })
        .await
        .unwrap();
    let more = tokio::time::timeout(
        std::time::Duration::from_secs(3),
        eventually(|| async { studio.livekit.calls().values().sum::<u64>() > 6 }),
    );
    assert!(more.await.is_err(), "a storm: {:?}", studio.livekit.calls());
    let log = last_log(child).await.unwrap();
    assert!(log.matches("LIVEKIT_API_SECRET").count() <= 2, "{log}");
}
