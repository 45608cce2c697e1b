//! A server on a port of the system's choice and a plain client, which shares no code with the server.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use roomscribe_speech::{Config, RecogniserKind, Script};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// 100 ms of 16 kHz mono PCM16.
pub(crate) const CHUNK: usize = 3200;

pub(crate) struct Server {
    pub(crate) base: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Server {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let shutdown = async move { _ = stopped.await };
            roomscribe_speech::serve(listener, config, shutdown).await.unwrap();
        });
        Self { base, stop: Some(stop) }
    }

    pub(crate) async fn scripted(script: Value) -> Self {
        Self::start(scripted(script)).await
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn post(&self, body: Value) -> (u16, Value) {
        let sent = http().post(format!("{}/v2/live", self.base)).json(&body).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let sent = http().get(format!("{}{path}", self.base)).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap_or_default())
    }

    pub(crate) async fn delete(&self, path: &str) -> u16 {
        http().delete(format!("{}{path}", self.base)).send().await.unwrap().status().as_u16()
    }

    /// A new session with everything to be told; its id and a connection.
    pub(crate) async fn session(&self, extra: Value) -> (String, String, Client) {
        let mut body = json!({"endpointing": 0.3, "messages_config":
            {"receive_partial_transcripts": true, "receive_lifecycle_events": true}});
        merge(&mut body, extra);
        let (status, reply) = self.post(body).await;
        assert_eq!(status, 201, "{reply}");
        let (id, url) = (reply["id"].as_str().unwrap().to_owned(), reply["url"].as_str().unwrap().to_owned());
        let client = Client::connect(&url).await;
        (id, url, client)
    }

    /// Waits until `GET /v2/live/{id}` shows `status`.
    pub(crate) async fn wait_for_status(&self, id: &str, status: &str) -> Value {
        let wait = async {
            loop {
                let (_, body) = self.get(&format!("/v2/live/{id}")).await;
                if body["status"] == status {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {status}"))
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(k, v)| merge(into.entry(k).or_insert(Value::Null), v));
        }
        (into, from) => *into = from,
    }
}

pub(crate) fn scripted(script: Value) -> Config {
    let script: Script = serde_json::from_value(script).unwrap();
    Config::new(RecogniserKind::Scripted(script))
}

/// Two sentences: at 0.5–1.5 s and at 2.5–3.5 s.
pub(crate) fn two_sentences() -> Value {
    json!({"utterances": [
        {"start": 0.5, "end": 1.5, "text": " Hello dear world", "confidence": 0.9},
        {"start": 2.5, "end": 3.5, "text": " Второе предложение", "language": "ru", "translations": {"en": " The second sentence"}}]})
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Close(u16),
    /// Without a close frame.
    Broken(String),
}

pub(crate) struct Client {
    socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self { socket: tokio_tungstenite::connect_async(url).await.unwrap().0 }
    }

    /// Sends seconds of silence in chunks of 100 ms; the scripted recogniser hears its script in it.
    pub(crate) async fn audio(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as usize {
            self.send(Message::binary(vec![0; CHUNK])).await;
        }
    }

    /// The same as base64 in JSON.
    pub(crate) async fn audio_as_text(&mut self, seconds: f64) {
        let chunk = base64::engine::general_purpose::STANDARD.encode(vec![0; CHUNK]);
        for _ in 0..(seconds * 10.0).round() as usize {
            self.json(json!({"type": "audio_chunk", "data": {"chunk": chunk}})).await;
        }
    }

    pub(crate) async fn stop(&mut self) {
        self.json(json!({"type": "stop_recording"})).await;
    }

    pub(crate) async fn json(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// A broken connection shows in what is read.
    pub(crate) async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    pub(crate) async fn next(&mut self) -> Result<Value, End> {
        let next = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(Some(frame)))) => return Err(End::Close(frame.code.into())),
                    Some(Err(Error::Io(e))) => return Err(End::Broken(e.kind().to_string())),
                    Some(Err(e)) => return Err(End::Broken(e.to_string())),
                    None => return Err(End::Broken("end".into())),
                    Some(Ok(_)) => {}
                }
            }
        });
        next.await.expect("the server says nothing")
    }

    /// Everything until the connection ends.
    pub(crate) async fn rest(&mut self) -> (Vec<Value>, End) {
        let mut messages = Vec::new();
        loop {
            match self.next().await {
                Ok(message) => messages.push(message),
                Err(end) => return (messages, end),
            }
        }
    }

    /// Reads until a message of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|end| panic!("{end:?} before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Reads until all bytes up to `end` are acknowledged.
    pub(crate) async fn until_acked(&mut self, end: u64) {
        loop {
            let ack = self.until("audio_chunk").await;
            if ack["data"]["byte_range"][1] == end {
                return;
            }
        }
    }

    /// After the end: a reset connection refuses the first byte, one that was merely closed takes it.
    pub(crate) fn was_reset(&self) -> bool {
        match self.socket.get_ref() {
            tokio_tungstenite::MaybeTlsStream::Plain(stream) => stream.try_write(b"x").is_err(),
            _ => false,
        }
    }

    pub(crate) async fn close(mut self, code: u16) {
        use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        let _ = self.socket.close(Some(frame)).await;
    }
}

/// The types of messages, acknowledgments of audio left out.
pub(crate) fn types(messages: &[Value]) -> Vec<String> {
    let name = |m: &Value| match (m["type"].as_str().unwrap(), m["data"]["is_final"].as_bool()) {
        ("transcript", Some(true)) => "final".to_owned(),
        ("transcript", _) => "partial".to_owned(),
        (other, _) => other.to_owned(),
    };
    messages.iter().map(name).filter(|t| t != "audio_chunk").collect()
}

pub(crate) fn finals(messages: &[Value]) -> Vec<String> {
    let text = |m: &Value| m["data"]["utterance"]["text"].as_str().unwrap_or_default().to_owned();
    messages.iter().filter(|m| m["data"]["is_final"] == true).map(text).collect()
}
