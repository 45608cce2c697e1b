//! Faults at run time, for tests: `GET|PUT /control/faults`, `POST /control/break`. Off unless configured.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::faults::{Break, Faults};
use crate::server::Server;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/control/faults", get(show).put(set)).route("/control/break", post(break_all))
}

async fn show(State(server): State<Arc<Server>>) -> Json<Faults> {
    Json(server.faults().clone())
}

/// Counts for sessions created from now on.
async fn set(State(server): State<Arc<Server>>, Json(faults): Json<Faults>) -> StatusCode {
    *server.faults() = faults;
    StatusCode::NO_CONTENT
}

/// Breaks every live connection now. Body: `"reset"`, `"drop"` or `{"close":1011}`.
async fn break_all(State(server): State<Arc<Server>>, Json(how): Json<Break>) -> StatusCode {
    server.break_all(how).await;
    StatusCode::NO_CONTENT
}
