//! When recognition cannot keep up: it says so, drops partials first, stops reading the socket at the backlog's
//! bound, and in the end every utterance has its final. The engine here works only while a gate lets it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::config::{Config, RecogniserKind};
use crate::pool::Engine;
use crate::script::Script;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);
/// Utterances of 1 s, each followed by 1 s of silence.
const UTTERANCES: usize = 60;

fn engine(gate: Receiver<()>) -> Engine {
    let mut heard = 0;
    Box::new(move |_, _| {
        gate.recv().map_err(|e| e.to_string())?;
        heard += 1;
        Ok(format!("utterance {heard}"))
    })
}

async fn server(backlog: f64) -> (Arc<Server>, String, SyncSender<()>) {
    let (gate, wait) = sync_channel(1024);
    let mut config = Config::new(RecogniserKind::Scripted(Script::default()));
    config.limits.backlog = Duration::from_secs_f64(backlog);
    let server = Server::with_engines(config, vec![engine(wait)]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let routes = crate::http::routes(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (server, base, gate)
}

/// PCM16 of the utterances, in chunks of 100 ms.
fn talk() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(5);
    let mut chunk = |loud: bool| {
        let most = if loud { 8000 } else { 20 };
        (0..1600).flat_map(|_| random.i16(-most..most).to_le_bytes()).collect()
    };
    (0..UTTERANCES * 20).map(|n| chunk(n % 20 >= 10)).collect()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_final_that_is_ready_while_no_one_is_connected_is_told_on_the_next_connection() {
    let (server, base, gate) = server(15.0).await;
    let body = json!({"endpointing": 0.3});
    let reply = reqwest::Client::new().post(format!("{base}/v2/live")).json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    let url = reply["url"].as_str().unwrap();
    let (mut first, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for chunk in talk().into_iter().take(28) {
        first.send(Message::binary(chunk)).await.unwrap();
    }
    until("an utterance waits for its words", || server.metrics.backlog_seconds.get() > 0.5).await;
    drop(first);
    until("the server knows that its client is gone", || server.metrics.connections_live.get() == 0).await;
    gate.send(()).unwrap();
    until("its words are there", || server.metrics.finals.get() == 1).await;
    let (mut second, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let told = async {
        loop {
            if let Message::Text(text) = second.next().await.unwrap().unwrap()
                && let Ok(message) = serde_json::from_str::<Value>(&text)
                && message["data"]["is_final"] == true
            {
                return message;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told["data"]["utterance"]["text"], " utterance 1");
}

#[tokio::test]
async fn an_overloaded_recogniser_says_so_and_loses_no_utterance() {
    let (server, base, gate) = server(15.0).await;
    let body = json!({"endpointing": 0.3, "messages_config": {"receive_partial_transcripts": true}});
    let reply = reqwest::Client::new().post(format!("{base}/v2/live")).json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    let (socket, _) = tokio_tungstenite::connect_async(reply["url"].as_str().unwrap()).await.unwrap();
    let (mut tx, mut rx) = socket.split();
    let sending = tokio::spawn(async move {
        for chunk in talk() {
            tx.send(Message::binary(chunk)).await.unwrap();
        }
        tx.send(Message::text(r#"{"type":"stop_recording"}"#)).await.unwrap();
        tx
    });
    until("the backlog's bound", || server.metrics.backlog_full.get() > 0).await;
    let backlog = server.metrics.backlog_seconds.get();
    assert!((15.0..17.0).contains(&backlog), "{backlog} s");
    // More than finals and partials can use.
    (0..1000).for_each(|_| gate.send(()).unwrap());

    let mut messages = Vec::new();
    while let Ok(Some(Ok(message))) = tokio::time::timeout(PATIENCE, rx.next()).await {
        if let Message::Text(text) = message {
            messages.push(serde_json::from_str::<Value>(&text).unwrap());
        }
    }
    drop(sending.await.unwrap());
    let count = |what: &dyn Fn(&Value) -> bool| messages.iter().filter(|m| what(m)).count();
    assert_eq!(count(&|m| m["data"]["is_final"] == true), UTTERANCES);
    assert_eq!(count(&|m| m["data"]["code"] == "recognition_behind"), 1);
    assert_eq!(count(&|m| m["data"]["code"] == "recognition_caught_up"), 1);
    let acked = messages.iter().rfind(|m| m["type"] == "audio_chunk").unwrap();
    assert_eq!(acked["data"]["byte_range"][1], UTTERANCES * 20 * 3200);
    assert!(server.metrics.backlog_seconds.get().abs() < 1e-6);
    assert!(server.metrics.partials_dropped.get() > 0, "partials go first");
}

#[tokio::test]
async fn a_second_stop_while_words_are_still_awaited_is_refused_and_the_words_come() {
    let (_server, base, gate) = server(15.0).await;
    let body = json!({"endpointing": 0.3, "messages_config": {"receive_acknowledgments": true}});
    let reply = reqwest::Client::new().post(format!("{base}/v2/live")).json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(reply["url"].as_str().unwrap()).await.unwrap();
    for chunk in talk().into_iter().take(28) {
        socket.send(Message::binary(chunk)).await.unwrap();
    }
    for _ in 0..2 {
        socket.send(Message::text(r#"{"type":"stop_recording"}"#)).await.unwrap();
    }
    let (mut stops, mut finals) = (Vec::new(), 0);
    while let Ok(Some(Ok(Message::Text(text)))) = tokio::time::timeout(PATIENCE, socket.next()).await {
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "stop_recording" {
            stops.push(message["acknowledged"].clone());
            (0..stops.len() / 2).for_each(|_| gate.send(()).unwrap());
        }
        finals += usize::from(message["data"]["is_final"] == true);
    }
    assert_eq!((stops, finals), (vec![json!(true), json!(false)], 1));
}
