//! End-to-end tests: the built binary, real publishers, real viewers.
//!
//! `Program` starts `roomscribe` with its own data folder and ends it by pid; `Viewer` is a plain WebSocket client that
//! checks the offsets itself (none missing, none twice).

pub mod command;
pub mod livekit;
pub mod speech;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Everything here ends within this or fails.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The binary under test: `ROOMSCRIBE_BIN`, as the Makefile sets it.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("ROOMSCRIBE_BIN").map(PathBuf::from);
    path.context("ROOMSCRIBE_BIN is not set: run `make e2e-local`, or set it to the built program")
}

/// A free TCP port of loopback.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Files of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The program with nothing of this machine's own settings.
pub fn roomscribe() -> Result<Command> {
    let mut command = Command::new(binary()?);
    for name in SETTINGS {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Contract §6, and what the client commands read.
const SETTINGS: &[&str] = &[
    "LIVEKIT_HTTP_URL",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "RTMP_HOST",
    "RTMP_PORT",
    "RTMP_LISTEN",
    "HTTP_LISTEN",
    "PORT",
    "METRICS_LISTEN",
    "PUBLIC_URL",
    "TLS_CERT",
    "TLS_KEY",
    "GLADIA_API_KEY",
    "GLADIA_API_URL",
    "GLADIA_REGION",
    "DATA_DIR",
    "RETENTION_DAYS",
    "NATS_URL",
    "ROOMSCRIBE_API_KEY",
    "ROOMSCRIBE_JWT_SECRET",
    "ROOMSCRIBE_JWKS_URL",
    "ALLOWED_ORIGINS",
    "ROOMSCRIBE_URL",
    "RUST_LOG",
];

/// Sends a signal to a child of ours.
pub async fn signal(child: &Child, name: &str) -> Result<()> {
    let pid = child.id().context("it has ended already")?;
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await?;
    ensure!(sent.success(), "kill failed");
    Ok(())
}

/// A running `roomscribe serve`.
pub struct Program {
    /// `None`: somebody else's child.
    child: Option<Child>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

/// Ports and folder that stay the same over restarts.
pub struct Place {
    /// HTTP port.
    pub http: u16,
    /// RTMP port.
    pub rtmp: u16,
    /// The folder that `serve` runs in.
    pub data: tempfile::TempDir,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
}

impl Place {
    /// New ports, an empty folder.
    pub fn new() -> Result<Self> {
        let data = tempfile::tempdir()?;
        Ok(Self { http: free_port()?, rtmp: free_port()?, data_dir: data.path().to_owned(), data })
    }

    /// `serve` as it would be started here.
    pub fn command(&self, more: &[&str]) -> Result<Command> {
        let mut command = roomscribe()?;
        command
            .args(["serve", "--http-listen", &format!("127.0.0.1:{}", self.http)])
            .args(["--rtmp-listen", &format!("127.0.0.1:{}", self.rtmp)])
            .args(more)
            .env("DATA_DIR", &self.data_dir)
            .current_dir(self.data.path())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// Starts `serve` here and waits until it answers.
    pub async fn serve(&self, more: &[&str]) -> Result<Program> {
        self.run(self.command(more)?).await
    }

    /// Starts a command made by hand for this place, and waits until it answers.
    pub async fn run(&self, command: Command) -> Result<Program> {
        let program = self.begin(command)?;
        program.until_ready().await?;
        Ok(program)
    }

    /// Starts a command made by hand for this place.
    pub fn begin(&self, mut command: Command) -> Result<Program> {
        let child = Some(command.spawn()?);
        Ok(Program { child, url: format!("http://127.0.0.1:{}", self.http) })
    }

    /// Waits until the program that was started here answers.
    pub async fn watch(&self) -> Result<Program> {
        let program = Program { child: None, url: format!("http://127.0.0.1:{}", self.http) };
        program.until_ready().await?;
        Ok(program)
    }
}

impl Program {
    /// `kill -9`.
    pub async fn kill(mut self) -> Result<()> {
        self.child.take().context("not ours")?.kill().await?;
        Ok(())
    }

    /// SIGTERM, then the exit code.
    pub async fn terminate(mut self) -> Result<i32> {
        let mut child = self.child.take().context("not ours")?;
        signal(&child, "TERM").await?;
        let status = timeout(PATIENCE, child.wait()).await.context("it did not end")??;
        status.code().context("it was killed")
    }

    /// Waits until `GET path` is as wished; the last answer is in the error.
    pub async fn until(&self, path: &str, wish: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        let mut last = Value::Null;
        while begun.elapsed() < PATIENCE {
            if let Ok(answer) = self.get(path).await {
                if wish(&answer) {
                    return Ok(answer);
                }
                last = answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{path} never became as wished; it was {last}")
    }

    /// `GET` as text.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.text().await?)
    }

    /// `DELETE`: stops a session.
    pub async fn stop_session(&self, session: &Value) -> Result<()> {
        let url = format!("{}/v1/sessions/{}", self.url, session["id"].as_str().unwrap_or_default());
        ensure!(reqwest::Client::new().delete(url).send().await?.status().is_success(), "stop failed");
        Ok(())
    }

    async fn until_ready(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(answer) = reqwest::get(format!("{}/readyz", self.url)).await
                && answer.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} did not become ready", self.url)
    }

    /// `POST /v1/sessions` with capture Push.
    pub async fn start_push(&self, room: &str, speech: Value) -> Result<Value> {
        let body = json!({"roomName": room, "capture": {"mode": "Push"}, "speech": speech});
        let answer =
            reqwest::Client::new().post(format!("{}/v1/sessions", self.url)).json(&body).send().await?;
        ensure!(answer.status().is_success(), "start: {} {}", answer.status(), answer.text().await?);
        Ok(answer.json().await?)
    }

    /// `GET` as JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.json().await?)
    }
}

/// ffmpeg publishing a file in real time.
pub fn ffmpeg(input: &Path, url: &str) -> Result<Child> {
    Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-re", "-i"])
        .arg(input)
        .args(["-vn", "-c:a", "aac", "-ar", "48000", "-f", "flv", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("ffmpeg is missing; `make e2e-local` installs it")
}

/// A viewer that holds the promise to account: offsets 1, 2, 3 … each once, over any number of connections.
pub struct Viewer {
    base: String,
    session: String,
    /// Last offset seen.
    pub after: u64,
    epoch: Option<String>,
    /// Every durable event.
    pub events: Vec<Value>,
    /// Partials seen.
    pub partials: usize,
}

impl Viewer {
    /// A viewer of one session from its beginning.
    pub fn new(program_url: &str, session: &Value) -> Self {
        let session = session["id"].as_str().unwrap_or_default().to_owned();
        Self {
            base: program_url.replacen("http", "ws", 1),
            session,
            after: 0,
            epoch: None,
            events: Vec::new(),
            partials: 0,
        }
    }

    /// Watches over one connection until `done` says so, or the connection ends. True when `done`.
    pub async fn watch(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<bool> {
        let mut url = format!("{}/v1/sessions/{}/stream?after={}", self.base, self.session, self.after);
        if let Some(epoch) = &self.epoch {
            url.push_str(&format!("&epoch={epoch}"));
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
        loop {
            if done(self) {
                return Ok(true);
            }
            let message = match timeout(PATIENCE, socket.next()).await.context("the viewer heard nothing")? {
                Some(Ok(Message::Text(text))) => serde_json::from_str(&text)?,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(done(self)),
                Some(Ok(_)) => continue,
            };
            self.take(message)?;
        }
    }

    /// Watches over as many connections as it takes.
    pub async fn watch_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if matches!(self.watch(&mut done).await, Ok(true)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the viewer waited in vain; it has {} events", self.events.len())
    }

    fn take(&mut self, event: Value) -> Result<()> {
        if event["type"] == "hello" {
            ensure!(event["recovered"] == true, "the gateway could not resume: {event}");
            self.epoch = event["epoch"].as_str().map(str::to_owned);
        }
        if event["type"] == "partial" {
            self.partials += 1;
        }
        let Some(offset) = event["offset"].as_u64() else { return Ok(()) };
        ensure!(offset == self.after + 1, "offset {offset} follows {}", self.after);
        self.after = offset;
        self.events.push(event);
        Ok(())
    }

    /// The session's end was seen.
    pub fn has_ended(&self) -> bool {
        self.events.last().is_some_and(|event| event["type"] == "end")
    }

    /// Durable events of one kind.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }

    /// The finals' texts, in order.
    pub fn finals(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event["type"] == "final")
            .filter_map(|event| event["text"].as_str())
            .collect()
    }

    /// No segment was appended twice.
    pub fn assert_each_segment_once(&self) {
        let mut segments: Vec<_> = self
            .events
            .iter()
            .filter(|event| event["type"] == "final")
            .filter_map(|event| event["seg"].as_str())
            .collect();
        let count = segments.len();
        segments.sort_unstable();
        segments.dedup();
        assert_eq!(segments.len(), count, "a segment was appended twice");
    }
}

/// Standard output of a command, line by line.
pub fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("its output is not piped")?).lines())
}

/// Awaits a condition, checking it often.
pub async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if condition().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the condition did not come true within {PATIENCE:?}")
}
