//! The RTMP listener: accepts, bounds the number of connections, and outlives every session behind it.
//!
//! At the limit the oldest connection that has not published makes room for the new one: whoever holds connections open
//! without a key cannot keep a publisher out.

use crate::connection::{self, ConnectionSettings};
use crate::metrics::{Metrics, Why};
use crate::presence::Presence;
use crate::registry::Registry;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections at a time, publishers and strangers together.
pub const MAX_CONNECTIONS: usize = 512;

/// Accepts until `shutdown`; open connections end when their sessions let them go, at most `grace` later.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    settings: ConnectionSettings,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let (tasks, strangers) = (JoinSet::new(), VecDeque::new());
    let mut door = Door { registry, settings, metrics, number: 0, tasks, strangers };
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = door.tasks.join_next(), if !door.tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => door.enter(socket).await,
                Err(error) => {
                    // Out of file descriptors, mostly: accepting again at once would spin.
                    if let Some(withheld) = door.settings.strangers.allow(crate::clock::now()) {
                        tracing::warn!(%error, withheld, "RTMP accept failed; check the open-file limit");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let Door { mut tasks, .. } = door;
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, drained).await.is_err() {
        tasks.shutdown().await;
    }
}

struct Door {
    registry: Registry,
    settings: ConnectionSettings,
    metrics: Metrics,
    number: u64,
    tasks: JoinSet<()>,
    /// Connections that had not published when last looked at, oldest first.
    strangers: VecDeque<Arc<Presence>>,
}

impl Door {
    async fn enter(&mut self, socket: TcpStream) {
        while self.tasks.len() >= MAX_CONNECTIONS {
            if !self.make_room().await {
                self.metrics.connections_refused.get_or_create(&Why { reason: "too_many_connections" }).inc();
                return;
            }
        }
        self.number += 1;
        self.metrics.connections.inc();
        let presence = Arc::new(Presence::default());
        self.strangers.retain(|stranger| stranger.is_stranger());
        self.strangers.push_back(presence.clone());
        let (registry, settings, metrics) =
            (self.registry.clone(), self.settings.clone(), self.metrics.clone());
        self.tasks.spawn(connection::run(socket, self.number, registry, settings, metrics, presence));
    }

    /// Ends the oldest connection that has not published; false when all have.
    async fn make_room(&mut self) -> bool {
        while let Some(stranger) = self.strangers.pop_front() {
            if stranger.is_stranger() {
                stranger.ask_to_leave();
                // It leaves at once; a slow one is followed by the next oldest.
                let _ = tokio::time::timeout(Duration::from_millis(10), self.tasks.join_next()).await;
                return true;
            }
        }
        false
    }
}
