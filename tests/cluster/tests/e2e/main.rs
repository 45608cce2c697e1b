//! A real cluster, end to end: our images, our chart, a LiveKit room, words. `make e2e` runs it, on a node of its own or on
//! the cluster of KUBECONFIG.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod cluster;
mod exposure;
mod kills;
mod nats;
mod policies;
mod tally;
mod transcript;
mod upgrade;
mod viewers;
mod world;
mod wrong;

use cluster::given;
use kills::Kill;
use std::time::Instant;
use tally::{Row, Tally};
use transcript::Transcript;
use world::World;

/// Room and session of these tests, as in docs/examples.
const SESSION: &str = "standup";

/// A session that says words.
async fn meeting(world: &World) {
    world.join(SESSION, "ada").await.unwrap();
    world.apply_example("session.yaml").await.unwrap();
    world.kubectl(&["wait", "--for=condition=Ready", "ts/standup", "--timeout=120s"]).await.unwrap();
    eprintln!("Ready");
    world.until_more_words(SESSION, 3).await.unwrap();
}

fn assert_true(transcript: &Transcript, after: &str) {
    let counts = (transcript.lost().len(), transcript.doubled().len(), transcript.displaced());
    assert_eq!(counts, (0, 0, 0), "lost, doubled, displaced {after}\n{}", transcript.brief());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_session_is_ready_says_words_and_leaves_nothing_when_it_is_deleted() {
    let world = World::start().await.unwrap();
    meeting(&world).await;
    let transcript = world.transcript(SESSION).await.unwrap();
    assert_true(&transcript, "in an undisturbed meeting");
    let expected: Vec<u64> = (1..=transcript.offsets().len() as u64).collect();
    assert_eq!(transcript.offsets(), expected);
    assert_eq!(transcript.gaps_ms(), Vec::<u64>::new());
    world.kubectl(&["delete", "ts", SESSION, "--timeout=120s"]).await.unwrap();
    world.until_nothing_is_left().await.unwrap();
    world.cluster.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn the_chart_tests_itself_and_uninstalling_it_ends_what_runs() {
    let world = World::start().await.unwrap();
    world.helm(&["test", "roomscribe", "--timeout", "120s"]).await.unwrap();
    meeting(&world).await;
    world.helm(&["uninstall", "roomscribe", "--wait", "--timeout", "180s"]).await.unwrap();
    assert_eq!(world.kubectl(&["get", "ts", "-o", "name"]).await.unwrap(), "");
    world.until_nothing_is_left().await.unwrap();
    world.cluster.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn whatever_is_killed_every_word_comes_once_and_the_session_is_ready_again() {
    let world = World::start().await.unwrap();
    let is_own = world.cluster.node().is_some();
    let seed = given("SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = given("KILLS").map_or_else(|| kills::kinds(is_own), |count| count.parse().unwrap());
    meeting(&world).await;
    let mut tally = Tally::default();
    for kill in given("ONLY").map_or_else(|| kills::order(seed, count, is_own), |names| kills::named(&names))
    {
        let row = accident(&world, kill, seed).await;
        eprintln!("{row:?}");
        tally.rows.push(row);
    }
    // The end: what a speech session still owes is asked for, and told if it does not come.
    let stop = ["patch", "ts", SESSION, "--type=merge", "-p", r#"{"spec":{"desiredState":"Stopped"}}"#];
    world.kubectl(&stop).await.unwrap();
    world
        .until("the transcript ends", async || Ok(world.transcript(SESSION).await?.has_ended()))
        .await
        .unwrap();
    let transcript = world.transcript(SESSION).await.unwrap();
    eprintln!("{}", world.operators_words().await);
    world.kubectl(&["delete", "ts", SESSION, "--timeout=120s"]).await.unwrap();
    tally.account(&transcript);
    tally.orphans = world.egresses().await.unwrap().len();
    let line = tally.line(&transcript);
    eprintln!("{}", transcript.brief());
    println!("{}\n{line}", tally.table());
    assert_true(&transcript, &line);
    assert_eq!(tally.orphans, 0, "{line}");
    let loud: Vec<_> = tally.rows.iter().filter(|row| row.kill.is_silent() && row.gap_ms > 0).collect();
    assert!(loud.is_empty(), "a gap came of {loud:?}\n{}", transcript.brief());
    world.cluster.end().await.unwrap();
}

/// One accident, until words that were spoken after it arrive.
async fn accident(world: &World, kill: Kill, seed: u64) -> Row {
    let known = world.transcript(SESSION).await.unwrap().words().len();
    let next = async || {
        let now = world.transcript(SESSION).await?;
        Ok(now.words().len() > known && now.is_current())
    };
    world.until("another word arrives, as fresh as ever", next).await.unwrap();
    let before = world.transcript(SESSION).await.unwrap();
    let (starts, last) = (world.egress_starts().await.unwrap().len(), *before.words().last().unwrap());
    let victim = world.kubectl(&["get", "pods", "-o", "name"]).await.unwrap();
    let (begun, at) = (Instant::now(), jiff::Timestamp::now());
    world.kill(kill, SESSION).await.unwrap();
    // The tone after the last may have begun before the accident.
    let what =
        format!("{kill:?}, seed {seed}: tone {} of a session that is Ready, with one egress", last.index + 2);
    world.until(&what, async || world.has_recovered(SESSION, last.index + 2).await).await.unwrap();
    let recovered = begun.elapsed();
    if kill.takes_the_pod() {
        let moved = async || {
            Ok(world.kubectl(&["get", "pods", "-o", "name"]).await?.lines().all(|pod| !victim.contains(pod)))
        };
        world.until("the old pod is gone", moved).await.unwrap();
    }
    world.until("all replicas are there again", async || world.is_complete().await).await.unwrap();
    // A planned move comes after that.
    let silence = world.transcript(SESSION).await.unwrap().longest_silence(at);
    let egress_starts = world.egress_starts().await.unwrap().len() - starts;
    Row { at: last.end, recovered: recovered.max(silence), egress_starts, ..Row::of(kill) }
}
