//! A real nats-server is killed, frozen and cut off while writers and followers work, in an order that a seed gives: every
//! event that was acknowledged is there, in its place, once. `NATS_SEED`, `NATS_POINTS` (faults per run), `NATS_RUNS`,
//! `NATS_NODES` (1, or 3: a cluster that keeps three copies).
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
mod proxy;
mod server;

use common::*;
use proxy::Proxy;
use roomscribe_transcript::nats::NatsSettings;
use roomscribe_transcript::{
    Append, Event, FollowItem, Generation, Log, LogError, Offset, Record, SegmentId,
};
use server::{Cluster, settings};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Everything is well again within this after the last fault, or never.
const RECOVERY: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

/// What all tasks of a run share.
struct Scene {
    seed: u64,
    /// The attempt that is the session's writer now.
    generation: AtomicU32,
    over: AtomicBool,
    /// Events acknowledged so far.
    acknowledged: AtomicU64,
}

impl Scene {
    /// Some more events are acknowledged: whatever happened is over.
    async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        let more = async {
            while self.acknowledged.load(Ordering::Relaxed) < before + 5 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(RECOVERY, more)
            .await
            .unwrap_or_else(|_| panic!("seed {}: no append succeeds any more", self.seed));
    }
}

/// Appends words until the scene is over, as a worker does: every error is tried again with the same event, a moved head is
/// followed, a fence is the end. Gives what was acknowledged.
async fn writes(log: Log, scene: Arc<Scene>, generation: u32) -> Vec<(u64, Event)> {
    let id = session(1);
    let mut acknowledged = Vec::new();
    let Some(mut head) = opened(&log, &scene).await else { return acknowledged };
    for word in 0.. {
        if scene.over.load(Ordering::Relaxed) || scene.generation.load(Ordering::Relaxed) > generation {
            break;
        }
        let event = if word % 5 == 4 { status_of(generation, word) } else { word_of(generation, word) };
        loop {
            let append = Append {
                generation: Generation(generation),
                expected_head: Offset(head),
                event: event.clone(),
                note: Some(note(word)),
            };
            match log.append(&id, append).await {
                Ok(appended) => {
                    acknowledged.push((appended.offset.0, event));
                    scene.acknowledged.fetch_add(1, Ordering::Relaxed);
                    head = appended.head.0;
                    break;
                }
                Err(LogError::Moved { head: there, .. }) => head = there.0,
                Err(LogError::Fenced { .. }) => return acknowledged,
                Err(LogError::Nats { .. }) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("seed {}: {error}", scene.seed),
            }
        }
        // As fast as a meeting of many; a fault must find a writer at work.
        sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

async fn opened(log: &Log, scene: &Scene) -> Option<u64> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        match log.open(&session(1)).await {
            Ok(head) => return Some(head.head.0),
            Err(error) => assert!(Instant::now() < deadline, "seed {}: {error}", scene.seed),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn word_of(generation: u32, word: u64) -> Event {
    let Event::Final(mut event) = final_of(word) else { panic!("a final") };
    event.seg = SegmentId(format!("{generation}-{word:06}"));
    Event::Final(event)
}

fn status_of(generation: u32, word: u64) -> Event {
    let Event::Status(mut event) = status() else { panic!("a status") };
    event.message = format!("{generation}-{word:06}");
    Event::Status(event)
}

/// Follows from the start to the end, through every error, and gives every record that came.
async fn follows(log: Log, scene: Arc<Scene>) -> Vec<Arc<Record>> {
    let mut seen: Vec<Arc<Record>> = Vec::new();
    loop {
        let after = seen.last().map_or(Offset(0), |record| record.offset);
        let Ok(mut follow) = log.follow(&session(1), after).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        loop {
            match follow.next().await {
                Some(Ok(FollowItem::Record(record))) => {
                    let after = seen.last().map_or(0, |record| record.offset.0);
                    assert_eq!(record.offset.0, after + 1, "seed {}: a hole or a double", scene.seed);
                    seen.push(record);
                }
                Some(Ok(FollowItem::Partial(_))) => {}
                Some(Err(LogError::Nats { .. })) => break,
                Some(Err(error)) => panic!("seed {}: {error}", scene.seed),
                None => return seen,
            }
        }
    }
}

async fn connected(urls: &str, replicas: u8) -> Log {
    let deadline = Instant::now() + RECOVERY;
    loop {
        match Log::nats(NatsSettings { replicas, ..settings(urls.to_owned()) }).await {
            Ok(log) => return log,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// One fault; everything runs again afterwards.
async fn fault(cluster: &mut Cluster, proxies: &[Proxy], random: &mut fastrand::Rng) {
    let server = random.choice(&mut cluster.servers).unwrap();
    let pause = Duration::from_millis(random.u64(0..700));
    match random.u8(0..5) {
        0 => {
            server.kill();
            sleep(pause).await;
            server.run();
        }
        1 => {
            server.freeze();
            sleep(pause).await;
            server.thaw();
        }
        2 => random.choice(proxies).unwrap().cut(),
        3 => {
            let proxy = random.choice(proxies).unwrap();
            proxy.swallow(true);
            sleep(pause).await;
            // What was swallowed never comes: the connection is of no use any more.
            proxy.cut();
            proxy.swallow(false);
        }
        _ => {
            // Only answers are lost: what was published is stored, and nobody knows.
            let proxy = random.choice(proxies).unwrap();
            proxy.deafen(true);
            sleep(pause / 4).await;
            proxy.cut();
            proxy.deafen(false);
        }
    }
    sleep(Duration::from_millis(random.u64(50..400))).await;
}

async fn run(seed: u64, points: u64, nodes: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = Cluster::start(nodes);
    let replicas = nodes as u8;
    let direct: Vec<String> = cluster.servers.iter().map(|server| server.url()).collect();
    let mut proxies = Vec::new();
    // Each process has its own way to one of the servers; a client of a cluster learns of the others by itself.
    for way in 0..3 {
        proxies.push(Proxy::start(cluster.servers[way % nodes].port).await);
    }
    let scene = Arc::new(Scene {
        seed,
        generation: AtomicU32::new(1),
        over: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
    });
    let mut writers = tokio::task::JoinSet::new();
    writers.spawn(writes(connected(&proxies[0].url(), replicas).await, scene.clone(), 1));
    let mut followers = tokio::task::JoinSet::new();
    for proxy in &proxies[1..] {
        followers.spawn(follows(connected(&proxy.url(), replicas).await, scene.clone()));
    }
    for _ in 0..points {
        scene.goes_on().await;
        fault(&mut cluster, &proxies, &mut random).await;
        if random.u8(0..4) == 0 {
            // The next attempt begins while the one before may still write.
            let generation = scene.generation.load(Ordering::Relaxed) + 1;
            let proxy = random.choice(&proxies).unwrap();
            writers.spawn(writes(connected(&proxy.url(), replicas).await, scene.clone(), generation));
            if random.bool() {
                sleep(Duration::from_millis(random.u64(0..300))).await;
            }
            scene.generation.store(generation, Ordering::Relaxed);
        }
        if random.u8(0..3) == 0 {
            let proxy = random.choice(&proxies[1..]).unwrap();
            followers.spawn(follows(connected(&proxy.url(), replicas).await, scene.clone()));
        }
    }
    scene.goes_on().await;
    scene.over.store(true, Ordering::Relaxed);
    let acknowledged = timeout(RECOVERY, writers.join_all()).await.expect("a writer never came back");
    let log = connected(&direct.join(","), replicas).await;
    let head = log.head(&session(1)).await.unwrap().head.0;
    log.append(&session(1), by(u32::MAX, head, end())).await.unwrap();
    let stored = read_all(&log, &session(1)).await.unwrap();
    for seen in timeout(RECOVERY, followers.join_all()).await.expect("a follower never came to the end") {
        assert_eq!(seen, stored, "seed {seed}: a follower saw something else");
    }
    judge(seed, &stored, acknowledged.into_iter().flatten());
}

fn judge(seed: u64, stored: &[Arc<Record>], acknowledged: impl Iterator<Item = (u64, Event)>) {
    let offsets: Vec<u64> = stored.iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, (1..=stored.len() as u64).collect::<Vec<_>>(), "seed {seed}");
    let mut texts = HashSet::new();
    let mut generation = Generation(0);
    for record in stored {
        let name = match &record.event {
            Event::Final(event) => event.seg.0.clone(),
            Event::Status(event) => format!("status {}", event.message),
            _ => "end".to_owned(),
        };
        assert!(texts.insert(name.clone()), "seed {seed}: {name} is there twice");
        assert!(record.generation >= generation, "seed {seed}: a fenced writer wrote {name}");
        generation = record.generation;
    }
    let mut count = 0;
    for (offset, event) in acknowledged {
        assert_eq!(
            stored[offset as usize - 1].event,
            event,
            "seed {seed}: an acknowledged event is elsewhere"
        );
        count += 1;
    }
    println!(
        "seed {seed}: {} events, {count} acknowledged, {} attempts",
        stored.len(),
        generation_count(stored)
    );
    assert!(count > 0, "seed {seed}: nothing happened");
}

fn generation_count(stored: &[Arc<Record>]) -> usize {
    stored.iter().map(|record| record.generation).collect::<HashSet<_>>().len() - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_freezes_and_cuts_lose_and_double_nothing() {
    let (first, points) = (number("NATS_SEED", 4), number("NATS_POINTS", 20));
    for seed in first..first + number("NATS_RUNS", 1) {
        run(seed, points, number("NATS_NODES", 1) as usize).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_servers_of_which_any_one_is_killed_frozen_or_cut_off_lose_and_double_nothing() {
    if std::env::var_os("NATS_NODES").is_none() {
        run(1001, 10, 3).await;
    }
}
