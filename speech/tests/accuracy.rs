//! The on-device recogniser on recordings that its wheel brings: words, times, and clicks that are no words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;
#[path = "common/wer.rs"]
mod wer;

use common::{Client, Server};
use roomscribe_speech::{Config, RecogniserKind, model_files};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const TWO_CITIES: &str = include_str!("two_cities.txt");
const BECKETT: &str = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.";

async fn files() -> model_files::MoonshineFiles {
    let fetch = || model_files::ensure(&model_files::default_cache(), &mut |_| ());
    tokio::task::spawn_blocking(fetch).await.unwrap().unwrap_or_else(|e| panic!("{e}"))
}

/// Finals of PCM16 audio sent at once.
async fn finals(rate: u32, audio: &[u8]) -> Vec<Value> {
    let server = Server::start(Config::new(RecogniserKind::Moonshine(files().await))).await;
    let body = json!({"sample_rate": rate, "endpointing": 0.3, "maximum_duration_without_endpointing": 15});
    let (_, reply) = server.post(body).await;
    let mut client = Client::connect(reply["url"].as_str().unwrap()).await;
    for chunk in audio.chunks(rate as usize / 5) {
        client.send(Message::binary(chunk.to_vec())).await;
    }
    client.stop().await;
    let (messages, _) = client.rest().await;
    messages.into_iter().filter(|m| m["data"]["is_final"] == true).collect()
}

/// Sample rate and samples of a PCM16 mono WAV file.
fn wav(path: &std::path::Path) -> (u32, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    (u32::from_le_bytes(bytes[24..28].try_into().unwrap()), bytes[at..].to_vec())
}

fn text(finals: &[Value]) -> String {
    finals.iter().map(|f| f["data"]["utterance"]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn two_recordings_of_natural_speech_are_heard_with_few_wrong_words() {
    let files = files().await;
    for (path, reference, most) in
        [(files.two_cities_wav, TWO_CITIES, 0.12), (files.beckett_wav, BECKETT, 0.2)]
    {
        let (rate, audio) = wav(&path);
        let heard = text(&finals(rate, &audio).await);
        let rate = wer::wer(reference, &heard);
        assert!(rate <= most, "word error rate {rate:.3}: {heard}");
    }
}

#[tokio::test]
async fn utterances_follow_each_other_and_hold_their_words_in_order() {
    let (rate, audio) = wav(&files().await.two_cities_wav);
    let finals = finals(rate, &audio).await;
    let mut last = 0.0;
    for utterance in finals.iter().map(|f| &f["data"]["utterance"]) {
        let (start, end) = (utterance["start"].as_f64().unwrap(), utterance["end"].as_f64().unwrap());
        assert!(start >= last && end > start && end <= 44.4, "{utterance}");
        let words = utterance["words"].as_array().unwrap();
        assert_eq!(
            (words[0]["start"].as_f64(), words.last().unwrap()["end"].as_f64()),
            (Some(start), Some(end))
        );
        assert!(words.windows(2).all(|w| w[0]["end"].as_f64() <= w[1]["start"].as_f64()));
        assert!(utterance["confidence"].is_null(), "nothing measures it");
        last = end;
    }
    // Heard in the recording: the sixth "it was" phrase ("the season of light") is spoken between 13 s and 15 s.
    let light =
        finals.iter().find(|f| f["data"]["utterance"]["text"].as_str().unwrap().contains("light")).unwrap();
    assert!((12.5..15.5).contains(&light["data"]["utterance"]["start"].as_f64().unwrap()));
}

#[tokio::test]
async fn clicks_tones_and_noise_are_not_words() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut sound = Vec::new();
    for n in 0..160_000_usize {
        let tone = 6000.0 * (n as f64 * 440.0 * std::f64::consts::TAU / 16_000.0).sin();
        let sample = match n / 16_000 {
            // A keyboard: bursts of 25 ms.
            1..=3 if n % 4000 < 400 => random.f64() * 16_000.0 - 8000.0,
            5 | 6 => tone,
            8 => random.f64() * 3000.0 - 1500.0,
            _ => random.f64() * 40.0 - 20.0,
        };
        sound.extend((sample as i16).to_le_bytes());
    }
    let finals = finals(16_000, &sound).await;
    assert!(finals.is_empty(), "made up: {}", text(&finals));
}

#[tokio::test]
async fn a_language_that_the_model_does_not_know_is_refused_with_a_reason() {
    let server = Server::start(Config::new(RecogniserKind::Moonshine(files().await))).await;
    let (status, body) = server.post(json!({"language_config": {"languages": ["ru"]}})).await;
    assert_eq!(status, 400);
    assert!(body["validation_errors"][0].as_str().unwrap().contains("English only"), "{body}");
    assert_eq!(server.post(json!({"language_config": {"languages": ["ru", "en"]}})).await.0, 201);
}

#[tokio::test]
async fn the_result_holds_every_utterance_from_before_and_after_a_break() {
    let files = files().await;
    let (rate, audio) = wav(&files.two_cities_wav);
    let server = Server::start(Config::new(RecogniserKind::Moonshine(files))).await;
    let body = json!({"sample_rate": rate, "endpointing": 0.3, "maximum_duration_without_endpointing": 15});
    let (_, reply) = server.post(body).await;
    let url = reply["url"].as_str().unwrap();
    let chunks: Vec<_> = audio.chunks(rate as usize / 5).collect();
    let (before, after) = chunks.split_at(chunks.len() / 2);
    let mut client = Client::connect(url).await;
    for chunk in before {
        client.send(Message::binary(chunk.to_vec())).await;
    }
    client.until_acked(before.iter().map(|c| c.len() as u64).sum()).await;
    drop(client);
    let mut client = Client::connect(url).await;
    for chunk in after {
        client.send(Message::binary(chunk.to_vec())).await;
    }
    client.stop().await;
    let (messages, _) = client.rest().await;
    let last = &messages.iter().find(|m| m["type"] == "post_final_transcript").unwrap()["data"];
    let heard = last["transcription"]["full_transcript"].as_str().unwrap();
    assert!(wer::wer(TWO_CITIES, heard) <= 0.12, "{heard}");
    let utterances = last["transcription"]["utterances"].as_array().unwrap();
    let starts: Vec<_> = utterances.iter().map(|u| u["start"].as_f64().unwrap()).collect();
    assert!(starts.is_sorted() && starts[0] < 2.0 && starts[starts.len() - 1] > 35.0, "{starts:?}");
    let body = server.wait_for_status(reply["id"].as_str().unwrap(), "done").await;
    assert_eq!(body["result"]["transcription"], last["transcription"]);
}
