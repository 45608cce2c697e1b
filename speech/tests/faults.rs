//! Every fault can be switched on, and does what its name says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{Client, End, Server, finals, scripted, two_sentences};
use roomscribe_speech::{Config, Faults};
use serde_json::{Value, json};

fn with(faults: Value) -> Config {
    let mut config = scripted(two_sentences());
    config.faults = serde_json::from_value::<Faults>(faults).unwrap();
    config
}

async fn started(faults: Value) -> (Server, String, String, Client) {
    let server = Server::start(with(faults)).await;
    let (id, url, client) = server.session(json!({})).await;
    (server, id, url, client)
}

#[tokio::test]
async fn post_is_refused_as_often_as_told_and_then_works() {
    for status in [400, 401, 422, 429, 500] {
        let server =
            Server::start(with(json!({"post": {"status": status, "times": 2, "retryAfter": 3}}))).await;
        for _ in 0..2 {
            let (seen, body) = server.post(json!({})).await;
            assert_eq!((seen, &body["statusCode"]), (status, &json!(status)));
        }
        assert_eq!(server.post(json!({})).await.0, 201);
    }
}

#[tokio::test]
async fn validation_may_answer_422() {
    let server = Server::start(with(json!({"validationStatus": 422}))).await;
    assert_eq!(server.post(json!({"channels": 0})).await.0, 422);
}

#[tokio::test]
async fn a_connection_is_cut_in_each_way_at_its_moment_of_audio() {
    for (how, end) in [
        (json!({"close": 1011}), End::Close(1011)),
        (json!({"close": 1012}), End::Close(1012)),
        (json!({"close": 4500}), End::Close(4500)),
    ] {
        let (_server, _, url, mut client) = started(json!({"cuts": [{"atSeconds": 1.0, "how": how}]})).await;
        client.audio(1.0).await;
        let (messages, seen) = client.rest().await;
        assert_eq!(seen, end, "{how}");
        let acked = messages.iter().filter(|m| m["type"] == "audio_chunk").count();
        assert_eq!(acked, 10, "{how}");
        // The session lives on the same url.
        let mut again = Client::connect(&url).await;
        again.audio(0.1).await;
        again.until_acked(11 * 3200).await;
    }
}

#[tokio::test]
async fn a_dropped_connection_ends_without_a_close_frame_and_a_reset_one_with_rst() {
    for how in ["drop", "reset"] {
        let (_server, _, url, mut client) = started(json!({"cuts": [{"atSeconds": 0.5, "how": how}]})).await;
        client.audio(0.5).await;
        assert!(matches!(client.rest().await.1, End::Broken(_)), "{how}");
        assert_eq!(client.was_reset(), how == "reset");
        Client::connect(&url).await.audio(0.1).await;
    }
}

#[tokio::test]
async fn a_4403_ends_the_session() {
    let (server, id, url, mut client) =
        started(json!({"cuts": [{"atSeconds": 0.5, "how": {"close": 4403}}]})).await;
    client.audio(0.5).await;
    assert_eq!(client.rest().await.1, End::Close(4403));
    server.wait_for_status(&id, "done").await;
    assert_eq!(Client::connect(&url).await.rest().await.1, End::Close(4403));
}

#[tokio::test]
async fn a_silent_client_is_cut_after_the_idle_limit() {
    let (_server, _, _, mut client) = started(json!({"idleSeconds": 0.05, "idleCode": 1011})).await;
    assert_eq!(client.rest().await.1, End::Close(1011));
}

#[tokio::test]
async fn a_session_ends_at_its_longest_duration_with_all_its_finals() {
    let (_server, _, _, mut client) = started(json!({"sessionCapSeconds": 0.5, "idleSeconds": 60})).await;
    client.audio(2.0).await;
    let (messages, end) = client.rest().await;
    assert_eq!((finals(&messages), end), (vec![" Hello dear world".to_owned()], End::Close(1000)));
    assert!(messages.iter().any(|m| m["type"] == "error" && m["data"]["code"] == "session_timeout"));
}

#[tokio::test]
async fn strange_messages_fields_and_errors_are_sent_when_asked_for() {
    let faults = json!({"unknownMessages": true, "unknownFields": true, "sendStartSession": true,
        "omitConfidence": true, "omitWords": true,
        "error": {"atSeconds": 0.5, "code": "rate_limit_exceeded", "message": "slow down"}});
    let (_server, _, _, mut client) = started(faults).await;
    client.audio(2.0).await;
    client.stop().await;
    let (messages, _) = client.rest().await;
    assert_eq!(messages[0]["type"], "start_session");
    assert!(messages.iter().any(|m| m["type"] == "future_message"));
    assert!(messages.iter().all(|m| m["future_field"].is_object()));
    assert!(messages.iter().any(|m| m["data"]["code"] == "rate_limit_exceeded"));
    let last = messages.iter().find(|m| m["data"]["is_final"] == true).unwrap();
    let utterance = last["data"]["utterance"].as_object().unwrap();
    assert!(!utterance.contains_key("confidence") && !utterance.contains_key("words"));
}

#[tokio::test]
async fn acks_are_coalesced_refused_and_delayed_as_told() {
    let (_server, _, _, mut client) = started(json!({"acks": {"coalesce": 5, "delayMs": 20}})).await;
    client.audio(1.0).await;
    for range in [[0, 16_000], [16_000, 32_000]] {
        let ack = client.until("audio_chunk").await;
        if ack["data"]["byte_range"] == json!([0, 32_000]) {
            break;
        }
        assert_eq!(ack["data"]["byte_range"], json!(range));
    }
    let (_server, _, _, mut client) = started(json!({"acks": {"refuseEvery": 3}})).await;
    client.audio(0.3).await;
    let mut accepted = Vec::new();
    for _ in 0..3 {
        accepted.push(client.until("audio_chunk").await["acknowledged"].clone());
    }
    assert_eq!(accepted, [true, true, false]);
}

#[tokio::test]
async fn withheld_audio_is_forgotten_or_doubled_at_a_break() {
    for (unacked, seconds) in [("drop", 1.0), ("keep", 2.0)] {
        let cut = json!([{"atSeconds": 1.0, "how": "drop"}]);
        let faults = json!({"acks": {"withhold": true}, "unacked": unacked, "cuts": cut});
        let (server, id, url, mut client) = started(faults).await;
        client.audio(1.0).await;
        client.rest().await;
        let mut again = Client::connect(&url).await;
        again.audio(1.0).await;
        again.stop().await;
        again.rest().await;
        let result = server.wait_for_status(&id, "done").await;
        assert_eq!(result["result"]["metadata"]["audio_duration"], json!(seconds), "{unacked}");
    }
}

#[tokio::test]
async fn a_stalled_server_does_not_read_and_then_loses_nothing() {
    let (_server, _, _, mut client) = started(json!({"stall": {"atSeconds": 0.5, "forMs": 100}})).await;
    client.audio(2.0).await;
    client.stop().await;
    assert_eq!(finals(&client.rest().await.0), [" Hello dear world"]);
}

#[tokio::test]
async fn the_result_shows_processing_until_the_delay_is_over_and_cannot_be_deleted_before() {
    let (server, id, _, mut client) = started(json!({"doneDelayMs": 3000})).await;
    client.stop().await;
    client.rest().await;
    let path = format!("/v2/live/{id}");
    assert_eq!(server.get(&path).await.1["status"], "processing");
    assert_eq!(server.delete(&path).await, 403);
    server.wait_for_status(&id, "done").await;
    assert_eq!(server.delete(&path).await, 202);
}

#[tokio::test]
async fn faults_are_set_at_run_time_only_where_control_is_on() {
    let faults = json!({"post": {"status": 500, "times": null, "retryAfter": null}});
    for control in [false, true] {
        let mut config = scripted(two_sentences());
        config.control = control;
        let server = Server::start(config).await;
        let put = reqwest::Client::new().put(format!("{}/control/faults", server.base)).json(&faults);
        assert_eq!(put.send().await.unwrap().status().as_u16(), if control { 204 } else { 404 });
        assert_eq!(server.post(json!({})).await.0, if control { 500 } else { 201 });
    }
}

#[tokio::test]
async fn live_connections_are_broken_on_command() {
    let mut config = scripted(two_sentences());
    config.control = true;
    let server = Server::start(config).await;
    let (_, _, mut client) = server.session(json!({})).await;
    client.until("start_recording").await;
    let post = reqwest::Client::new().post(format!("{}/control/break", server.base));
    assert_eq!(post.json(&json!({"close": 1012})).send().await.unwrap().status().as_u16(), 204);
    assert_eq!(client.rest().await.1, End::Close(1012));
}
