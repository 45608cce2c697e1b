//! A worker's port 9090 on its pod's own address. It ends with its process: connections break, the port refuses.

use super::handle::{Handle, Order};
use super::{End, World};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_service::Service;

pub(super) const PORT: u16 = 9090;
/// As the real worker's.
const MAX_WAIT: u64 = 60;
/// The operator holds one; a person looks with another.
const MAX_CONNECTIONS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Poll {
    since: Option<u64>,
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Deserialize)]
struct Ending {
    reason: String,
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, world: Arc<World>, handle: Arc<Handle>) {
    let app = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .with_state(Arc::clone(&handle))
        .route("/stop", post(stop).with_state((world, Arc::clone(&handle))));
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let (app, mut hung) = (app.clone(), handle.hung.subscribe());
        connections.spawn(async move {
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let mut app = app.clone();
                async move { app.call(request.map(axum::body::Body::new)).await }
            });
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::pin!(serving);
            // A worker that hangs keeps its sockets and does nothing with them.
            loop {
                let is_hung = *hung.borrow_and_update();
                tokio::select! {
                    _ = &mut serving, if !is_hung => return,
                    changed = hung.changed() => if changed.is_err() { return },
                }
            }
        });
    }
}

/// The real one drains without becoming unready.
async fn ready() -> &'static str {
    "ready\n"
}

/// The session's owner ends it: the container is done, as the real one's is some seconds later.
async fn stop(
    State((world, handle)): State<(Arc<World>, Arc<Handle>)>,
    Query(Ending { reason }): Query<Ending>,
    headers: HeaderMap,
) -> StatusCode {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match handle.end(token) {
        None => return StatusCode::UNAUTHORIZED,
        Some(None) => {}
        Some(Some(session)) => {
            world.note_end(End { session, pod: handle.name.clone(), reason });
            let _ = handle.orders.try_send(Order::Exit(0));
        }
    }
    StatusCode::ACCEPTED
}

/// Answers at once when the report is not the one of `since`, else after a change or `waitSeconds`.
async fn status(State(handle): State<Arc<Handle>>, Query(poll): Query<Poll>) -> Response {
    if poll.wait_seconds > MAX_WAIT {
        return (StatusCode::BAD_REQUEST, format!("waitSeconds: at most {MAX_WAIT}\n")).into_response();
    }
    if let Some(since) = poll.since {
        let mut versions = handle.versions.subscribe();
        let wait = Duration::from_secs(poll.wait_seconds);
        let _ = tokio::time::timeout(wait, versions.wait_for(|version| *version != since)).await;
    }
    Json(handle.report()).into_response()
}
