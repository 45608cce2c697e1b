//! A real nats-server on a loopback port, in a folder of its own, ended by its id.
#![allow(dead_code, reason = "each test uses its own part")]

use roomscribe_transcript::Log;
use roomscribe_transcript::nats::NatsSettings;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// One nats-server with JetStream.
pub(crate) struct NatsServer {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    extra: String,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts a server with JetStream; `extra` is more of its configuration.
    pub(crate) fn start(extra: &str) -> Self {
        Self::on(free_port(), extra)
    }

    /// Starts a server with JetStream on a port.
    pub(crate) fn on(port: u16, extra: &str) -> Self {
        Self::bare(
            port,
            &format!("jetstream {{ store_dir: \"STORE\", max_mem: 64MB, max_file: 1GB }}\n{extra}"),
        )
    }

    /// Starts a server that has only what `extra` says; `STORE` in it is a folder of its own.
    pub(crate) fn bare(port: u16, extra: &str) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut server = Self { folder, port, extra: extra.to_owned(), child: None };
        server.run();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server again, after a kill; waits until it listens.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none());
        let config = format!(
            "listen: \"127.0.0.1:{}\"\n{}\n",
            self.port,
            self.extra.replace("STORE", &self.folder().join("store").display().to_string())
        );
        let path = self.folder().join("server.conf");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        self.until_listening();
    }

    fn until_listening(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                exited.is_none() && Instant::now() < deadline,
                "nats-server does not listen: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP: it answers nothing and closes nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// What the server wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

/// Servers that know each other; a single one needs no other.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<NatsServer>,
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        if nodes == 1 {
            return Self { servers: vec![NatsServer::start("")] };
        }
        let ports: Vec<u16> = (0..nodes).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let server = |(node, port): (usize, &u16)| {
            let routes = routes.join(", ");
            NatsServer::start(&format!(
                "server_name: node{node}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}], no_advertise: true }}"
            ))
        };
        Self { servers: ports.iter().enumerate().map(server).collect() }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("NATS_SERVER_BIN");
    path.map(PathBuf::from).expect("NATS_SERVER_BIN is not set: run `make unit`, or set it to a nats-server (tests/tools/need.sh nats-server)")
}

/// A free TCP port of loopback, below the range that clients take theirs from, and given to nobody else of this run.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + (std::process::id() % 80) as u16 * 100;
    let mut ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

pub(crate) fn settings(url: String) -> NatsSettings {
    let (prefix, retention) = ("roomscribe".to_owned(), Duration::from_secs(30 * 86_400));
    NatsSettings { url, creds: None, prefix, replicas: 1, retention }
}

pub(crate) async fn log(server: &NatsServer) -> Log {
    Log::nats(settings(server.url())).await.unwrap()
}

/// As an operator of NATS does it: the command-line tool's `nats stream rm`, spoken by hand.
pub(crate) async fn delete_stream(server: &NatsServer) {
    request(server, "$JS.API.STREAM.DELETE.ROOMSCRIBE", "").await;
}

/// Changes settings of the stream, as an operator of NATS does.
pub(crate) async fn edit_stream(server: &NatsServer, change: impl FnOnce(&mut serde_json::Value)) {
    let info = request(server, "$JS.API.STREAM.INFO.ROOMSCRIBE", "").await;
    let mut config = serde_json::from_str::<serde_json::Value>(&info).unwrap()["config"].take();
    change(&mut config);
    let answer = request(server, "$JS.API.STREAM.UPDATE.ROOMSCRIBE", &config.to_string()).await;
    assert!(!answer.contains("\"error\""), "{answer}");
}

/// One request in NATS' own text protocol; the answer's payload.
pub(crate) async fn request(server: &NatsServer, subject: &str, payload: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let said = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{payload}\r\n",
        payload.len()
    );
    write.write_all(said.as_bytes()).await.unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("MSG answer") {
            return lines.next_line().await.unwrap().unwrap();
        }
    }
    panic!("no answer to {subject}: {}", server.said());
}
