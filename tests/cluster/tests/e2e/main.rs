//! A real cluster, end to end: our images, a LiveKit room, words. `make cluster-e2e` runs it; it needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod transcript;
mod world;

use world::World;

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
