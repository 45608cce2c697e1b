//! The API server goes and comes back.

use crate::world::{World, until};
use roomscribe_cluster::{ApiServer, Part};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn without_the_api_server_sessions_are_read_and_starts_say_who_must_act() {
    let api = ApiServer::start().await.unwrap();
    api.apply_crd().await.unwrap();
    let world = World::new(&api).await;
    let replica = world.replica().await;
    let (_, made) = replica.post(json!({"name": "standup", "roomName": "standup"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    world.speak(&id, 3).await;
    api.kill(Part::ApiServer).unwrap();
    for (method, body) in [("POST", Some(json!({"roomName": "another"}))), ("DELETE", None)] {
        let path = if body.is_some() { "/v1/sessions".to_owned() } else { format!("/v1/sessions/{id}") };
        let answer = replica.ask(method.parse().unwrap(), &path, &[], body).await;
        assert_eq!(answer.status(), 503, "{method}");
        assert!(answer.headers().contains_key("retry-after"));
        let problem = answer.text().await.unwrap();
        assert!(problem.contains("whoever runs the cluster"), "{problem}");
    }
    assert_eq!(replica.json("/v1/sessions/standup").await["head"], json!(3));
    assert_eq!(replica.get(&format!("/v1/sessions/{id}/transcript")).await.status(), 200);
    let ready = replica.get("/readyz").await;
    assert_eq!(ready.status(), 200, "viewers are served");
    let ready = ready.text().await.unwrap();
    assert!(ready.contains("has not answered"), "{ready}");
    // One that starts now has nothing to show, and says so.
    let blind = world.replica_at_once().await;
    let answer = blind.get("/readyz").await;
    assert_eq!(answer.status(), 503);
    let said = answer.text().await.unwrap();
    assert!(said.contains(&world.namespaces[0]) && said.contains("not listed yet"), "{said}");
    api.start_again(Part::ApiServer).await.unwrap();
    until("a start is taken again", async || replica.post(json!({"roomName": "another"})).await.0 == 201)
        .await;
    until("nothing is missing", async || replica.get("/readyz").await.text().await.unwrap() == "ready\n")
        .await;
    until("the new one sees it too", async || blind.get("/v1/sessions/standup").await.status() == 200).await;
    world.status("standup", json!({"summary": "Live"})).await;
    for replica in [&replica, &blind] {
        until("the watch goes on", async || replica.state("standup").await.0 == "Live").await;
    }
    // One that hangs is worse than one that is gone: nothing says so but the time.
    api.freeze(Part::ApiServer).unwrap();
    let begun = Instant::now();
    assert_eq!(replica.post(json!({"roomName": "a third"})).await.0, 503);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(replica.state("standup").await.0, "Live");
    api.thaw(Part::ApiServer).unwrap();
    until("a start is taken again", async || replica.post(json!({"roomName": "a third"})).await.0 == 201)
        .await;
}
