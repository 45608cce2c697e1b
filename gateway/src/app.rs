//! The gateway as one value, and what all requests share.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use roomscribe_transcript::Log;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::auth::Gatekeeper;
use crate::config::Config;
use crate::connections::Viewers;
use crate::idempotency::Remembered;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::rooms::Rooms;
use crate::sessions::Sessions;
use crate::{routes, server};

/// Shared by all requests.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) origins: Origins,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) viewers: Arc<Viewers>,
    pub(crate) remembered: Mutex<Remembered>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    /// True once the process is asked to stop: nobody new shall come.
    pub(crate) leaving: AtomicBool,
    /// True when viewers are sent away.
    pub(crate) draining: watch::Sender<bool>,
    start: Instant,
}

impl Shared {
    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Wall time, Unix seconds.
    pub(crate) fn unix(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    pub(crate) fn log(&self) -> &Log {
        self.rooms.log()
    }
}

/// The gateway: routes over a directory of sessions and their log.
pub struct Gateway {
    shared: Arc<Shared>,
    router: Router,
}

/// Puts a gateway together. Nothing listens before [`Gateway::serve`].
pub fn app(config: Config, sessions: Arc<dyn Sessions>, log: Log) -> Gateway {
    let metrics = Arc::new(Metrics::new());
    let gatekeeper = Gatekeeper::new(&config.auth, config.jwks.clone());
    let limits = &config.limits;
    let shared = Arc::new(Shared {
        origins: Origins::new(&config.allowed_origins, config.public_url.as_deref(), gatekeeper.is_open()),
        gatekeeper,
        rooms: Rooms::new(log, limits.viewer_backlog_bytes, config.linger, Arc::clone(&metrics)),
        viewers: Viewers::new(limits.clone()),
        remembered: Mutex::new(Remembered::new(limits.idempotency_keys, limits.idempotency_ttl)),
        exports: Arc::new(Semaphore::new(limits.exports)),
        sessions,
        metrics,
        leaving: AtomicBool::new(false),
        draining: watch::Sender::new(false),
        start: Instant::now(),
        config,
    });
    let router = routes::router(Arc::clone(&shared));
    Gateway { shared, router }
}

impl Gateway {
    /// The routes, to put beside others. [`Gateway::serve`] adds what routes cannot: socket options, limits, draining.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// `/healthz`, `/readyz` and `/metrics` alone, for a listener of their own that no proxy leads to.
    pub fn health_router(&self) -> Router {
        routes::health(Arc::clone(&self.shared))
    }

    /// Answers on `listener` until `shutdown`, then drains: `/readyz` fails; after `settle` nothing new is accepted, and
    /// viewers are sent away one by one with 1001. Refuses (`InvalidInput`) an open gateway beyond loopback.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        server::serve(self.shared, self.router, listener, shutdown).await
    }
}
