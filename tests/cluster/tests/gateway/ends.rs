//! Transcripts when their sessions have ended, or are gone.

use crate::world::{World, answer, api, until};
use serde_json::json;

#[tokio::test]
async fn a_session_that_no_worker_has_ended_gets_one_end_from_all_replicas_together() {
    let world = World::new(api().await).await;
    let replicas = [world.replica().await, world.replica().await];
    let mut ids = Vec::new();
    for index in 0..10 {
        let name = format!("never-ran-{index}");
        ids.push(world.apply(0, &name, &name).await);
        world.finish(&name, "RoomEnded").await;
    }
    for id in &ids {
        until("an end", async || !world.ends(id).await.is_empty()).await;
    }
    // Both have looked at the last one when they show it finished; what they do is then in the log.
    for replica in &replicas {
        until("finished", async || replica.state("never-ran-9").await.0 == "Succeeded").await;
    }
    for id in &ids {
        assert_eq!(world.ends(id).await, [("RoomEnded".to_owned(), u32::MAX)]);
    }
    // A replica that starts later finds nothing to do.
    let late = world.replica().await;
    assert_eq!(late.state(&ids[0]).await, ("Succeeded".into(), "RoomEnded".into()));
    assert_eq!(world.ends(&ids[0]).await.len(), 1);
}

#[tokio::test]
async fn a_transcript_is_read_after_its_resource_is_gone_also_by_a_replica_that_never_saw_it() {
    let world = World::new(api().await).await;
    let seen = world.replica().await;
    let (_, made) = seen.post(json!({"name": "standup", "roomName": "Standup"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    world.speak(&id, 5).await;
    world.resources().delete("standup", &Default::default()).await.unwrap();
    until("an end", async || world.ends(&id).await == [("Stopped".to_owned(), u32::MAX)]).await;
    let path = format!("/v1/sessions/{id}/transcript?format=txt");
    assert_eq!(seen.json(&format!("/v1/sessions/{id}")).await["roomName"], json!("Standup"));
    let never_saw = world.replica().await;
    for replica in [&seen, &never_saw] {
        let text = replica.get(&path).await;
        assert_eq!(text.status(), 200);
        assert!(text.text().await.unwrap().contains("words 5"));
        assert_eq!(replica.state(&id).await, ("Succeeded".into(), "Stopped".into()));
        assert_eq!(
            replica.delete(&format!("/v1/sessions/{id}")).await.0,
            200,
            "a stop of what has ended is done"
        );
        assert_eq!(replica.get("/v1/sessions/standup").await.status(), 404, "its name is free");
    }
    // The room is not known any more: a token for the session reads on, one for the room does not.
    let mine = json!({"sub": "v", "sid": id, "scope": "read"});
    assert_eq!(never_saw.as_viewer(&path, mine).await.status(), 200);
    let room = json!({"sub": "v", "sid": "room:Standup", "scope": "read"});
    assert_eq!(never_saw.as_viewer(&path, room).await.status(), 403);
}

#[tokio::test]
async fn a_transcript_that_is_erased_while_its_session_runs_goes_when_it_has_ended() {
    let world = World::new(api().await).await;
    let (a, b) = (world.replica().await, world.replica().await);
    let (_, made) = a.post(json!({"name": "private", "roomName": "private"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    world.speak(&id, 3).await;
    let path = format!("/v1/sessions/{id}/transcript");
    assert_eq!(a.delete(&path).await.0, 202);
    assert_eq!(b.state(&id).await.0, "Stopping");
    world.finish("private", "Stopped").await;
    for replica in [&a, &b] {
        until("erased", async || answer(replica.get(&path).await).await.0 == 410).await;
    }
    world.resources().delete("private", &Default::default()).await.unwrap();
    until("gone", async || world.count().await == 0).await;
    assert_eq!(b.get(&path).await.status(), 410, "the tombstone stays");
}
