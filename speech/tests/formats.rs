//! Every audio format of the protocol, in both kinds of frames, and what is said of frames that are none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{Client, End, Server, scripted, two_sentences};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

async fn connect(server: &Server, body: serde_json::Value) -> (String, Client) {
    let (status, reply) = server.post(body).await;
    assert_eq!(status, 201, "{reply}");
    (reply["id"].as_str().unwrap().into(), Client::connect(reply["url"].as_str().unwrap()).await)
}

#[tokio::test]
async fn a_tenth_of_a_second_has_as_many_bytes_as_its_format_says() {
    let server = Server::scripted(two_sentences()).await;
    let pcm = [(8, 8_000, 1), (16, 16_000, 1), (16, 44_100, 2), (24, 48_000, 3), (32, 32_000, 8)];
    let telephone = ["wav/alaw", "wav/ulaw"].map(|encoding| (encoding, (8, 8_000, 1)));
    let formats = pcm.map(|format| ("wav/pcm", format)).into_iter().chain(telephone);
    for (encoding, (depth, rate, channels)) in formats {
        let body =
            json!({"encoding": encoding, "bit_depth": depth, "sample_rate": rate, "channels": channels});
        let (_, mut client) = connect(&server, body.clone()).await;
        let bytes = rate / 10 * channels * depth / 8;
        client.send(Message::binary(vec![0; bytes])).await;
        let ack = client.until("audio_chunk").await;
        assert_eq!(ack["data"], json!({"byte_range": [0, bytes], "time_range": [0.0, 0.1]}), "{body}");
        if channels * depth > 8 {
            client.send(Message::binary(vec![0; bytes - 1])).await;
            assert_eq!(client.until("audio_chunk").await["acknowledged"], false, "{body}: half a frame");
        }
    }
}

#[tokio::test]
async fn the_audio_file_is_in_the_sessions_own_format() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = scripted(two_sentences());
    config.audio_dir = Some(dir.path().into());
    let server = Server::start(config).await;
    for (encoding, tag) in [("wav/pcm", 1_u16), ("wav/alaw", 6), ("wav/ulaw", 7)] {
        let (id, mut client) =
            connect(&server, json!({"encoding": encoding, "bit_depth": 8, "sample_rate": 8000})).await;
        let path = format!("{}/v2/live/{id}/file", server.base);
        assert_eq!(reqwest::get(&path).await.unwrap().status().as_u16(), 404, "not before the end");
        client.send(Message::binary(vec![0x55; 800])).await;
        client.stop().await;
        client.rest().await;
        server.wait_for_status(&id, "done").await;
        let file = reqwest::get(path).await.unwrap().bytes().await.unwrap();
        let at = file.windows(4).position(|w| w == b"data").unwrap();
        assert_eq!(file[20..22], tag.to_le_bytes(), "{encoding}");
        assert_eq!(file[at + 8..], vec![0x55; 800], "{encoding}");
    }
}

#[tokio::test]
async fn a_frame_that_is_no_message_is_told_so_and_the_session_lives() {
    let server = Server::scripted(two_sentences()).await;
    let (_, mut client) = connect(&server, json!({})).await;
    for (frame, code) in [
        (r#"{"type":"audio_chunk","data":{"chunk":"no base64!"}}"#, "invalid_audio_format"),
        (r#"{"type":"audio_chunk"}"#, "invalid_audio_format"),
        (r#"{"type":"sing"}"#, "invalid_message"),
        ("{}", "invalid_message"),
        ("not JSON", "invalid_message"),
    ] {
        client.send(Message::text(frame)).await;
        assert_eq!(client.until("error").await["data"]["code"], code, "{frame}");
    }
    client.audio(0.1).await;
    client.until_acked(3200).await;
}

#[tokio::test]
async fn a_frame_of_one_mebibyte_is_taken_and_one_byte_more_of_either_kind_is_1009() {
    let server = Server::scripted(two_sentences()).await;
    let (_, mut client) = connect(&server, json!({})).await;
    client.send(Message::binary(vec![0; 1 << 20])).await;
    client.until_acked(1 << 20).await;
    client.send(Message::binary(vec![0; (1 << 20) + 1])).await;
    assert_eq!(client.rest().await.1, End::Close(1009));
    let (_, mut client) = connect(&server, json!({})).await;
    client.send(Message::text(" ".repeat((1 << 20) + 1))).await;
    assert_eq!(client.rest().await.1, End::Close(1009));
}
