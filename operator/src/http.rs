//! `/healthz`, `/readyz`, `/metrics`.

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the doors show.
#[derive(Clone)]
pub struct Shown {
    /// Counters.
    pub metrics: Metrics,
    /// State and capture mode of every session.
    pub sessions: Arc<dyn Fn() -> Vec<(String, String)> + Send + Sync>,
    /// A standby is ready too: it waits for the Lease.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Serves until `stopped`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(shown);
    axum::serve(listener, app).with_graceful_shutdown(stopped).await
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    match (shown.ready)() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the first lists are not complete\n"),
    }
}

async fn scrape(State(shown): State<Shown>) -> impl IntoResponse {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, shown.metrics.text((shown.sessions)()))
}
