//! One session per room, and the queue for speech sessions.

use crate::world::{World, api, join, live, livekit, until};
use kube::api::PostParams;
use roomscribe_crds::condition::ConditionType;
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec};

#[tokio::test]
async fn a_second_session_for_a_room_names_the_first_and_starts_nothing_until_it_has_ended() {
    let livekit = livekit(11).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world.create("first", "standup").await;
    world.until_condition("first", ConditionType::Accepted, "True", "").await;
    world.create("second", "standup").await;
    let refused =
        world.until_condition("second", ConditionType::Accepted, "False", "RoomAlreadyTranscribed").await;
    assert!(refused.message.contains("first"), "{refused:?}");
    world.until_ready("first").await;
    assert_eq!(live(&livekit, None).len(), 1);
    assert_eq!(world.status("second").await.unwrap().attempt, None);
    world.delete("first").await;
    world.until_ready("second").await;
    assert_eq!(live(&livekit, None).len(), 1);
}

#[tokio::test]
async fn ten_sessions_made_at_once_for_one_room_become_one() {
    let livekit = livekit(12).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    let made = (0..10).map(|number| {
        let sessions = world.sessions.clone();
        let session =
            TranscriptionSession::new(&format!("s{number}"), TranscriptionSessionSpec::for_room("standup"));
        tokio::spawn(async move { sessions.create(&PostParams::default(), &session).await.unwrap() })
    });
    for made in made.collect::<Vec<_>>() {
        made.await.unwrap();
    }
    until("all have an answer", async || {
        let mut answered = 0;
        for number in 0..10 {
            answered += usize::from(
                world
                    .condition(&format!("s{number}"), ConditionType::Accepted)
                    .await
                    .is_some_and(|c| c.status != "Unknown"),
            );
        }
        answered == 10
    })
    .await;
    let mut accepted = Vec::new();
    for number in 0..10 {
        let name = format!("s{number}");
        if world.condition(&name, ConditionType::Accepted).await.is_some_and(|found| found.status == "True") {
            accepted.push(name);
        }
    }
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    world.until_ready(&accepted[0]).await;
    assert_eq!(live(&livekit, None).len(), 1);
    assert_eq!(
        livekit
            .calls()
            .iter()
            .filter(|(call, _)| call.contains("StartRoomComposite"))
            .map(|(_, count)| count)
            .sum::<u64>(),
        1
    );
}

#[tokio::test]
async fn sessions_above_the_speech_limit_wait_in_a_queue_and_follow_oldest_first() {
    let livekit = livekit(13).await;
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator_with(&[("SPEECH_MAX_CONCURRENT", "1")]).await;
    let names = ["a", "b", "c"];
    for name in names {
        join(&livekit, name, "ada");
        world.create(name, name).await;
        world
            .until_condition(name, ConditionType::Accepted, if name == "a" { "True" } else { "False" }, "")
            .await;
        // Creation times have a resolution of one second.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    world.until_ready("a").await;
    for (name, place) in [("b", "place 1"), ("c", "place 2")] {
        let waits = world.until_condition(name, ConditionType::Accepted, "False", "ConcurrencyLimited").await;
        assert!(waits.message.contains(place), "{waits:?}");
    }
    assert_eq!(live(&livekit, None).len(), 1);
    world.stop("a").await;
    world.until_ready("b").await;
    let waits = world.until_condition("c", ConditionType::Accepted, "False", "ConcurrencyLimited").await;
    assert!(waits.message.contains("place 1"), "{waits:?}");
    world.delete("b").await;
    world.until_ready("c").await;
}
