//! The cluster's door (METRICS_LISTEN): open from the first moment, so that a start which waits can be asked for what.

use super::listen::bound;
use crate::problem::Problem;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower_service::Service;

/// A scraper that reads slowly does not keep the process.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// See the module.
pub struct Door {
    shared: Arc<Shared>,
    end: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// What is waited for, and what is known of why.
    waits: Mutex<BTreeMap<&'static str, String>>,
    pages: OnceLock<Router>,
}

impl Door {
    /// Opens it, within a runtime.
    ///
    /// # Errors
    /// It cannot listen there: names METRICS_LISTEN.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = bound("METRICS_LISTEN", address)?;
        let (shared, (end, mut ended)) = (Arc::new(Shared::default()), watch::channel(false));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(async move { drop(ended.wait_for(|ended| *ended).await) });
        let serving = tokio::spawn(async { drop(serving.await) });
        Ok(Self { shared, end, serving })
    }

    /// This is waited for; each other `why` is logged once.
    pub(super) fn waits_for(&self, what: &'static str, why: String) {
        if lock(&self.shared.waits).insert(what, why.clone()).as_ref() != Some(&why) {
            tracing::warn!("the start waits: {why}");
        }
    }

    /// It is there.
    pub(super) fn has(&self, what: &str) {
        lock(&self.shared.waits).remove(what);
    }

    /// From now on the gateway's own pages.
    pub(super) fn lead_to(&self, pages: Router) {
        let _ = self.shared.pages.set(pages);
    }

    pub(super) async fn close(self) {
        let _ = self.end.send(true);
        let _ = tokio::time::timeout(LAST_ANSWERS, self.serving).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if let Some(pages) = shared.pages.get() {
        let Ok(answer) = pages.clone().call(request).await;
        return answer;
    }
    match request.uri().path() {
        "/healthz" => "ok\n".into_response(),
        "/readyz" => {
            let waits: Vec<String> = lock(&shared.waits).values().cloned().collect();
            let waits = if waits.is_empty() { "This process is starting.".into() } else { waits.join("; ") };
            Problem::unavailable(&waits).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
