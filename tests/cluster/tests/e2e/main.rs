//! A real cluster, end to end: our images, a LiveKit room, words. `make cluster-e2e` runs it; it needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod kills;
mod tally;
mod transcript;
mod viewers;
mod world;

use std::time::Instant;
use tally::Tally;
use world::World;

/// A number from the environment.
fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make cluster-e2e"]
async fn a_session_is_ready_says_words_and_leaves_nothing_when_it_is_deleted() {
    let world = World::start().await.unwrap();
    world.join("standup", "ada").await.unwrap();
    world.apply_example("minimal.yaml").await.unwrap();
    world.kubectl(&["wait", "--for=condition=Ready", "ts/standup", "--timeout=120s"]).await.unwrap();
    eprintln!("Ready");
    world
        .until("five finals arrive", async || Ok(world.transcript("standup").await?.finals().len() >= 5))
        .await
        .unwrap();
    let transcript = world.transcript("standup").await.unwrap();
    assert!(
        transcript.finals().iter().enumerate().all(|(n, text)| *text == format!("Utterance {n}.")),
        "{transcript:?}"
    );
    let expected: Vec<u64> = (1..=transcript.offsets().len() as u64).collect();
    assert_eq!(transcript.offsets(), expected);
    world.kubectl(&["delete", "ts", "standup", "--timeout=120s"]).await.unwrap();
    let everything =
        ["get", "pods,services,secrets,ts", "-l", "app.kubernetes.io/part-of=roomscribe", "-o", "name"];
    world.until("nothing is left", async || Ok(world.kubectl(&everything).await?.is_empty())).await.unwrap();
    assert_eq!(world.egresses().await.unwrap(), Vec::<serde_json::Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make cluster-e2e"]
async fn the_chart_tests_itself_and_uninstalling_it_ends_what_runs() {
    let world = World::start().await.unwrap();
    world.helm(&["test", "roomscribe", "--timeout", "120s"]).await.unwrap();
    world.join("standup", "ada").await.unwrap();
    world.apply_example("minimal.yaml").await.unwrap();
    world
        .until("words arrive", async || Ok(!world.transcript("standup").await?.finals().is_empty()))
        .await
        .unwrap();
    world.helm(&["uninstall", "roomscribe", "--wait", "--timeout", "180s"]).await.unwrap();
    let everything =
        ["get", "pods,services,secrets,ts", "-l", "app.kubernetes.io/part-of=roomscribe", "-o", "name"];
    assert_eq!(world.kubectl(&everything).await.unwrap(), "");
    assert_eq!(world.kubectl(&["get", "ts", "-o", "name"]).await.unwrap(), "");
    assert_eq!(world.egresses().await.unwrap(), Vec::<serde_json::Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make cluster-e2e"]
async fn whatever_is_killed_every_utterance_comes_once_and_the_session_is_ready_again() {
    let (seed, count) = (given("SEED", 1), given("KILLS", 10));
    let world = World::start().await.unwrap();
    world.join("standup", "ada").await.unwrap();
    world.apply_example("minimal.yaml").await.unwrap();
    world
        .until("words arrive", async || Ok(world.transcript("standup").await?.finals().len() >= 3))
        .await
        .unwrap();
    let mut tally = Tally::default();
    for kill in kills::order(seed, usize::try_from(count).unwrap()) {
        let before = world.transcript("standup").await.unwrap().finals().len();
        let begun = Instant::now();
        world.kill(kill, "standup").await.unwrap();
        let what =
            format!("{kill:?}, seed {seed}: two more finals of a session that is Ready, with one egress");
        world.until(&what, async || world.has_recovered("standup", before + 2).await).await.unwrap();
        eprintln!("{kill:?} {:.1} s", begun.elapsed().as_secs_f64());
        tally.recovered.push(begun.elapsed());
    }
    let transcript = world.transcript("standup").await.unwrap();
    world.kubectl(&["delete", "ts", "standup", "--timeout=120s"]).await.unwrap();
    tally.orphans = world.egresses().await.unwrap().len();
    let line = tally.line(&transcript);
    println!("{line}");
    assert!(line.contains(" lost=0 doubled=0 ") && line.ends_with(" orphans=0"), "{line}\n{transcript:?}");
}
