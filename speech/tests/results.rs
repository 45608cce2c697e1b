//! Nothing that a session received is missing from its result, however its connections ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use std::time::Duration;

use common::{Client, End, Server, scripted, two_sentences};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const BOTH: &str = "Hello dear world Второе предложение";

fn starts(transcription: &Value) -> Vec<f64> {
    transcription["utterances"].as_array().unwrap().iter().map(|u| u["start"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn a_close_with_1000_right_behind_the_audio_loses_none_of_it() {
    let server = Server::scripted(two_sentences()).await;
    for _ in 0..10 {
        let (id, _, mut client) = server.session(json!({})).await;
        client.audio(4.0).await;
        client.close(1000).await;
        let body = server.wait_for_status(&id, "done").await;
        assert_eq!(body["result"]["metadata"]["audio_duration"], 4.0);
        assert_eq!(body["result"]["transcription"]["full_transcript"], BOTH);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_without_reading_frees_its_place() {
    let mut config = scripted(two_sentences());
    config.limits.detached = Duration::from_millis(20);
    let server = Server::start(config).await;
    for _ in 0..10 {
        let (id, _, mut client) = server.session(json!({})).await;
        client.audio(4.0).await;
        drop(client);
        server.wait_for_status(&id, "done").await;
    }
}

#[tokio::test]
async fn the_last_messages_and_the_result_hold_every_utterance_of_all_connections() {
    let server = Server::scripted(two_sentences()).await;
    let translate = json!({"realtime_processing": {"translation": true, "translation_config": {"target_languages": ["en"]}}});
    let (id, url, mut first) = server.session(translate).await;
    first.audio(2.0).await;
    first.until_acked(20 * 3200).await;
    drop(first);
    let mut second = Client::connect(&url).await;
    second.audio(1.0).await;
    second.until_acked(30 * 3200).await;
    drop(second);
    let mut third = Client::connect(&url).await;
    third.audio(1.0).await;
    third.stop().await;
    let (messages, end) = third.rest().await;
    assert_eq!(end, End::Close(1000));
    let of = |kind: &str| messages.iter().find(|m| m["type"] == kind).unwrap()["data"].clone();
    let (post, last) = (of("post_transcript"), of("post_final_transcript"));
    let body = server.wait_for_status(&id, "done").await;
    for transcription in [&post, &last["transcription"], &body["result"]["transcription"]] {
        assert_eq!(transcription["full_transcript"], BOTH);
        assert_eq!(starts(transcription), [0.5, 2.5]);
        assert_eq!(transcription["utterances"][0]["words"].as_array().unwrap().len(), 3);
    }
    for result in [&last, &body["result"]] {
        assert_eq!(result["translation"]["results"][0]["full_transcript"], "The second sentence");
    }
}

#[tokio::test]
async fn there_is_no_result_while_the_session_is_processed() {
    let mut config = scripted(two_sentences());
    config.faults.done_delay_ms = 300;
    let server = Server::start(config).await;
    let (id, _, mut client) = server.session(json!({})).await;
    let path = format!("/v2/live/{id}");
    assert!(server.get(&path).await.1["result"].is_null());
    client.audio(4.0).await;
    client.stop().await;
    client.rest().await;
    let body = server.get(&path).await.1;
    assert_eq!((&body["status"], &body["result"]), (&json!("processing"), &Value::Null));
    let body = server.wait_for_status(&id, "done").await;
    assert_eq!(body["result"]["transcription"]["full_transcript"], BOTH);
    assert!(body["completed_at"].is_string());
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_and_its_session_lives() {
    let server = Server::scripted(two_sentences()).await;
    let (_, url, mut client) = server.session(json!({})).await;
    client.audio(0.1).await;
    let overflows = || async {
        let metrics = reqwest::get(format!("{}/metrics", server.base)).await.unwrap().text().await.unwrap();
        metrics.contains("roomscribe_speech_outbox_overflows_total 1")
    };
    // Each empty chunk buys an acknowledgment of 200 bytes; the system's buffers take a few megabytes of them.
    let mut cut = false;
    for _ in 0..100 {
        for _ in 0..2_000 {
            client.send(Message::binary(vec![])).await;
        }
        cut = overflows().await;
        if cut {
            break;
        }
    }
    assert!(cut, "200,000 acknowledgments wait for a client that does not read");
    let mut again = Client::connect(&url).await;
    again.audio(0.1).await;
    again.until_acked(2 * 3200).await;
}
