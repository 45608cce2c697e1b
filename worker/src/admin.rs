//! `:9090` of a worker: `/live`, `/ready`, `/metrics`, `/status`, the report that the operator long-polls, and `POST /stop`,
//! by which it ends the session (contract §6).

use crate::metrics::Metrics;
use crate::run::{Order, Orders};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use roomscribe_pipeline::stream_key::{SessionSecret, verify_stop};
use roomscribe_pipeline::{Report, State as SessionState};
use roomscribe_transcript::SessionId;
use serde::Deserialize;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The longest that `/status` waits.
const MAX_WAIT: u64 = 60;
/// The longest reason of an end, bytes.
const MAX_REASON: usize = 64;

/// Who may end the session, and how it hears of that.
#[derive(Clone)]
pub struct Owner {
    /// The token comes from it.
    pub secret: SessionSecret,
    /// The session.
    pub session: SessionId,
    /// Its loop.
    pub orders: Orders,
}

/// Whether the session has its log: before, nobody is let in.
#[derive(Debug, Clone, Default)]
pub struct Begun(Arc<OnceLock<()>>);

impl Begun {
    /// From now on.
    pub fn tell(&self) {
        let _ = self.0.set(());
    }

    fn is_so(&self) -> bool {
        self.0.get().is_some()
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    report: watch::Receiver<Report>,
    owner: Owner,
    begun: Begun,
}

/// `?since=<version>&waitSeconds=30`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Poll {
    since: Option<u64>,
    #[serde(default)]
    wait_seconds: u64,
}

/// `?reason=<CamelCase>`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    reason: String,
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    report: watch::Receiver<Report>,
    owner: Owner,
    begun: Begun,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/status", get(status))
        .route("/stop", post(stop))
        .with_state(Shared { metrics, report, owner, begun });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

/// Ready = the session has its log, the RTMP port listens, and it is not done. One that drains is ready too: until its successor is,
/// it is the only one that an egress can come back to.
async fn ready(State(shared): State<Shared>) -> Response {
    let report = shared.report.borrow().clone();
    if !shared.begun.is_so() {
        let waits = report.last_error.unwrap_or_else(|| "the session's log is being opened".to_owned());
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{waits}\n")).into_response();
    }
    match report.state {
        SessionState::Done => (StatusCode::SERVICE_UNAVAILABLE, "done\n").into_response(),
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

/// Taken: what was said until now is heard out, then `end` is appended. Saying it again changes nothing, whatever reason.
async fn stop(
    State(Shared { owner, .. }): State<Shared>,
    headers: HeaderMap,
    ending: Result<Query<Ending>, QueryRejection>,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    if !token.is_some_and(|token| verify_stop(&owner.secret, &owner.session, token)) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let reason = match ending {
        Ok(Query(Ending { reason })) if is_camel_case(&reason) => reason,
        Ok(_) => {
            return bad_query(&format!(
                "reason: a CamelCase word of at most {MAX_REASON} letters and digits"
            ));
        }
        Err(error) => return bad_query(&error.body_text()),
    };
    if owner.orders.give(Order::Stop(reason.clone())) {
        tracing::info!(session = %owner.session, reason, "the session is ended by its owner");
    }
    StatusCode::ACCEPTED.into_response()
}

fn is_camel_case(word: &str) -> bool {
    word.len() <= MAX_REASON
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric())
}

fn bad_query(detail: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{detail}\n")).into_response()
}
