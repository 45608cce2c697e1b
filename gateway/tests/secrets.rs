//! Keys, tokens, tickets, stream keys and transcript text never reach logs, metrics or errors. Alone in its program: it
//! takes everything that this process logs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

#[path = "gateway/common/mod.rs"]
mod common;

use common::{Client, Door, JWT_SECRET, KEY, append, keyed, token, utterance};
use roomscribe_transcript::Event;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn no_secret_and_no_sentence_reaches_logs_metrics_or_errors() {
    let captured = Captured::default();
    let writer = captured.clone();
    // DEBUG of everything, as an operator who looks for a fault sets it.
    let filter = EnvFilter::new("debug,roomscribe_gateway=trace");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).init();
    tracing::info!("the capture works");
    let door = Door::with(roomscribe_gateway::Config { access_token_in_url: true, ..keyed() }).await;
    let id = door.session("standup").await;
    let sentence = "the quarterly numbers are terrible";
    append(&door.log, &id, Event::Final(utterance(1, sentence))).await;

    let (good, bad) = (token(json!({})), token(json!({"aud": "other", "sub": "mallory-the-secret-subject"})));
    let ticket: Value =
        door.post(&format!("/v1/sessions/{id}/tickets"), json!({})).await.json().await.unwrap();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let guessed = "a-guessed-api-key";
    let mut answers = String::new();
    let urls = [
        "",
        &format!("?ticket={ticket}"),
        &format!("?ticket=x{ticket}"),
        &format!("?access_token={good}"),
        &format!("?access_token={bad}"),
    ]
    .map(|q| door.stream_url(id.as_str(), q));
    for url in &urls[1..] {
        answers.push_str(&Client::open(url, None).await.frame().await.to_string());
    }
    for key in [KEY, &good, &bad, guessed] {
        answers.push_str(&Client::open(&urls[0], Some(key)).await.frame().await.to_string());
        let mut viewer = Client::open(&urls[0], Some(KEY)).await;
        viewer.offsets_to(1).await;
        viewer.say(&json!({"type": "auth", "token": key}).to_string()).await;
        answers.push_str(&viewer.frame().await.to_string());
        viewer.say(&json!({"type": "auth", "tokn": key}).to_string()).await;
        answers.push_str(&viewer.frame().await.to_string());
        let path = format!("{}/v1/sessions/nobody", door.base);
        answers.push_str(&door.http.get(path).bearer_auth(key).send().await.unwrap().text().await.unwrap());
    }
    answers.push_str(
        &door.post("/v1/sessions", json!({"roomName": "a", "token": guessed})).await.text().await.unwrap(),
    );
    door.get(&format!("/v1/sessions/{id}/transcript?format=txt")).await.text().await.unwrap();
    let metrics = door.get("/metrics").await.text().await.unwrap();
    let settings = format!("{:?}", keyed());

    let logged = captured.text();
    assert!(logged.contains("the capture works"));
    let mut signatures = [&good, &bad].map(|token| token.rsplit('.').next().unwrap().to_owned()).to_vec();
    signatures.push(ticket.rsplit('.').next().unwrap().to_owned());
    for secret in [KEY, "another-key", JWT_SECRET, guessed, &ticket, "secret-stream-key", sentence, "mallory"]
        .into_iter()
        .chain(signatures.iter().map(String::as_str))
    {
        for (place, text) in [
            ("the log", &logged),
            ("an error", &answers),
            ("the metrics", &metrics),
            ("Debug of the settings", &settings),
        ] {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
}
