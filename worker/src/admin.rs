//! `:9090` of a worker: `/live`, `/ready`, `/metrics`, and `/status`, the report that the operator long-polls (contract §6).

use crate::metrics::Metrics;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use roomscribe_pipeline::Report;
use serde::Deserialize;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The longest that `/status` waits.
const MAX_WAIT: u64 = 60;

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    report: watch::Receiver<Report>,
}

/// `?since=<version>&waitSeconds=30`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Poll {
    since: Option<u64>,
    #[serde(default)]
    wait_seconds: u64,
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    report: watch::Receiver<Report>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/status", get(status))
        .with_state(Shared { metrics, report });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

/// Ready = the RTMP port listens and the session is not done.
async fn ready(State(shared): State<Shared>) -> Response {
    let state = shared.report.borrow().state;
    match state.as_str() {
        "draining" | "done" => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", state.as_str())).into_response()
        }
        _ => "ready\n".into_response(),
    }
}

async fn scrape(State(shared): State<Shared>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, shared.metrics.text()).into_response()
}

/// Answers at once when the report is not the one of `since`, else after a change or `waitSeconds`.
async fn status(State(shared): State<Shared>, poll: Result<Query<Poll>, QueryRejection>) -> Response {
    let poll = match poll {
        Ok(Query(poll)) if poll.wait_seconds <= MAX_WAIT => poll,
        Ok(_) => return bad_query(&format!("waitSeconds: at most {MAX_WAIT}")),
        Err(error) => return bad_query(&error.body_text()),
    };
    let mut report = shared.report;
    if let Some(since) = poll.since {
        let wait = Duration::from_secs(poll.wait_seconds);
        // A time-out, and a worker that is over, both answer with what is known. Versions of an earlier process differ.
        let _ = tokio::time::timeout(wait, report.wait_for(|report| report.version != since)).await;
    }
    let report = report.borrow().clone();
    Json(report).into_response()
}

fn bad_query(detail: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{detail}\n")).into_response()
}
