//! A TCP proxy before a server: a network that is cut, that swallows everything, or only the answers.
#![allow(dead_code, reason = "each test uses its own part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards to one port of loopback until dropped.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<Network>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Network {
    cuts: watch::Sender<u64>,
    /// From the client to the server.
    lost_there: AtomicBool,
    /// And back.
    lost_back: AtomicBool,
    answered: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network {
            cuts: watch::Sender::new(0),
            lost_there: AtomicBool::new(false),
            lost_back: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        let shared = network.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, to, shared.clone()));
            }
        });
        Self { port, network, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Bytes that the server has sent.
    pub(crate) fn answered(&self) -> u64 {
        self.network.answered.load(Ordering::Relaxed)
    }

    /// Closes every connection; new ones are taken.
    pub(crate) fn cut(&self) {
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What is sent, either way, disappears.
    pub(crate) fn swallow(&self, on: bool) {
        self.network.lost_there.store(on, Ordering::Relaxed);
        self.network.lost_back.store(on, Ordering::Relaxed);
    }

    /// Answers disappear.
    pub(crate) fn deafen(&self, on: bool) {
        self.network.lost_back.store(on, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn forward(client: TcpStream, to: u16, network: Arc<Network>) {
    let mut cut = network.cuts.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let asked = AtomicU64::new(0);
    tokio::select! {
        () = copy(from_client, to_server, &network.lost_there, &asked) => {}
        () = copy(from_server, to_client, &network.lost_back, &network.answered) => {}
        _ = cut.changed() => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: &AtomicBool, count: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    // A stream that has lost bytes never delivers later ones: TCP does not either.
    let mut broken = false;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(length as u64, Ordering::Relaxed);
        broken |= lost.load(Ordering::Relaxed);
        if !broken && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
