//! Which session a name or a room means.

use crate::world::{World, api, committed_rules, until};
use serde_json::json;

#[tokio::test]
async fn what_is_not_there_is_404_and_a_name_in_two_namespaces_is_409_with_the_ids() {
    let world = World::with(api().await, 2, committed_rules()).await;
    let replica = world.replica().await;
    for path in ["/v1/sessions/nobody", "/v1/sessions/0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"] {
        assert_eq!(replica.get(path).await.status(), 404, "{path}");
        assert_eq!(replica.delete(path).await.0, 404, "{path}");
    }
    let ids = [world.apply(0, "standup", "a").await, world.apply(1, "standup", "b").await];
    until("both are seen", async || {
        replica.json("/v1/sessions").await["sessions"].as_array().unwrap().len() == 2
    })
    .await;
    let problem = replica.get("/v1/sessions/standup").await;
    assert_eq!(problem.status(), 409);
    let problem = problem.text().await.unwrap();
    assert!(ids.iter().all(|id| problem.contains(id)), "{problem}");
    assert_eq!(
        replica.json(&format!("/v1/sessions/{}", ids[1])).await["namespace"],
        json!(world.namespaces[1])
    );
}

#[tokio::test]
async fn a_room_that_is_transcribed_already_is_answered_with_its_session_wherever_it_is() {
    let world = World::with(api().await, 2, committed_rules()).await;
    let replica = world.replica().await;
    // Every character that a field selector knows.
    let room = r"Q4, plan = a\b 'x' Ångström";
    let id = world.apply(1, "by-hand", room).await;
    let (status, running) = replica.post(json!({"roomName": room})).await;
    assert_eq!((status, &running["id"]), (200, &json!(id)), "{running}");
    let (status, other) =
        replica.post(json!({"roomName": room, "livekitRef": {"name": "another-project"}})).await;
    assert_eq!(status, 201, "{other}");
}

#[tokio::test]
async fn a_finished_session_keeps_its_name_and_the_next_of_its_room_gets_a_number() {
    let world = World::new(api().await).await;
    let replica = world.replica().await;
    let name = roomscribe_crds::names::generated("standup");
    for expected in [name.clone(), format!("{name}-2"), format!("{name}-3")] {
        let (status, made) = replica.post(json!({"roomName": "standup"})).await;
        assert_eq!((status, &made["name"]), (201, &json!(expected)));
        let (status, again) = replica.post(json!({"roomName": "standup"})).await;
        assert_eq!((status, &again["id"]), (200, &made["id"]));
        world.finish(&expected, "RoomEnded").await;
    }
    let (status, problem) = replica.post(json!({"name": name, "roomName": "standup"})).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("has finished"), "{problem}");
    let (status, problem) = replica.post(json!({"name": format!("{name}-2"), "roomName": "other"})).await;
    assert_eq!(status, 409, "{problem}");
}
