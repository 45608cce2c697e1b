//! One session on this machine: folder, ports, speech server, worker processes by pid.

use roomscribe_speech::{Config, Faults, RecogniserKind};
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Everything ends within this or fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
pub(crate) const ID: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";
pub(crate) const API_KEY: &str = "speechkey5ecret";
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A free TCP port of loopback, below the range that clients take theirs from, and given to nobody else of this run.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 100;
    let mut ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// What stays over restarts.
pub(crate) struct Stage {
    pub(crate) data: PathBuf,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) rtmp: u16,
    pub(crate) admin: u16,
    pub(crate) speech_url: String,
    pub(crate) speech: Value,
    pub(crate) flags: Vec<String>,
    pub(crate) log: &'static str,
}

impl Stage {
    pub(crate) fn new(speech_url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            data: dir.path().join("data"),
            dir,
            rtmp: free_port(),
            admin: free_port(),
            speech_url: speech_url.to_owned(),
            speech: json!({}),
            flags: Vec::new(),
            log: "info",
        }
    }

    /// The publish URL of an attempt.
    pub(crate) fn url(&self, attempt: u32) -> String {
        let (secret, id) = (session_secret(), roomscribe_transcript::SessionId::parse(ID).unwrap());
        let key = roomscribe_worker::pipeline::stream_key::derive(&secret, &id, attempt);
        format!("rtmp://127.0.0.1:{}/live/9f2c01ab/{ID}.{attempt}/{key}", self.rtmp)
    }

    pub(crate) fn session_file(&self, generation: u32) -> PathBuf {
        let file = self.dir.path().join("session.json");
        let session = json!({
            "v": 1, "secret": SECRET, "session": ID, "gen": generation, "roomName": "standup", "speech": self.speech,
        });
        std::fs::write(&file, session.to_string()).unwrap();
        file
    }

    pub(crate) fn command(&self) -> Command {
        let log = File::options().create(true).append(true).open(self.stderr_path()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomscribe-worker"));
        command
            .args(["--rtmp-listen", &format!("127.0.0.1:{}", self.rtmp)])
            .args(["--metrics-listen", &format!("127.0.0.1:{}", self.admin)])
            .args(["--gladia-api-url", &self.speech_url])
            .arg("--data-dir")
            .arg(&self.data)
            .args(&self.flags)
            .env_clear()
            .env("GLADIA_API_KEY", API_KEY)
            .env("RUST_LOG", self.log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// Starts a worker of attempt 1 and waits until it is ready.
    pub(crate) async fn worker(&self) -> Worker {
        let worker = self.waiting_worker().await;
        worker.until(|| async { worker.get("/ready").await.is_some_and(|answer| answer.0 == 200) }).await;
        worker
    }

    /// Starts a worker of attempt 1 and waits until it can be asked.
    pub(crate) async fn waiting_worker(&self) -> Worker {
        self.worker_of(1).await
    }

    /// Starts a worker of this generation and waits until it can be asked.
    pub(crate) async fn worker_of(&self, generation: u32) -> Worker {
        let mut command = self.command();
        command.arg("--session").arg(self.session_file(generation));
        let worker =
            Worker { child: command.spawn().unwrap(), base: format!("http://127.0.0.1:{}", self.admin) };
        worker.until(|| async { worker.get("/live").await.is_some() }).await;
        worker
    }

    pub(crate) fn stderr_path(&self) -> PathBuf {
        self.dir.path().join("stderr")
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.stderr_path()).unwrap()
    }

    /// Every event of the log's file, as it is on disk now (contract §5).
    pub(crate) fn events(&self) -> Vec<Value> {
        let Ok(bytes) = std::fs::read(self.data.join("sessions").join(ID).join("log.rsl")) else {
            return Vec::new();
        };
        let mut rest = bytes.strip_prefix(b"RSL1").unwrap();
        let mut events = Vec::new();
        while let Some((head, after)) = rest.split_at_checked(8) {
            let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
            let Some(json) = after.get(..length) else { break };
            let event: Value = serde_json::from_slice(json).unwrap();
            events.extend(event["offset"].is_u64().then_some(event));
            rest = &after[length..];
        }
        events
    }

    /// Waits until the log is as asked.
    pub(crate) async fn until_events(&self, condition: impl Fn(&[Value]) -> bool) {
        let begun = Instant::now();
        while !condition(&self.events()) {
            assert!(begun.elapsed() < PATIENCE, "in vain: {:#?}\n{}", self.events(), self.stderr());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn session_secret() -> roomscribe_worker::pipeline::stream_key::SessionSecret {
    roomscribe_worker::pipeline::stream_key::SessionSecret::from_base64url(SECRET).unwrap()
}

/// A running worker.
pub(crate) struct Worker {
    child: Child,
    pub(crate) base: String,
}

impl Worker {
    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the worker does not end").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let answer = client.get(format!("{}{path}", self.base)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub(crate) async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status").await.expect("no /status").1).unwrap()
    }

    /// One sample of `/metrics`; 0 while it is not there.
    pub(crate) async fn metric(&self, sample: &str) -> u64 {
        let text = self.get("/metrics").await.expect("no /metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) async fn until<F: Future<Output = bool>>(&self, condition: impl Fn() -> F) {
        let begun = Instant::now();
        while !condition().await {
            assert!(begun.elapsed() < PATIENCE, "the condition did not come true");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `/status` is as asked.
    pub(crate) async fn until_status(&self, condition: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            if condition(&status) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A line of `/proc/<pid>/status` in KiB.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }
}

/// A speech server in a runtime of its own: dropping that ends every task and socket at once, as `kill -9` does.
pub(crate) struct Speech {
    runtime: Option<tokio::runtime::Runtime>,
    pub(crate) port: u16,
}

impl Speech {
    pub(crate) fn start(faults: Value) -> Self {
        Self::at(free_port(), faults)
    }

    pub(crate) fn at(port: u16, faults: Value) -> Self {
        let mut config = Config::new(RecogniserKind::Tones);
        config.keys = vec![API_KEY.to_owned()];
        config.control = true;
        config.faults = serde_json::from_value::<Faults>(faults).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).unwrap()
        };
        runtime.spawn(roomscribe_speech::serve(listener, config, std::future::pending()));
        Self { runtime: Some(runtime), port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `PUT` or `POST` of the server's control.
    pub(crate) async fn control(&self, path: &str, body: Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/control/{path}", self.url());
        let request = if path == "faults" { client.put(url) } else { client.post(url) };
        assert!(request.json(&body).send().await.unwrap().status().is_success());
    }
}

impl Drop for Speech {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
