//! A planned move: two workers, one log; the publisher goes from one to the other between two frames.

use crate::nats::{ended, events, until_word, with_nats};
use crate::nats_server::{NatsServer, log};
use crate::publisher::Publisher;
use crate::stage::{ID, Speech, Stage, free_port};
use crate::tones::check;
use roomscribe_sims::tones::PERIOD;
use serde_json::json;

/// One log; the second's workers succeed a living one.
fn stages(speech: &Speech, server: &NatsServer) -> (Stage, Stage) {
    let (mut first, mut second) = (Stage::new(&speech.url()), Stage::new(&speech.url()));
    with_nats(&mut first, server);
    with_nats(&mut second, server);
    second.flags.push("--handover".into());
    (first, second)
}

/// Moves at this stream time, and holds the transcript to account.
async fn moved_at(seconds: f64) {
    let (speech, server) = (Speech::start(json!({})), NatsServer::on(free_port(), ""));
    let (first, second) = stages(&speech, &server);
    let mut before = first.worker().await;
    let publisher = Publisher::start(&first.url(1), 1.0).await;
    let reader = log(&server).await;
    until_word(&reader, 0, &first).await;
    let after = second.worker_of(2).await;
    before.signal("TERM").await;
    publisher.reach(seconds).await;
    publisher.move_to(&second.url(2));
    assert_eq!(before.ended().await.code(), Some(0), "{}", first.stderr());
    until_word(&reader, (seconds / PERIOD) as u32 + 2, &second).await;
    let heard = ended(&second, after, publisher).await;
    let events = events(&reader).await;
    check(&events, &[], heard);
    let gaps: Vec<_> = events.iter().filter(|event| event["type"] == "gap").collect();
    assert!(gaps.is_empty(), "moved at {seconds} s: {gaps:?}");
    let handovers = events.iter().filter(|event| event["type"] == "handover").count();
    assert_eq!(handovers, 2, "moved at {seconds} s: {events:#?}");
}

#[tokio::test]
async fn a_move_in_a_pause_costs_no_word_and_tells_no_gap() {
    moved_at(7.0).await;
}

#[tokio::test]
async fn a_move_in_the_middle_of_a_word_cuts_it_in_two_halves_and_loses_neither() {
    tokio::join!(moved_at(7.75), moved_at(7.9), moved_at(8.05));
}

#[tokio::test]
async fn a_worker_that_still_asks_for_the_words_of_a_dead_one_hands_over_at_once() {
    let (speech, server) = (Speech::start(json!({})), NatsServer::on(free_port(), ""));
    let (first, second) = stages(&speech, &server);
    let dead = first.worker().await;
    let publisher = Publisher::start(&first.url(1), 1.0).await;
    let reader = log(&server).await;
    until_word(&reader, 1, &first).await;
    dead.kill().await;
    // As in another pod: the speech service waits a minute for the dead one's connection before it tells what it has heard.
    std::fs::remove_dir_all(first.data.join("sessions").join(ID).join("spool")).unwrap();
    let mut before = first.worker().await;
    publisher.reach(7.0).await;
    let after = second.worker_of(2).await;
    before.signal("TERM").await;
    publisher.reach(10.0).await;
    publisher.move_to(&second.url(2));
    assert_eq!(before.ended().await.code(), Some(0), "{}", first.stderr());
    let told = events(&reader).await;
    assert_eq!(told.last().unwrap()["type"], "handover", "{told:#?}");
    until_word(&reader, (10.0 / PERIOD) as u32 + 2, &second).await;
    let holes = publisher.holes();
    let heard = ended(&second, after, publisher).await;
    check(&events(&reader).await, &holes, heard);
}
