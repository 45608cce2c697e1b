//! `kill -9` and panics: nothing lost, nothing twice, times right.

use crate::publisher::Publisher;
use crate::stage::{Speech, Stage, Worker};
use crate::tones::{Hole, check, check_within, numbers};
use roomscribe_worker::faults::{POISON, SPOKEN};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test]
async fn a_worker_killed_in_mid_sentence_at_any_point_loses_and_doubles_no_final() {
    let seeds = (1..=4u64).map(|seed| async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let speech = Speech::start(json!({}));
        let stage = Stage::new(&speech.url());
        let mut worker = stage.worker().await;
        let publisher = Publisher::start(&stage.url(1), 1.0).await;
        for round in 0..3 {
            publisher.reach(2.0 + 5.0 * f64::from(round) + random.f64() * 3.0).await;
            worker.kill().await;
            sleep(Duration::from_millis(random.u64(0..600))).await;
            worker = stage.worker().await;
        }
        finish(&stage, worker, publisher, 18.0).await;
    });
    futures_util::future::join_all(seeds).await;
}

#[tokio::test]
async fn a_worker_killed_while_speech_is_away_has_kept_the_audio_of_both_lives() {
    let mut speech = Speech::start(json!({}));
    let (port, stage) = (speech.port, Stage::new(&speech.url()));
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&0)).await;
    drop(speech);
    publisher.reach(5.2).await;
    worker.kill().await;
    let worker = stage.worker().await;
    publisher.reach(8.0).await;
    speech = Speech::at(port, json!({}));
    finish(&stage, worker, publisher, 11.0).await;
    drop(speech);
}

#[tokio::test]
async fn audio_spooled_before_speech_ever_answered_survives_a_kill() {
    let port = crate::stage::free_port();
    let stage = Stage::new(&format!("http://127.0.0.1:{port}"));
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    publisher.reach(3.6).await;
    worker.kill().await;
    let worker = stage.worker().await;
    publisher.reach(5.0).await;
    let speech = Speech::at(port, json!({}));
    finish(&stage, worker, publisher, 8.0).await;
    drop(speech);
}

#[tokio::test]
async fn a_panic_in_the_pipeline_leaves_the_socket_open_is_counted_and_costs_no_word() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    for at in [3.4, 6.2] {
        publisher.reach(at).await;
        publisher.inject(POISON);
    }
    publisher.reach(8.0).await;
    assert_eq!(worker.metric("roomscribe_worker_pipeline_panics_total").await, 2);
    assert_eq!(worker.metric("roomscribe_worker_rtmp_connections_total").await, 1, "the socket was closed");
    let events = end(&stage, worker, publisher, 10.0).await;
    // The new pipeline begins a new publish on the old socket: wall time is its clock once.
    check_within(&events.0, &events.1, events.2, 150.0);
    assert!(!stage.stderr().contains(SPOKEN), "a panic's message was logged");
}

/// Publishes up to a stream time, then ends everything in order: events, holes, and stream time of the end.
async fn end(
    stage: &Stage,
    mut worker: Worker,
    publisher: Publisher,
    until: f64,
) -> (Vec<Value>, Vec<Hole>, f64) {
    publisher.reach(until).await;
    let holes = publisher.holes();
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    let status = worker.ended().await;
    assert_eq!(status.code(), Some(0), "{}", stage.stderr());
    (stage.events(), holes, heard)
}

/// … and holds the transcript to account.
async fn finish(stage: &Stage, worker: Worker, publisher: Publisher, until: f64) {
    let (events, holes, heard) = end(stage, worker, publisher, until).await;
    check(&events, &holes, heard);
}
