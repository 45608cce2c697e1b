//! A gateway on loopback over an in-memory directory of sessions.
#![allow(dead_code, unused_imports, reason = "every test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod client;
mod directory;

pub(crate) use client::{Client, Heard};
pub(crate) use directory::Directory;

use roomscribe_gateway::{Auth, Config, Secret, app};
use roomscribe_transcript::{
    Append, Event, Final, Generation, Log, MediaMs, Offset, Partial, SegmentId, SessionId,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "the-api-key";
pub(crate) const JWT_SECRET: &str = "a shared secret of at least 32 bytes";
/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway.
pub(crate) struct Door {
    pub(crate) base: String,
    pub(crate) log: Log,
    pub(crate) sessions: Arc<Directory>,
    pub(crate) http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn keyed() -> Config {
    Config::new(Auth::Required {
        api_keys: vec![Secret::new("another-key"), Secret::new(KEY)],
        jwt_secret: Some(Secret::new(JWT_SECRET)),
    })
}

pub(crate) fn open() -> Config {
    Config::new(Auth::Open)
}

impl Door {
    pub(crate) async fn with(config: Config) -> Self {
        Self::over(config, Log::memory(), Arc::default()).await
    }

    /// A gateway over a log and directory that may outlive it, as replicas share them.
    pub(crate) async fn over(config: Config, log: Log, sessions: Arc<Directory>) -> Self {
        sessions.set_log(log.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let gateway =
            app(config, Arc::clone(&sessions) as Arc<dyn roomscribe_gateway::Sessions>, log.clone());
        let task = tokio::spawn(gateway.serve(listener, async { drop(stopped.await) }));
        Self { base, log, sessions, http: reqwest::Client::new(), stop: Some(stop), task }
    }

    pub(crate) fn authority(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// Asks it to stop; [`Door::stopped`] waits for the end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(&mut self) -> std::io::Result<()> {
        self.stop();
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the gateway stops").unwrap()
    }

    /// A session with a log, and nothing in it.
    pub(crate) async fn session(&self, room: &str) -> SessionId {
        let id = self.sessions.add(room);
        self.log.open(&id).await.unwrap();
        id
    }

    /// Appends finals until the head is `to`.
    pub(crate) async fn speak(&self, id: &SessionId, to: u64) {
        speak(&self.log, id, to).await;
    }

    pub(crate) async fn end(&self, id: &SessionId) {
        append(&self.log, id, Event::End(roomscribe_transcript::End { reason: "Stopped".into() })).await;
    }

    pub(crate) fn partial(&self, id: &SessionId, seg: &str, rev: u32) {
        self.partial_of(id, seg, rev, format!("reading {rev}"));
    }

    pub(crate) fn partial_of(&self, id: &SessionId, seg: &str, rev: u32, text: String) {
        let partial = Partial {
            seg: SegmentId(seg.into()),
            rev,
            after: Offset(0),
            start_ms: MediaMs(u64::MAX / 4),
            end_ms: MediaMs(u64::MAX / 2),
            speaker: None,
            text,
        };
        self.log.publish_partial(id, partial);
    }

    pub(crate) async fn stream(&self, id: &SessionId, query: &str) -> Client {
        Client::open(&self.stream_url(id.as_str(), query), Some(KEY)).await
    }

    pub(crate) fn stream_url(&self, key: &str, query: &str) -> String {
        format!("ws://{}/v1/sessions/{key}/stream{query}", self.authority())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(KEY);
        request.json(&body).send().await.unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    /// The value of one series of `/metrics`, 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text =
            self.http.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix("roomscribe_gateway_")?.strip_prefix(series));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// How often this limit was met.
    pub(crate) async fn refused(&self, limit: &str) -> f64 {
        self.metric(&format!("refused_total{{limit=\"{limit}\"}}")).await
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(KEY).send().await.unwrap()
    }
}

pub(crate) async fn append(log: &Log, id: &SessionId, event: Event) -> Offset {
    let expected_head = log.head(id).await.unwrap().head;
    let append = Append { generation: Generation(1), expected_head, event, note: None };
    log.append(id, append).await.unwrap().offset
}

pub(crate) async fn speak(log: &Log, id: &SessionId, to: u64) {
    for offset in log.head(id).await.unwrap().head.0 + 1..=to {
        append(log, id, Event::Final(utterance(offset, &format!("utterance {offset}")))).await;
    }
}

pub(crate) fn utterance(offset: u64, text: &str) -> Final {
    Final {
        seg: SegmentId(format!("1-{offset:011}")),
        start_ms: MediaMs(offset * 1000),
        end_ms: MediaMs(offset * 1000 + 900),
        speaker: None,
        language: Some("en".into()),
        text: text.into(),
        words: vec![],
        confidence: None,
        at: "2026-11-23T10:00:04.120Z".into(),
    }
}

/// A viewer's token: these claims over good ones (`null` takes one away), for an hour.
pub(crate) fn token(claims: Value) -> String {
    signed(claims, jsonwebtoken::Algorithm::HS256, JWT_SECRET)
}

pub(crate) fn signed(claims: Value, algorithm: jsonwebtoken::Algorithm, secret: &str) -> String {
    let good = json!({"sub": "eve", "exp": unix() + 3600, "aud": "roomscribe", "sid": "*", "scope": "read"});
    let mut all = good.as_object().unwrap().clone();
    all.extend(claims.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &all, &key).unwrap()
}

pub(crate) fn unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An answer's problem: status and the last word of its type. Checks the form that all problems have.
pub(crate) async fn problem(answer: reqwest::Response) -> (u16, String) {
    let body = problem_body(answer).await;
    let kind = body["type"].as_str().unwrap().strip_prefix("https://roomscribe.io/problems/").unwrap();
    (body["status"].as_u64().unwrap() as u16, kind.to_owned())
}

pub(crate) async fn problem_body(answer: reqwest::Response) -> Value {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{status}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    body
}
