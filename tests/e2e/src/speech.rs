//! Speech services for tests: `roomscribe speech` with a script, and a front that listens in and fails on purpose.

use crate::{free_port, roomscribe};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::task::{JoinHandle, JoinSet};

/// `roomscribe speech --script`.
pub struct Scripted {
    child: Child,
    folder: tempfile::TempDir,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Scripted {
    /// Starts one that hears `script` (see `speech/src/script.rs`) in whatever is said.
    pub async fn start(script: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("script.json"), script.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let child = Self::spawn(&folder, &address)?;
        let started = Self { child, folder, address };
        started.until_up().await?;
        Ok(started)
    }

    /// `kill -9`, and a new one at the same address that knows nothing of the old one's sessions.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.child.kill().await?;
        self.child = Self::spawn(&self.folder, &self.address)?;
        self.until_up().await
    }

    /// Base URL for `GLADIA_API_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spawn(folder: &tempfile::TempDir, address: &str) -> Result<Child> {
        let script = folder.path().join("script.json");
        let mut command = roomscribe()?;
        command
            .args(["speech", "--listen", address, "--max-sessions", "64", "--script"])
            .arg(script)
            .stdout(Stdio::null());
        Ok(command.current_dir(folder.path()).spawn()?)
    }

    async fn until_up(&self) -> Result<()> {
        crate::eventually(|| async { TcpStream::connect(&self.address).await.is_ok() }).await
    }
}

/// What a [`Front`] does with the next requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Everything goes through.
    Open,
    /// `POST` is answered with this status.
    Refuse(u16),
    /// Connections are closed without an answer.
    Deaf,
}

struct Shared {
    mood: Mood,
    asked: usize,
    bodies: Vec<Value>,
}

/// A TCP front of a speech service: keeps the bodies of `POST /v2/live`, refuses and cuts on command.
pub struct Front {
    /// Its base URL.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// A front of the service at `upstream` (`HOST:PORT`).
    pub async fn start(upstream: &str, mood: Mood) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Mutex::new(Shared { mood, asked: 0, bodies: Vec::new() }));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (state, open, upstream) = (shared.clone(), connections.clone(), upstream.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (state, upstream) = (state.clone(), upstream.clone());
                open.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
                    // A connection that fails is what the tests are about.
                    let _ = pass(socket, state, &upstream).await;
                });
            }
        });
        Ok(Self { url, shared, connections, task })
    }

    /// From now on.
    pub fn set(&self, mood: Mood) {
        lock(&self.shared).mood = mood;
    }

    /// Breaks every connection, without a close frame.
    pub async fn cut(&self) {
        let mut open = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        open.shutdown().await;
    }

    /// How often a session was asked for.
    pub fn asked(&self) -> usize {
        lock(&self.shared).asked
    }

    /// Bodies of the requests that went through.
    pub fn bodies(&self) -> Vec<Value> {
        lock(&self.shared).bodies.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(mut socket: TcpStream, shared: Arc<Mutex<Shared>>, upstream: &str) -> Result<()> {
    let (request, body_at) = read_request(&mut socket).await?;
    let posting = request.starts_with(b"POST /v2/live");
    let mood = {
        let mut shared = lock(&shared);
        shared.asked += usize::from(posting);
        if posting && shared.mood == Mood::Open {
            shared.bodies.push(serde_json::from_slice(&request[body_at..])?);
        }
        shared.mood
    };
    match mood {
        Mood::Deaf => return Ok(()),
        Mood::Refuse(status) if posting => return refuse(socket, status).await,
        _ => {}
    }
    let mut service = TcpStream::connect(upstream).await?;
    service.write_all(&request).await?;
    copy_bidirectional(&mut socket, &mut service).await?;
    Ok(())
}

async fn refuse(mut socket: TcpStream, status: u16) -> Result<()> {
    let body =
        format!(r#"{{"statusCode":{status},"message":"refused on purpose","request_id":"G-00000000"}}"#);
    let head = format!(
        "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(socket.shutdown().await?)
}

/// Head and body of the first request, and where the body begins; `connection: close` so that each request comes alone.
async fn read_request(socket: &mut TcpStream) -> Result<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |text| text.trim().parse())?;
            if bytes.len() >= end + 4 + length {
                return Ok(alone(bytes, end + 4));
            }
        }
        let count = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer)).await??;
        if count == 0 || bytes.len() > 1 << 20 {
            bail!("no request");
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Adds `connection: close` to a request that is no upgrade.
fn alone(bytes: Vec<u8>, body_at: usize) -> (Vec<u8>, usize) {
    let upgrade = String::from_utf8_lossy(&bytes[..body_at]).to_ascii_lowercase().contains("\r\nupgrade:");
    if upgrade {
        return (bytes, body_at);
    }
    let line = b"connection: close\r\n";
    let at = body_at - 2;
    ([&bytes[..at], line, &bytes[at..]].concat(), body_at + line.len())
}

/// A script of equal sentences: `text(n)` from `n × period` seconds on, for `length` seconds.
pub fn sentences(count: usize, period: f64, length: f64, text: impl Fn(usize) -> String) -> Value {
    let utterances: Vec<Value> = (0..count)
        .map(|n| {
            let start = n as f64 * period + 0.2;
            serde_json::json!({"start": start, "end": start + length, "text": text(n)})
        })
        .collect();
    serde_json::json!({ "utterances": utterances })
}

/// A speech service that answers 401 to everything, as to a wrong key.
pub async fn refusing() -> Result<Front> {
    Front::start("127.0.0.1:9", Mood::Refuse(401)).await.context("no port")
}
