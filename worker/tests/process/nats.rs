//! The log in a real NATS: what happens to it costs no word, and no word comes twice.

use crate::nats_server::{NatsServer, log};
use crate::publisher::Publisher;
use crate::stage::{ID, PATIENCE, Speech, Stage, Worker, free_port};
use crate::tones::{check, numbers};
use roomscribe_transcript::{Log, LogError, Offset, SessionId};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(crate) fn with_nats(stage: &mut Stage, server: &NatsServer) {
    stage.flags.extend(["--nats-url".to_owned(), server.url()]);
}

/// Every event of the log, as NATS has it now.
pub(crate) async fn events(log: &Log) -> Vec<Value> {
    let (id, mut events) = (SessionId::parse(ID).unwrap(), Vec::new());
    loop {
        match log.read(&id, Offset(events.len() as u64), 1000).await {
            Ok(records) if records.is_empty() => return events,
            Ok(records) => {
                events.extend(records.iter().map(|record| serde_json::to_value(&**record).unwrap()))
            }
            Err(LogError::NoSession) => return events,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn until_word(log: &Log, number: u32, stage: &Stage) {
    let begun = Instant::now();
    loop {
        let seen = events(log).await;
        if numbers(&seen).contains(&number) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {seen:#?}\n{}", stage.stderr());
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn ended(stage: &Stage, mut worker: Worker, publisher: Publisher) -> f64 {
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    heard
}

#[tokio::test]
async fn a_nats_that_is_killed_or_frozen_in_mid_stream_and_comes_back_costs_and_doubles_no_word() {
    let (speech, mut server) = (Speech::start(json!({})), NatsServer::on(free_port(), ""));
    let mut stage = Stage::new(&speech.url());
    with_nats(&mut stage, &server);
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    until_word(&log(&server).await, 0, &stage).await;
    server.kill();
    worker.until_status(|status| status["reason"] == "NatsUnreachable").await;
    assert_eq!(worker.status().await["state"], "publishing");
    publisher.reach(6.0).await;
    server.run();
    publisher.reach(8.0).await;
    server.freeze();
    publisher.reach(11.0).await;
    server.thaw();
    let reader = log(&server).await;
    until_word(&reader, 6, &stage).await;
    worker.until_status(|status| status["reason"] != "NatsUnreachable").await;
    publisher.reach(13.0).await;
    assert!(publisher.holes().is_empty(), "the port closed");
    let heard = ended(&stage, worker, publisher).await;
    check(&events(&reader).await, &[], heard);
    assert!(!stage.data.join("sessions").join(ID).join("log.rsl").exists(), "two logs");
}

#[tokio::test]
async fn a_worker_killed_beside_its_nats_is_followed_by_one_that_goes_on_after_its_last_word() {
    let (speech, mut server) = (Speech::start(json!({})), NatsServer::on(free_port(), ""));
    let mut stage = Stage::new(&speech.url());
    with_nats(&mut stage, &server);
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    until_word(&log(&server).await, 1, &stage).await;
    server.kill();
    worker.kill().await;
    server.run();
    let worker = stage.worker().await;
    publisher.reach(9.0).await;
    let holes = publisher.holes();
    let heard = ended(&stage, worker, publisher).await;
    check(&events(&log(&server).await).await, &holes, heard);
}

#[tokio::test]
async fn a_log_that_was_lost_with_its_storage_begins_anew_and_the_meeting_goes_on() {
    let (speech, server) = (Speech::start(json!({})), NatsServer::on(free_port(), ""));
    let mut stage = Stage::new(&speech.url());
    with_nats(&mut stage, &server);
    let worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    let reader = log(&server).await;
    until_word(&reader, 0, &stage).await;
    let id = SessionId::parse(ID).unwrap();
    let lost = reader.head(&id).await.unwrap().epoch;
    crate::nats_server::delete_stream(&server).await;
    let word = (publisher.now() / roomscribe_sims::tones::PERIOD) as u32 + 2;
    until_word(&log(&server).await, word, &stage).await;
    assert_ne!(reader.head(&id).await.unwrap().epoch, lost);
    let offsets: Vec<_> =
        events(&reader).await.iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
    ended(&stage, worker, publisher).await;
}

#[tokio::test]
async fn a_nats_that_is_not_there_at_the_start_is_waited_for_and_told_without_the_password() {
    let (speech, port) = (Speech::start(json!({})), free_port());
    let mut stage = Stage::new(&speech.url());
    stage.flags.extend(["--nats-url".to_owned(), format!("nats://worker:hush@127.0.0.1:{port}")]);
    let worker = stage.waiting_worker().await;
    worker.until_status(|status| status["reason"] == "NatsUnreachable").await;
    let said = worker.status().await["lastError"].to_string();
    assert!(said.contains("NATS_URL") && said.contains("127.0.0.1") && !said.contains("hush"), "{said}");
    let (ready, why) = worker.get("/ready").await.unwrap();
    assert!(ready == 503 && why.contains("NATS_URL"), "{ready} {why}");
    assert_eq!(worker.get("/live").await.unwrap().0, 200, "it is not to be killed for that");
    let server = NatsServer::on(port, "");
    worker.until(|| async { worker.get("/ready").await.is_some_and(|answer| answer.0 == 200) }).await;
    assert_eq!(worker.status().await["reason"], "");
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    until_word(&log(&server).await, 1, &stage).await;
    ended(&stage, worker, publisher).await;
    assert!(!stage.stderr().contains("hush"));
}

#[tokio::test]
async fn a_worker_that_waits_for_nats_ends_when_it_is_asked_to() {
    let mut stage = Stage::new("http://127.0.0.1:1");
    stage.flags.extend(["--nats-url".to_owned(), format!("nats://127.0.0.1:{}", free_port())]);
    let mut worker = stage.waiting_worker().await;
    worker.until_status(|status| status["reason"] == "NatsUnreachable").await;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(75), "{}", stage.stderr());
}
