//! A real nats-server on a loopback port, in a folder of its own, ended by its id.
#![allow(dead_code, reason = "each test uses its own part")]

use roomscribe_transcript::Log;
use roomscribe_transcript::nats::NatsSettings;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One nats-server with JetStream.
pub(crate) struct NatsServer {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    extra: String,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts a server; `extra` is more of its configuration.
    pub(crate) fn start(extra: &str) -> Self {
        Self::on(free_port(), extra)
    }

    /// Starts a server on a port.
    pub(crate) fn on(port: u16, extra: &str) -> Self {
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
            "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 1GB }}\n{}\n",
            self.port,
            self.folder().join("store").display(),
            self.extra
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

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub(crate) fn settings(url: String) -> NatsSettings {
    let (prefix, retention) = ("roomscribe".to_owned(), Duration::from_secs(30 * 86_400));
    NatsSettings { url, creds: None, prefix, replicas: 1, retention }
}

pub(crate) async fn log(server: &NatsServer) -> Log {
    Log::nats(settings(server.url())).await.unwrap()
}
