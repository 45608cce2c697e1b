//! The real gateway over a memory log, for the fan-out benchmark: each line from the publisher's socket is appended as
//! a final, and reaches viewers by the log, the hub and their sockets, as in production. Prints
//! `{"http":PORT,"publish":PORT,"path":…}` when it listens.

use anyhow::{Context, Result};
use roomscribe_gateway::{
    Answer, Auth, CaptureMode, Config, CreateSession, Created, SessionDocument, Sessions, SessionsError,
};
use roomscribe_transcript::{Append, Event, Final, Generation, Log, MediaMs, Offset, SegmentId, SessionId};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const ID: &str = "019aaaaa-0000-7000-8000-00000000fa40";

/// A directory of one session that is live.
struct OneSession;

#[tokio::main]
async fn main() -> Result<()> {
    let log = Log::memory();
    let id = SessionId::parse(ID).context("the id is a UUID")?;
    log.open(&id).await?;
    let http = TcpListener::bind("127.0.0.1:0").await?;
    let publish = TcpListener::bind("127.0.0.1:0").await?;
    println!(
        "{}",
        json!({
            "http": http.local_addr()?.port(),
            "publish": publish.local_addr()?.port(),
            "path": format!("/v1/sessions/{ID}/stream"),
        })
    );
    let gateway = roomscribe_gateway::app(Config::new(Auth::Open), Arc::new(OneSession), log.clone());
    tokio::select! {
        served = gateway.serve(http, std::future::pending()) => served?,
        published = accept(publish, log, id) => published?,
    }
    Ok(())
}

async fn accept(listener: TcpListener, log: Log, id: SessionId) -> Result<()> {
    let mut head = 0;
    loop {
        let (socket, _) = listener.accept().await?;
        head = append_lines(socket, &log, &id, head).await?;
    }
}

/// One final per line; answers the head.
async fn append_lines(socket: TcpStream, log: &Log, id: &SessionId, mut head: u64) -> Result<u64> {
    let mut lines = BufReader::new(socket).lines();
    while let Some(text) = lines.next_line().await? {
        let append = Append {
            generation: Generation(1),
            expected_head: Offset(head),
            event: Event::Final(words(head + 1, text)),
            note: None,
        };
        log.append(id, append).await?;
        head += 1;
    }
    Ok(head)
}

fn words(nth: u64, text: String) -> Final {
    Final {
        seg: SegmentId(format!("1-00_{nth:08}")),
        start_ms: MediaMs(nth * 3_000),
        end_ms: MediaMs(nth * 3_000 + 2_400),
        speaker: None,
        language: Some("en".into()),
        text,
        words: Vec::new(),
        confidence: None,
        at: "2026-11-23T10:00:04.120Z".into(),
    }
}

fn document() -> SessionDocument {
    SessionDocument {
        id: ID.into(),
        name: "bench".into(),
        namespace: "local".into(),
        room_name: "bench".into(),
        state: "Live".into(),
        reason: "SpeechConnected".into(),
        message: String::new(),
        capture_mode: CaptureMode::Push,
        created_at: "2026-11-23T10:00:00Z".into(),
        started_at: None,
        completed_at: None,
        usage: json!({}),
        ingest: None,
    }
}

fn unsupported<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(async { Err(SessionsError::Unsupported("the benchmark has one session".into())) })
}

impl Sessions for OneSession {
    fn create(&self, _: CreateSession) -> Answer<'_, Created> {
        unsupported()
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move { if key == ID { Ok(document()) } else { Err(SessionsError::NotFound) } })
    }

    fn list(&self) -> Answer<'_, Vec<SessionDocument>> {
        Box::pin(async { Ok(vec![document()]) })
    }

    fn stop<'a>(&'a self, _: &'a str) -> Answer<'a, SessionDocument> {
        unsupported()
    }

    fn erase<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        unsupported()
    }

    fn rotate_ingest_key<'a>(&'a self, _: &'a str) -> Answer<'a, SessionDocument> {
        unsupported()
    }
}
