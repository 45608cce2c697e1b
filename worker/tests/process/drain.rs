//! SIGTERM and SIGINT: the port is the last thing to close.

use crate::publisher::Publisher;
use crate::stage::{Speech, Stage};
use crate::tones::{check, numbers};
use serde_json::json;

/// Grace − 20 s = 2 s of patience with the publisher.
fn patient(speech: &Speech) -> Stage {
    let mut stage = Stage::new(&speech.url());
    stage.flags = vec!["--grace-seconds".into(), "22".into()];
    stage
}

#[tokio::test]
async fn after_sigterm_the_publisher_stays_for_its_time_then_is_let_go_and_every_word_is_in_the_log() {
    let speech = Speech::start(json!({}));
    let stage = patient(&speech);
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&0)).await;
    worker.signal("TERM").await;
    let signalled = publisher.now();
    worker.until_status(|status| status["state"] == "draining").await;
    let status = worker.status().await;
    assert_eq!(status["publisher"]["attempt"], 1, "the publisher was dropped by the signal: {status}");
    assert_eq!(worker.get("/ready").await.unwrap().0, 200, "who comes back finds nobody else yet");
    assert_eq!(worker.get("/live").await.unwrap().0, 200);
    assert!(
        !numbers(&stage.events()).contains(&2),
        "the test is too slow to see that the transcript goes on"
    );
    publisher.reach(signalled + 1.8).await;
    assert!(publisher.holes().is_empty(), "the port closed before its time");
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    let events = stage.events();
    check(&events, &[], signalled + 1.8);
    assert!(events.iter().all(|event| event["type"] != "end"), "a suspended session must be able to go on");
}

#[tokio::test]
async fn a_drain_ends_as_soon_as_the_publisher_has_left() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    publisher.reach(2.5).await;
    worker.signal("TERM").await;
    worker.until_status(|status| status["state"] == "draining").await;
    let heard = publisher.leave().await - 0.1;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    check(&stage.events(), &[], heard);
}

#[tokio::test]
async fn sigint_does_not_wait_for_the_publisher_and_loses_nothing_either() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    publisher.reach(2.5).await;
    worker.signal("INT").await;
    // Far within the 70 s that SIGTERM would give the publisher.
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    check(&stage.events(), &[], 2.4);
}
