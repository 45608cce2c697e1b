//! Our client against the simulated LiveKit: every call, every kind of error, and no secret in any text. What a real one can
//! do here too runs on both: `common/both.rs`, `real_server.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::both::{self, assert_no_secret};
use common::{KEY, SECRET, STREAM_KEY, World, client, keys};
use livekit_protocol::EgressStatus as Status;
use roomscribe_livekit::ErrorKind;
use roomscribe_sims::livekit::{LostAnswer, Microphone};
use roomscribe_sims::rtmp_sink::Behaviour;
use std::time::{Duration, Instant};

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

#[tokio::test]
async fn a_stop_goes_before_the_questions_that_wait() {
    let world = World::new(None).await;
    let id = world.feeding().await;
    // The last of them has its turn in ten minutes.
    let slow = world.client.clone().with_rate(0.1, 1.0);
    let questions: Vec<_> = (0..60)
        .map(|_| {
            tokio::spawn({
                let slow = slow.clone();
                async move { slow.list_egress(None).await.is_ok() }
            })
        })
        .collect();
    world.until("first question", |world| world.livekit.calls().contains_key("ListEgress 200")).await;
    tokio::time::timeout(Duration::from_secs(20), slow.stop_egress(&id)).await.unwrap().unwrap();
    questions.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn people_and_open_microphones_are_counted() {
    both::people_and_open_microphones_are_counted(World::new(None).await).await;
}

#[tokio::test]
async fn an_egress_that_feeds_is_not_counted_as_a_person() {
    let world = World::new(None).await;
    world.feeding().await;
    let people = world.client.room("standup").await.unwrap().unwrap();
    assert_eq!((people.participants, people.open_microphones), (1, 1));
}

#[tokio::test]
async fn tokens_are_accepted_or_refused_as_they_deserve() {
    both::tokens_are_accepted_or_refused_as_they_deserve(World::new(None).await).await;
}

#[tokio::test]
async fn refused_credentials_are_never_taken_for_the_network() {
    both::refused_credentials_are_never_taken_for_the_network(World::new(None).await).await;
}

#[tokio::test]
async fn a_rotated_secret_is_refused_and_starts_nothing() {
    let world = World::new(None).await;
    world.livekit.set_keys(keys(KEY, "rotated-secret-of-thirty-two-chars"));
    let error = world.client.start_room_composite("standup", &world.url(1)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::CredentialsRefused, Some(401)));
    assert_no_secret(&error);
    assert!(world.livekit.egresses().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_404_and_an_empty_project_has_no_egress() {
    both::what_is_not_there_is_404_and_an_empty_project_has_no_egress(World::new(None).await).await;
}

#[tokio::test]
async fn a_wrong_base_url_is_told_from_a_missing_room() {
    both::a_wrong_base_url_is_told_from_a_missing_room(World::new(None).await).await;
}

#[tokio::test]
async fn no_egress_worker_is_a_lack_of_capacity() {
    let world = World::new(None).await;
    world.livekit.set_faults(|faults| faults.capacity = Some(0));
    both::no_egress_worker_is_a_lack_of_capacity(world).await;
}

#[tokio::test]
async fn a_bad_url_is_400_and_quoted_without_its_key() {
    let world = World::new(None).await;
    for bad in [format!("http://h/live/{STREAM_KEY}"), format!("rtmp://h/{STREAM_KEY}")] {
        let error = world.client.start_room_composite("standup", &bad).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ErrorKind::Refused, Some(400)));
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn stopping_a_vanished_egress_is_unknown() {
    let world = World::new(None).await;
    let id = world.feeding().await;
    assert!(world.livekit.with_core(|core, _| core.vanish(&id)));
    let error = world.client.stop_egress(&id).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Unknown, Some(408)));
    assert!(error.is_unattended(), "{error}");
    assert_eq!(world.client.list_egress(None).await.unwrap()[0].status, Status::EgressActive);
}
