//! The RTMP listener: accepts, bounds the number of connections, and outlives every session behind it.

use crate::connection::{self, ConnectionSettings};
use crate::metrics::{Metrics, Why};
use crate::registry::Registry;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
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
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut number = 0u64;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let Ok(slot) = slots.clone().try_acquire_owned() else {
                        metrics.connections_refused.get_or_create(&Why { reason: "too_many_connections" }).inc();
                        continue;
                    };
                    number += 1;
                    metrics.connections.inc();
                    let (registry, settings, metrics) = (registry.clone(), settings.clone(), metrics.clone());
                    connections.spawn(async move {
                        connection::run(socket, number, registry, settings, metrics).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: accepting again at once would spin.
                    tracing::warn!(%error, "RTMP accept failed; check the open-file limit");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, drained).await.is_err() {
        connections.shutdown().await;
    }
}
