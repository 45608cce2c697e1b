//! Gladia's v2 live protocol, message by message, with the scripted recogniser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{Client, End, Server, finals, scripted, two_sentences, types};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_session_says_everything_in_the_documented_order() {
    let server = Server::scripted(two_sentences()).await;
    let translate = json!({"realtime_processing": {"translation": true, "translation_config": {"target_languages": ["en"]}}});
    let (id, _, mut client) = server.session(translate).await;
    client.audio(4.0).await;
    client.stop().await;
    let (messages, end) = client.rest().await;
    let expected = "start_recording \
        speech_start partial speech_end final translation \
        speech_start partial speech_end final translation \
        stop_recording end_recording post_transcript post_final_transcript end_session";
    let mut seen = types(&messages);
    seen.dedup();
    assert_eq!(seen.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(end, End::Close(1000));
    assert!(messages.iter().all(|m| m["session_id"] == id.as_str() && m["created_at"].is_string()));
    assert_eq!(finals(&messages), [" Hello dear world", " Второе предложение"]);
}

#[tokio::test]
async fn partials_share_the_id_of_their_final_and_grow_towards_it() {
    let server = Server::scripted(two_sentences()).await;
    let (_, _, mut client) = server.session(json!({})).await;
    client.audio(4.0).await;
    client.stop().await;
    let (messages, _) = client.rest().await;
    let of_first: Vec<&Value> = messages.iter().filter(|m| m["data"]["id"] == "00_00000000").collect();
    assert!(of_first.len() >= 2, "{of_first:?}");
    let last = of_first.last().unwrap();
    assert_eq!(last["data"]["is_final"], true);
    let whole = last["data"]["utterance"]["text"].as_str().unwrap();
    assert!(of_first.iter().all(|m| whole.starts_with(m["data"]["utterance"]["text"].as_str().unwrap())));
    let words = last["data"]["utterance"]["words"].as_array().unwrap();
    assert_eq!((words[0]["start"].as_f64(), words[2]["end"].as_f64()), (Some(0.5), Some(1.5)));
}

#[tokio::test]
async fn each_chunk_is_acknowledged_with_half_open_ranges_of_the_session() {
    let server = Server::scripted(json!({"utterances": []})).await;
    let (_, _, mut client) = server.session(json!({})).await;
    client.audio(0.1).await;
    client.audio_as_text(0.1).await;
    client.json(json!({"type": "audio_chunk", "data": {"chunk": ""}})).await;
    let mut ranges = Vec::new();
    for _ in 0..3 {
        let ack = client.until("audio_chunk").await;
        assert_eq!((&ack["acknowledged"], &ack["error"]), (&json!(true), &Value::Null));
        ranges.push(ack["data"].clone());
    }
    assert_eq!(ranges[0], json!({"byte_range": [0, 3200], "time_range": [0.0, 0.1]}));
    assert_eq!(ranges[1], json!({"byte_range": [3200, 6400], "time_range": [0.1, 0.2]}));
    assert_eq!(ranges[2]["byte_range"], json!([6400, 6400]));
}

#[tokio::test]
async fn a_chunk_that_splits_a_sample_is_refused_and_does_not_count() {
    let server = Server::scripted(json!({"utterances": []})).await;
    let (_, _, mut client) = server.session(json!({})).await;
    client.send(Message::binary(vec![0; 3])).await;
    let refusal = client.until("audio_chunk").await;
    assert_eq!((&refusal["acknowledged"], &refusal["data"]), (&json!(false), &Value::Null));
    client.audio(0.1).await;
    client.until_acked(3200).await;
}

#[tokio::test]
async fn without_messages_config_there_are_finals_acks_and_speech_events_but_no_partials_or_lifecycle() {
    let server = Server::scripted(two_sentences()).await;
    let (_, reply) = server.post(json!({})).await;
    let mut client = Client::connect(reply["url"].as_str().unwrap()).await;
    client.audio(4.0).await;
    client.stop().await;
    let (messages, _) = client.rest().await;
    assert!(messages.iter().any(|m| m["type"] == "audio_chunk"));
    let expected = "speech_start speech_end final speech_start speech_end final \
        stop_recording post_transcript post_final_transcript";
    assert_eq!(types(&messages).join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[tokio::test]
async fn every_flag_silences_its_messages() {
    let server = Server::scripted(two_sentences()).await;
    let off = json!({"messages_config": {"receive_partial_transcripts": false, "receive_final_transcripts": false,
        "receive_speech_events": false, "receive_realtime_processing_events": false, "receive_errors": false,
        "receive_post_processing_events": false, "receive_acknowledgments": false, "receive_lifecycle_events": false},
        "realtime_processing": {"translation": true, "translation_config": {"target_languages": ["en"]}}});
    let (id, _, mut client) = server.session(off).await;
    client.json(json!({"type": "nonsense"})).await;
    client.audio(4.0).await;
    client.stop().await;
    assert_eq!(client.rest().await, (vec![], End::Close(1000)));
    let result = server.wait_for_status(&id, "done").await;
    assert_eq!(result["result"]["transcription"]["full_transcript"], "Hello dear world Второе предложение");
}

#[tokio::test]
async fn audio_after_stop_is_ignored_and_a_second_stop_changes_nothing() {
    let server = Server::scripted(two_sentences()).await;
    let (id, _, mut client) = server.session(json!({})).await;
    client.audio(2.0).await;
    client.stop().await;
    client.stop().await;
    client.audio(2.0).await;
    let (messages, end) = client.rest().await;
    assert_eq!(end, End::Close(1000));
    assert_eq!(finals(&messages), [" Hello dear world"]);
    let result = server.wait_for_status(&id, "done").await;
    assert_eq!(result["result"]["metadata"]["audio_duration"], 2.0);
}

#[tokio::test]
async fn a_broken_connection_is_resumed_on_the_same_url_with_the_offset_going_on() {
    let server = Server::scripted(two_sentences()).await;
    let (_, url, mut first) = server.session(json!({})).await;
    first.audio(2.0).await;
    first.until_acked(20 * 3200).await;
    drop(first);
    let mut second = Client::connect(&url).await;
    second.audio(2.0).await;
    second.stop().await;
    let (messages, end) = second.rest().await;
    assert_eq!(end, End::Close(1000));
    let ack = messages.iter().find(|m| m["type"] == "audio_chunk").unwrap();
    assert_eq!(ack["data"]["byte_range"], json!([64000, 67200]));
    assert_eq!(finals(&messages).last().unwrap(), " Второе предложение");
    assert!(!types(&messages).contains(&"start_recording".to_owned()));
}

#[tokio::test]
async fn closing_with_1000_ends_the_session_in_the_background() {
    let server = Server::scripted(two_sentences()).await;
    let (id, url, mut client) = server.session(json!({})).await;
    client.audio(2.0).await;
    client.until_acked(64_000).await;
    client.close(1000).await;
    let result = server.wait_for_status(&id, "done").await;
    assert_eq!(result["result"]["transcription"]["full_transcript"], "Hello dear world");
    let (messages, end) = Client::connect(&url).await.rest().await;
    assert_eq!((messages, end), (vec![], End::Close(4403)));
}

#[tokio::test]
async fn an_over_long_frame_is_closed_with_1009_and_the_session_lives() {
    let server = Server::scripted(two_sentences()).await;
    let (_, url, mut client) = server.session(json!({})).await;
    client.send(Message::binary(vec![0; 1024 * 1024 + 2])).await;
    assert_eq!(client.rest().await.1, End::Close(1009));
    let mut client = Client::connect(&url).await;
    client.audio(0.1).await;
    client.until_acked(3200).await;
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older() {
    let server = Server::scripted(two_sentences()).await;
    let (_, url, mut old) = server.session(json!({})).await;
    old.until("start_recording").await;
    let mut new = Client::connect(&url).await;
    assert_eq!(old.rest().await.1, End::Close(4409));
    new.audio(0.1).await;
    new.until_acked(3200).await;
}

#[tokio::test]
async fn an_unknown_token_is_refused_at_the_upgrade() {
    let server = Server::scripted(two_sentences()).await;
    let url = format!("{}/v2/live?token=none", server.base.replace("http", "ws"));
    let error = tokio_tungstenite::connect_async(url).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}

#[tokio::test]
async fn right_to_left_and_multichannel_utterances_arrive_as_they_were() {
    let script = json!({"utterances": [
        {"start": 0.1, "end": 0.5, "text": " שלום עולם", "language": "he", "channel": 1},
        {"start": 0.2, "end": 0.6, "text": " مرحبا بالعالم", "language": "ar", "channel": 0}]});
    let server = Server::scripted(script).await;
    let (_, _, mut client) = server.session(json!({"channels": 2})).await;
    client.audio(2.4).await;
    client.stop().await;
    let (messages, _) = client.rest().await;
    let mut by_channel: Vec<_> = messages
        .iter()
        .filter(|m| m["data"]["is_final"] == true)
        .map(|m| {
            (
                m["data"]["id"].clone(),
                m["data"]["utterance"]["channel"].clone(),
                m["data"]["utterance"]["text"].clone(),
            )
        })
        .collect();
    by_channel.sort_by_key(|(id, ..)| id.to_string());
    assert_eq!(
        by_channel,
        [
            (json!("00_00000000"), json!(0), json!(" مرحبا بالعالم")),
            (json!("01_00000000"), json!(1), json!(" שלום עולם"))
        ]
    );
    let result = messages.iter().find(|m| m["type"] == "post_final_transcript").unwrap();
    assert_eq!(result["data"]["metadata"]["billing_time"], json!(2.4));
}

#[tokio::test]
async fn a_translation_names_its_utterance_and_both_languages() {
    let server = Server::scripted(two_sentences()).await;
    let body = json!({"realtime_processing": {"translation": true, "translation_config": {"target_languages": ["en", "fr"]}}});
    let (_, _, mut client) = server.session(body).await;
    client.audio(4.0).await;
    client.stop().await;
    let (messages, _) = client.rest().await;
    let told: Vec<_> = messages.iter().filter(|m| m["type"] == "translation").collect();
    let good = told.iter().find(|m| !m["data"].is_null()).unwrap();
    assert_eq!(good["data"]["utterance_id"], "00_00000001");
    assert_eq!(
        (&good["data"]["original_language"], &good["data"]["target_language"]),
        (&json!("ru"), &json!("en"))
    );
    assert_eq!(good["data"]["translated_utterance"]["text"], " The second sentence");
    // What the script does not translate is told as an error, not left out.
    assert!(told.iter().any(|m| m["data"].is_null() && m["error"]["message"].is_string()));
}

#[tokio::test]
async fn shutting_down_closes_live_connections_with_1012() {
    let mut server = Server::start(scripted(two_sentences())).await;
    let (_, _, mut client) = server.session(json!({})).await;
    client.until("start_recording").await;
    server.stop();
    assert_eq!(client.rest().await.1, End::Close(1012));
}
