//! Every fault of the speech service that a real worker may meet; the words come from the audio alone.

use crate::publisher::Publisher;
use crate::stage::{Speech, Stage};
use crate::tones::check;
use serde_json::{Value, json};

/// Publishes faster than real time while the service misbehaves, stops, and holds the transcript to account.
async fn survives(name: &str, faults: Value) {
    let speech = Speech::start(faults);
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 2.0).await;
    publisher.reach(14.0).await;
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{name}: {}", stage.stderr());
    println!("{name}");
    check(&stage.events(), &[], heard);
}

#[tokio::test]
async fn cuts_of_the_speech_connection_lose_and_double_nothing() {
    let cut = |how: Value| json!([{"atSeconds": 2.0, "how": how}, {"atSeconds": 5.3, "how": how}]);
    tokio::join!(
        survives("reset", json!({"cuts": cut(json!("reset"))})),
        survives("drop", json!({"cuts": cut(json!("drop"))})),
        survives("1011", json!({"cuts": cut(json!({"close": 1011}))})),
        survives("4500", json!({"cuts": cut(json!({"close": 4500}))})),
        survives("4403", json!({"cuts": [{"atSeconds": 5.3, "how": {"close": 4403}}]})),
        survives("kept", json!({"cuts": cut(json!("reset")), "unacked": "keep"})),
        survives("late acks", json!({"cuts": cut(json!("drop")), "acks": {"delayMs": 400, "coalesce": 3}})),
    );
}

#[tokio::test]
async fn acknowledgements_that_never_come_and_strange_messages_lose_and_double_nothing() {
    tokio::join!(
        survives("no acks", json!({"acks": {"withhold": true}, "unacked": "keep"})),
        survives("strange", json!({"unknownMessages": true, "unknownFields": true, "omitConfidence": true})),
        survives("stall", json!({"stall": {"atSeconds": 3.0, "forMs": 1500}})),
        survives("error", json!({"error": {"atSeconds": 3.0, "code": "x", "message": "something"}})),
        survives("429", json!({"post": {"status": 429, "times": 1, "retryAfter": 1}})),
        survives("500", json!({"post": {"status": 500, "times": 2}})),
    );
}

#[tokio::test]
async fn a_speech_server_that_is_killed_and_comes_back_without_memory_loses_and_doubles_nothing() {
    let speech = Speech::start(json!({}));
    let (port, stage) = (speech.port, Stage::new(&speech.url()));
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    publisher.reach(4.3).await;
    drop(speech);
    publisher.reach(6.0).await;
    let speech = Speech::at(port, json!({}));
    publisher.reach(8.0).await;
    speech.control("break", json!("reset")).await;
    publisher.reach(9.3).await;
    speech.control("break", json!({"close": 4403})).await;
    publisher.reach(12.0).await;
    let heard = publisher.leave().await - 0.1;
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    check(&stage.events(), &[], heard);
}
