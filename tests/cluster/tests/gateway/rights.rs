//! The committed Role is enough, and nothing in it is too much.

use crate::world::{World, api, committed_rules};
use k8s_openapi::api::rbac::v1::PolicyRule;
use roomscribe_cluster::ApiServer;
use serde_json::json;
use std::time::{Duration, Instant};

/// Everything that a gateway does in its life. `Err` says where it stuck.
async fn life(api: &ApiServer, rules: Vec<PolicyRule>) -> Result<(), String> {
    let world = World::with(api, 1, rules).await;
    let replica = world.replica_at_once().await;
    if !soon(async || replica.get("/readyz").await.status() == 200).await {
        return Err(format!("never ready: {}", replica.get("/readyz").await.text().await.unwrap()));
    }
    let (status, made) = replica.post(json!({"name": "standup", "roomName": "standup"})).await;
    if status != 201 {
        return Err(made.to_string());
    }
    // Somebody else's session has the name: whose is it?
    let (status, problem) = replica.post(json!({"name": "standup", "roomName": "another"})).await;
    if status != 409 {
        return Err(problem.to_string());
    }
    let (status, stopped) = replica.delete("/v1/sessions/standup").await;
    if status != 200 {
        return Err(stopped.to_string());
    }
    world.finish("standup", "Stopped").await;
    match soon(async || replica.state("standup").await.0 == "Succeeded").await {
        true => Ok(()),
        false => Err("the end is never seen".into()),
    }
}

async fn soon(mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn the_committed_role_is_enough() {
    assert_eq!(life(api().await, committed_rules()).await, Ok(()));
}

#[tokio::test]
async fn without_any_one_verb_of_the_role_something_fails_and_says_what_to_apply() {
    let rules = committed_rules();
    assert_eq!(rules.len(), 1, "nothing but sessions");
    let lives = rules[0].verbs.iter().map(|verb| {
        let mut fewer = rules.clone();
        fewer[0].verbs.retain(|other| other != verb);
        async move { (verb, life(api().await, fewer).await) }
    });
    for (verb, end) in futures_util::future::join_all(lives).await {
        let Err(said) = end else { panic!("{verb} is not needed") };
        assert!(verb == "watch" || said.contains("rbac.yaml"), "without {verb}: {said}");
    }
}
