//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use roomscribe_transcript::{LogError, SessionId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::app::Shared;
use crate::problem::Problem;

const NIL: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Fails while draining, and while the log or the sessions cannot be asked.
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<String, Problem> {
    if shared.leaving.load(Ordering::Relaxed) {
        return Err(Problem::unavailable("This process is draining."));
    }
    // A session that is not there: to ask for it costs the log least.
    if let Some(nobody) = SessionId::parse(NIL) {
        match shared.log().head(&nobody).await {
            Ok(_) | Err(LogError::NoSession | LogError::Erased) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let limits = shared.sessions.ready().await?;
    Ok(std::iter::once("ready".to_owned()).chain(limits).map(|line| line + "\n").collect())
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}
