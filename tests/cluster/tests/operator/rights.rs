//! The committed Role is enough, and nothing in it is too much.

use crate::world::{World, api, join, livekit};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams};
use roomscribe_cluster::{ApiServer, committed_rules};
use roomscribe_sims::livekit::Simulator;
use std::time::{Duration, Instant};

/// Everything that an operator does in its life, in one namespace. `Err` says where it stuck.
async fn life(
    api: &'static ApiServer,
    livekit: &Simulator,
    everywhere: Vec<PolicyRule>,
    own: Vec<PolicyRule>,
) -> Result<(), String> {
    let world = World::with_rules(api, &livekit.url(), everywhere, own).await;
    join(livekit, &world.namespace, "ada");
    let room = world.namespace.clone();
    let Ok(_operator) = roomscribe_cluster::Operator::start(&world.settings(), world.folder.path()).await
    else {
        return Err("the operator does not start".into());
    };
    world.create_with("standup", &room, |spec| spec.ttl_seconds_after_finished = 1).await;
    lived(&world, "ready", async || {
        world
            .condition("standup", roomscribe_crds::condition::ConditionType::Ready)
            .await
            .is_some_and(|ready| ready.status == "True")
    })
    .await?;
    // A pod that is lost is replaced: the Service then selects another one.
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let _ = pods
        .delete("ts-standup-1", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await;
    lived(&world, "the next pod", async || pods.get_opt("ts-standup-2").await.unwrap().is_some()).await?;
    lived(&world, "an event seen twice", async || {
        world.api.requests(&world.user).unwrap().count("patch", "events") > 0
    })
    .await?;
    world.stop("standup").await;
    lived(&world, "gone", async || world.sessions.get_opt("standup").await.unwrap().is_none()).await?;
    match world.children().await {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left behind: {left:?}")),
    }
}

/// Waits, but not beyond the first request that the API server has forbidden.
async fn lived(world: &World, what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !is_so().await {
        let requests = world.api.requests(&world.user).unwrap();
        if requests.answered(403) > 0 {
            return Err(format!("before {what}: forbidden\n{requests}"));
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("never: {what}\n{requests}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_committed_role_is_enough() {
    let livekit = livekit(41).await;
    let (everywhere, own) = committed_rules().unwrap();
    assert_eq!(life(api().await, &livekit, everywhere, own).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_one_verb_of_the_role_something_fails() {
    let livekit = livekit(42).await;
    let api = api().await;
    let (everywhere, own) = committed_rules().unwrap();
    let mut lives = Vec::new();
    for (rules, is_lease) in [(&everywhere, false), (&own, true)] {
        for (rule, verb) in rules
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| rule.verbs.iter().map(move |verb| (index, verb)))
        {
            let mut fewer = rules.clone();
            fewer[rule].verbs.retain(|other| other != verb);
            fewer.retain(|rule| !rule.verbs.is_empty());
            let named = format!("{verb} {}", rules[rule].resources.clone().unwrap_or_default().join(","));
            let (everywhere, own) = if is_lease { (everywhere.clone(), fewer) } else { (fewer, own.clone()) };
            lives.push((named, everywhere, own));
        }
    }
    assert!(lives.len() > 20);
    let mut useless = Vec::new();
    // A few at a time: each is an operator process.
    for few in lives.chunks(6) {
        let done = join_all(few.iter().map(|(named, everywhere, own)| {
            let livekit = &livekit;
            async move { (named, life(api, livekit, everywhere.clone(), own.clone()).await) }
        }));
        useless.extend(done.await.into_iter().filter(|(_, end)| end.is_ok()).map(|(named, _)| named.clone()));
    }
    assert_eq!(useless, Vec::<String>::new());
}
