//! Our client against the simulated LiveKit: every call, every kind of error, and no secret in any text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{KEY, SECRET, STREAM_KEY, World, client, keys};
use livekit_protocol::EgressStatus as Status;
use roomscribe_livekit::{ApiError, ErrorKind};
use roomscribe_sims::livekit::{LostAnswer, Microphone, Person};
use roomscribe_sims::rtmp_sink::Behaviour;
use std::time::{Duration, Instant};

fn assert_no_secret(error: &ApiError) {
    let text = format!("{error} {error:?}");
    for secret in [SECRET, STREAM_KEY, "eyJ"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn an_egress_is_started_found_by_its_url_moved_and_stopped() {
    let world = World::new(None).await;
    let id = world.feeding().await;
    let view = world.client.list_egress(None).await.unwrap().remove(0);
    assert_eq!(
        (view.id.as_str(), view.room.as_str(), view.status),
        (id.as_str(), "standup", Status::EgressActive)
    );
    assert_eq!((view.tag.install.as_str(), view.tag.attempt, view.uses_chrome), ("0a1b2c3d", 1, false));
    assert_eq!(view.tag.session, "7c9e6679-7425-40de-944b-e07fc1f90ae7");
    assert!(view.started_at_ns > 1_700_000_000_000_000_000 && view.ended_at_ns == 0);
    world.client.update_stream(&id, &world.url(2), &world.url(1)).await.unwrap();
    world
        .until("audio at the second", |world| {
            world.sink.publishes().get(1).is_some_and(|p| !p.frames.is_empty())
        })
        .await;
    assert_eq!(world.client.list_egress(Some("standup")).await.unwrap()[0].tag.attempt, 2);
    world.client.stop_egress(&id).await.unwrap();
    world.until("the end", |world| world.livekit.egresses()[0].status == "EGRESS_COMPLETE").await;
    world.client.stop_egress(&id).await.unwrap();
    assert!(world.client.list_egress(None).await.unwrap()[0].ended_at_ns > 0);
    let calls = world.livekit.calls();
    assert_eq!(
        (calls["StartRoomCompositeEgress 200"], calls["StopEgress 200"], calls["StopEgress 412"]),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn an_egress_that_waits_for_media_is_starting() {
    let world = World::new(None).await;
    world.livekit.set_microphone("standup", "ada", Microphone::Muted);
    world.client.start_room_composite("standup", &world.url(1)).await.unwrap();
    assert_eq!(world.client.list_egress(None).await.unwrap()[0].status, Status::EgressStarting);
}

#[tokio::test]
async fn somebody_else_s_egress_is_not_in_our_list() {
    let world = World::new(None).await;
    world
        .client
        .start_room_composite("standup", &world.sink.url("live2", "their-key-of-youtube"))
        .await
        .unwrap();
    assert_eq!(world.livekit.egresses().len(), 1);
    assert!(world.client.list_egress(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end() {
    let world = World::new(None).await;
    for attempt in 1..=5 {
        world.client.start_room_composite("standup", &world.url(attempt)).await.unwrap();
    }
    world.livekit.set_faults(|faults| faults.list_page = Some(2));
    let attempts: Vec<u32> =
        world.client.list_egress(None).await.unwrap().iter().map(|view| view.tag.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
    assert_eq!(world.livekit.calls()["ListEgress 200"], 3);
}

#[tokio::test]
async fn a_room_is_asked_for_its_people_and_open_microphones() {
    let world = World::new(None).await;
    let bea = Person { identity: "bea".into(), microphone: Microphone::Muted, ..Person::default() };
    let agent = Person { identity: "bot".into(), agent: true, ..Person::default() };
    let observer = Person { identity: "observer".into(), hidden: true, ..Person::default() };
    [bea, agent, observer].iter().for_each(|person| world.livekit.join("standup", person));
    world.feeding().await;
    let people = world.client.room("standup").await.unwrap().unwrap();
    assert_eq!((people.participants, people.open_microphones), (2, 1));
    assert_eq!(world.client.room("nobody").await.unwrap(), None);
}

#[tokio::test]
async fn refused_credentials_are_never_taken_for_the_network() {
    let world = World::new(None).await;
    let url = world.livekit.url();
    let wrong_secret =
        client(&url, KEY, "another-secret-of-thirty-two-chars").list_egress(None).await.unwrap_err();
    let wrong_key = client(&url, "APIother", SECRET).list_egress(None).await.unwrap_err();
    world.livekit.set_keys(keys(KEY, "rotated-secret-of-thirty-two-chars"));
    let rotated = world.client.start_room_composite("standup", &world.url(1)).await.unwrap_err();
    for error in [wrong_secret, wrong_key, rotated] {
        assert_eq!(
            (error.kind, error.status, error.code.as_str()),
            (ErrorKind::CredentialsRefused, Some(401), "")
        );
        assert_no_secret(&error);
    }
    assert!(world.livekit.egresses().is_empty());
}

#[tokio::test]
async fn a_missing_room_is_404_and_a_bad_url_400() {
    let world = World::new(None).await;
    let missing = world.client.start_room_composite("nobody", &world.url(1)).await.unwrap_err();
    assert_eq!((missing.kind, missing.status), (ErrorKind::NotFound, Some(404)));
    assert_eq!(missing.message, "requested room does not exist");
    let bad = format!("http://h/live/{STREAM_KEY}");
    let refused = world.client.start_room_composite("standup", &bad).await.unwrap_err();
    assert_eq!((refused.kind, refused.status), (ErrorKind::Refused, Some(400)));
    let spaced =
        world.client.start_room_composite("standup", &format!("rtmp://h/{STREAM_KEY}")).await.unwrap_err();
    assert_eq!(spaced.kind, ErrorKind::Refused);
    assert_no_secret(&spaced);
    assert_no_secret(&refused);
}

#[tokio::test]
async fn no_egress_worker_is_a_lack_of_capacity() {
    let world = World::new(None).await;
    world.livekit.set_faults(|faults| faults.capacity = Some(0));
    let error = world.client.start_room_composite("standup", &world.url(1)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.status, error.code.as_str()),
        (ErrorKind::NoCapacity, Some(503), "unavailable")
    );
    assert!(!error.kind.is_definite_no());
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_its_egress_is_found_by_its_url() {
    for how in [LostAnswer::Hang, LostAnswer::Close] {
        let world = World::new(None).await;
        world.livekit.set_faults(|faults| {
            faults.lost_start_answers = 1;
            faults.lost_answer = how;
        });
        let error = world.client.start_room_composite("standup", &world.url(1)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unknown, "{how:?}: {error}");
        assert_no_secret(&error);
        assert_eq!(world.client.list_egress(None).await.unwrap()[0].tag.attempt, 1);
    }
}

#[tokio::test]
async fn a_proxy_s_page_is_unknown_and_a_dead_port_unreachable() {
    let world = World::new(None).await;
    world.livekit.set_faults(|faults| faults.proxy_errors = 1);
    let error = world.client.list_egress(None).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Unknown, Some(502)));
    assert_eq!(error.message, "a web page, not LiveKit's API");
    let url = world.livekit.url();
    drop(world.livekit);
    let dead = client(&url, KEY, SECRET);
    let refused = async {
        loop {
            match dead.list_egress(None).await {
                Err(error) if error.kind == ErrorKind::Unreachable => break error,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    assert_eq!(error.status, None);
}

#[tokio::test]
async fn a_wrong_base_url_is_told_from_a_missing_room() {
    let world = World::new(None).await;
    let elsewhere = client(&format!("{}/elsewhere", world.livekit.url()), KEY, SECRET);
    let error = elsewhere.list_egress(None).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Refused, Some(404)));
}

#[tokio::test]
async fn stopping_an_unknown_egress_is_no_error_and_a_vanished_one_is_unknown() {
    let world = World::new(None).await;
    world.client.stop_egress("EG_nobody").await.unwrap();
    let id = world.feeding().await;
    assert!(world.livekit.with_core(|core, _| core.vanish(&id)));
    let error = world.client.stop_egress(&id).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Unknown, Some(408)));
    assert_eq!(world.client.list_egress(None).await.unwrap()[0].status, Status::EgressActive);
}

#[tokio::test]
async fn an_update_of_a_wedged_egress_answers_and_changes_nothing() {
    let world = World::new(None).await;
    let id = world.feeding().await;
    assert!(world.livekit.with_core(|core, now| core.wedge(&id, now)));
    world.client.update_stream(&id, &world.url(2), &world.url(1)).await.unwrap();
    assert_eq!((world.livekit.egresses()[0].outputs.len(), world.livekit.egresses()[0].feeding), (1, false));
}

#[tokio::test]
async fn why_an_egress_failed_is_told_without_its_key() {
    let world = World::new(None).await;
    world.sink.behave(Behaviour::Refuse);
    world.client.start_room_composite("standup", &world.url(1)).await.unwrap();
    world.until("a failure", |world| world.livekit.egresses()[0].status == "EGRESS_FAILED").await;
    let view = world.client.list_egress(None).await.unwrap().remove(0);
    assert_eq!((view.status, view.error.as_str()), (Status::EgressFailed, "Failed to connect"));
    assert!(!format!("{view:?}").contains(STREAM_KEY));
}

#[tokio::test]
async fn a_chrome_egress_is_seen() {
    let world = World::new(None).await;
    world.livekit.set_faults(|faults| faults.web_source = true);
    world.feeding().await;
    assert!(world.client.list_egress(None).await.unwrap()[0].uses_chrome);
}

#[tokio::test]
async fn calls_above_the_rate_wait_their_turn() {
    let world = World::new(None).await;
    let slow = world.client.clone().with_rate(20.0, 2.0);
    let begun = Instant::now();
    let calls: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let slow = slow.clone();
                async move { slow.list_egress(None).await.is_ok() }
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    // Two at once, then four at 50 ms: never sooner, however fast the machine is.
    assert!(begun.elapsed() >= Duration::from_millis(190));
    assert_eq!(world.livekit.calls()["ListEgress 200"], 6);
}
