//! The operator is killed, doubled and cut off; LiveKit and the API server go away. Sessions go on, and nothing stays behind.

use crate::world::{World, api, join, live, livekit, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use roomscribe_cluster::{ApiProxy, ApiServer, Fault, Operator};
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_sims::livekit::Simulator;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const SESSIONS: usize = 200;
/// Created so far apart, on average.
const PACE_MS: u64 = 100;

/// Rooms in which two egresses feed at once, whenever anybody looked.
async fn watch_for_doubles(livekit: Arc<Simulator>, over: Arc<AtomicBool>) -> Vec<String> {
    let mut doubled = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let mut feeding: HashMap<String, usize> = HashMap::new();
        for egress in live(&livekit, None).into_iter().filter(|egress| egress.feeding) {
            *feeding.entry(egress.room).or_default() += 1;
        }
        doubled.extend(feeding.into_iter().filter(|(_, count)| *count > 1).map(|(room, _)| room));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    doubled
}

/// Kills the operator again and again, and starts the next one at once. Its lives are measured in what it asks of the API
/// server, so that they are as long on a busy machine.
async fn kill_again_and_again(world: Arc<World>, over: Arc<AtomicBool>, seed: u64) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let alone = [("NO_LEADER_ELECTION", "true"), ("LIVEKIT_RATE", "500"), ("LIVEKIT_BURST", "500")];
    let asked = || world.api.requests(&world.user).unwrap().total();
    let mut kills = 0;
    let mut operator = world.operator_with(&alone).await;
    while !over.load(Ordering::Relaxed) {
        let (until, begun) = (asked() + rng.u64(10..400), Instant::now());
        // One that has nothing to ask any more is killed too.
        while asked() < until && begun.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        operator.kill().await.unwrap();
        kills += 1;
        operator = world.operator_with(&alone).await;
    }
    kills
}

/// What one list every half second shows: two hundred tests that ask for themselves would be the load.
#[derive(Clone)]
struct Crowd(watch::Receiver<HashMap<String, bool>>);

impl Crowd {
    fn watch(world: &Arc<World>, over: Arc<AtomicBool>) -> Self {
        let (sender, receiver) = watch::channel(HashMap::new());
        let sessions = world.sessions.clone();
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                if let Ok(list) = sessions.list(&ListParams::default()).await {
                    let ready = |session: &TranscriptionSession| {
                        let status = session.status.as_ref();
                        status.is_some_and(|status| {
                            condition::is_true(&status.conditions, ConditionType::Ready)
                        })
                    };
                    sender.send_replace(
                        list.iter().map(|session| (session.name_any(), ready(session))).collect(),
                    );
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self(receiver)
    }

    async fn until_ready(&self, name: &str, patience: Duration) -> bool {
        let mut shown = self.0.clone();
        let ready = shown.wait_for(|shown| shown.get(name) == Some(&true));
        tokio::time::timeout(patience, ready).await.is_ok()
    }

    /// Called after its deletion, so that a list shows it no more only once it is gone.
    async fn until_gone(&self, name: &str) {
        let mut shown = self.0.clone();
        // A list that was under way may be older than the session.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let gone = shown.wait_for(|shown| !shown.contains_key(name));
        assert!(tokio::time::timeout(Duration::from_secs(300), gone).await.is_ok(), "{name} is not gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_points_of_200_sessions_it_leaves_no_orphan_no_double_and_no_finalizer() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let livekit = Arc::new(livekit(seed).await);
    // With the garbage collector: a request of a killed operator may be carried out after its successor has tidied up.
    let collected = ApiServer::with_controllers().await.unwrap();
    let world = Arc::new(World::new(Box::leak(Box::new(collected)), &livekit.url()).await);
    let over = Arc::new(AtomicBool::new(false));
    let doubles = tokio::spawn(watch_for_doubles(livekit.clone(), over.clone()));
    let kills = tokio::spawn(kill_again_and_again(world.clone(), over.clone(), seed));
    let heard = Arc::new(AtomicUsize::new(0));
    let crowd = Crowd::watch(&world, over.clone());
    let lives = (0..SESSIONS).map(|number| {
        let (world, livekit, heard, crowd) = (world.clone(), livekit.clone(), heard.clone(), crowd.clone());
        tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(1000) + number as u64);
            let name = format!("s{number}");
            tokio::time::sleep(Duration::from_millis(rng.u64(0..SESSIONS as u64 * PACE_MS))).await;
            join(&livekit, &name, "ada");
            world.create(&name, &name).await;
            // Half of them live; the others are deleted anywhere on their way.
            let patience = if rng.bool() { 200_000 } else { rng.u64(0..8_000) };
            let patience = Duration::from_millis(patience);
            let ready = crowd.until_ready(&name, patience).await;
            heard.fetch_add(usize::from(ready), Ordering::Relaxed);
            world.delete(&name).await;
            crowd.until_gone(&name).await;
        })
    });
    for life in lives.collect::<Vec<_>>() {
        life.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let (kills, doubled) = (kills.await.unwrap(), doubles.await.unwrap());
    let starts: u64 = livekit
        .calls()
        .iter()
        .filter(|(call, _)| call.starts_with("StartRoomComposite"))
        .map(|(_, count)| count)
        .sum();
    println!(
        "crashes: sessions={SESSIONS} ready={} kills={kills} starts={starts} orphans={} doubled={}",
        heard.load(Ordering::Relaxed),
        live(&livekit, None).len(),
        doubled.len()
    );
    assert_eq!(doubled, Vec::<String>::new());
    assert_eq!(live(&livekit, None), []);
    until("nothing is left", async || world.children().await.is_empty()).await;
    assert!(kills >= 10 && heard.load(Ordering::Relaxed) > SESSIONS / 4, "{kills} {heard:?}");
}

async fn until_gone_in(world: &World, name: &str, patience: Duration) {
    let begun = Instant::now();
    while world.sessions.get_opt(name).await.unwrap().is_some() {
        assert!(begun.elapsed() < patience, "{name} is not gone: {:?}", world.status(name).await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn holder(world: &World) -> String {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.namespace);
    let lease = leases.get_opt("roomscribe-operator").await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

async fn leads(operator: &Operator) -> bool {
    operator.metric("roomscribe_operator_lease_held", &[]).await.unwrap() == 1.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_one_writes_and_the_other_takes_over() {
    let livekit = livekit(51).await;
    let world = World::new(api().await, &livekit.url()).await;
    let short = [("LEASE_SECONDS", "3")];
    let first = world.operator_with(&short).await;
    until("the first leads", async || leads(&first).await).await;
    let second = world.operator_with(&short).await;
    join(&livekit, "standup", "ada");
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    assert!(!leads(&second).await);
    assert_eq!(second.metric("roomscribe_operator_status_writes_total", &[]).await.unwrap(), 0.0);
    assert_eq!(live(&livekit, None).len(), 1);

    let before = holder(&world).await;
    let begun = Instant::now();
    first.kill().await.unwrap();
    until("the second leads after a kill", async || leads(&second).await).await;
    println!("hand-over after kill -9: {:.1} s (Lease of 3 s)", begun.elapsed().as_secs_f64());
    assert_ne!(holder(&world).await, before);
    join(&livekit, "retro", "ada");
    world.create("retro", "retro").await;
    world.until_ready("retro").await;
    // The running session was adopted, not started again.
    assert_eq!((live(&livekit, None).len(), world.status("standup").await.unwrap().attempt), (2, Some(1)));

    let third = world.operator_with(&short).await;
    let begun = Instant::now();
    assert_eq!(second.stop().await.unwrap(), Some(0));
    until("the third leads after a good-bye", async || leads(&third).await).await;
    println!("hand-over after SIGTERM: {:.1} s", begun.elapsed().as_secs_f64());
}

/// These hurt the server, so it is their own.
async fn own_api() -> &'static ApiServer {
    let api = ApiServer::start().await.unwrap();
    api.apply_crd().await.unwrap();
    // It ends with the process of the test.
    Box::leak(Box::new(api))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_api_server_costs_no_session_and_starts_none_twice() {
    let livekit = livekit(52).await;
    let world = World::new(own_api().await, &livekit.url()).await;
    let _operator = world.operator_with(&[("LEASE_SECONDS", "30")]).await;
    for name in ["before", "during"] {
        join(&livekit, name, "ada");
    }
    world.create("before", "before").await;
    world.until_ready("before").await;
    world.create("during", "during").await;
    world.api.restart_api_server().await.unwrap();
    world.until_ready("during").await;
    assert_eq!(live(&livekit, None).len(), 2);
    for name in ["before", "during"] {
        assert_eq!(world.status(name).await.unwrap().attempt, Some(1), "{name}");
        world.delete(name).await;
        world.until_gone(name).await;
    }
    assert_eq!(live(&livekit, None), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_answers_409_429_and_504_costs_time_and_nothing_else() {
    let livekit = livekit(53).await;
    let world = World::new(own_api().await, &livekit.url()).await;
    let proxy = ApiProxy::start(world.api, &world.user, 7).await.unwrap();
    proxy.set_faults(vec![
        Fault::answer(409).on("PUT").share(0.2),
        Fault::busy(1).share(0.1),
        Fault::lose(504).on("POST").share(0.2),
        Fault::lose(504).on("PATCH").share(0.2),
        Fault::lose(504).on("PUT").share(0.1),
    ]);
    let mut settings = world.settings();
    settings.kubeconfig = proxy.kubeconfig().clone();
    let _operator = Operator::start(&settings, world.folder.path()).await.unwrap();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    for name in &names {
        join(&livekit, name, "ada");
        world.create(name, name).await;
    }
    for name in &names {
        world.until_ready(name).await;
        assert_eq!(world.status(name).await.unwrap().attempt, Some(1), "{name}");
    }
    assert_eq!(live(&livekit, None).len(), names.len());
    for name in &names {
        world.delete(name).await;
    }
    for name in &names {
        until_gone_in(&world, name, Duration::from_secs(120)).await;
    }
    assert_eq!(live(&livekit, None), []);
    assert!(proxy.happened().iter().all(|count| *count > 0), "{:?}", proxy.happened());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_livekit_down_a_deletion_ends_at_the_deadline_and_says_so() {
    let livekit = livekit(54).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator_with(&[("CLEANUP_DEADLINE_SECONDS", "30")]).await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    livekit.set_faults(|faults| faults.proxy_errors = u32::MAX);
    world.delete("standup").await;
    world.until_gone("standup").await;
    assert_eq!(operator.metric("roomscribe_operator_cleanup_abandoned_total", &[]).await.unwrap(), 1.0);
    let events = world.events("standup").await;
    assert!(
        events.iter().any(|event| event.starts_with("EgressCleanupAbandoned") && event.contains("EG_")),
        "{events:?}"
    );
    assert_eq!(world.children().await, Vec::<String>::new());
}
