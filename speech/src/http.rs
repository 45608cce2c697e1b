//! The HTTP side: `POST /v2/live`, results, deletion, health and metrics.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use crate::listing;
use crate::problem::Problem;
use crate::request::LiveRequest;
use crate::reset::Resetter;
use crate::server::{Server, remove_audio};
use crate::socket;
use crate::store::{Entry, Status};

/// Largest request body, bytes.
const BODY_BYTES: usize = 256 * 1024;
/// Largest metadata of `PATCH`, bytes (Gladia's OpenAPI document).
const METADATA_BYTES: usize = 100_000;

type Shared = State<Arc<Server>>;
type Pairs = Query<Vec<(String, String)>>;

/// All routes.
pub(crate) fn routes(server: Arc<Server>) -> Router {
    let mut routes = Router::new()
        .route("/v2/live", post(start).get(live))
        .route("/v2/live/{id}", get(result).delete(erase).patch(annotate))
        .route("/v2/live/{id}/file", get(file))
        .route("/healthz", get(|| async { "ok" }))
        .route("/metrics", get(metrics));
    if server.control {
        routes = routes.merge(crate::control::routes());
    }
    routes.layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(server)
}

async fn metrics(State(server): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], server.metrics.render()).into_response()
}

async fn start(
    State(server): Shared,
    Query(query): Pairs,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    const PATH: &str = "/v2/live";
    authorise(&server, &headers, PATH)?;
    planned_refusal(&server)?;
    let request = parse(&server, &query, &body).map_err(|errors| {
        let status = server.faults().validation_status.unwrap_or(400);
        Problem::new(status, PATH, "Invalid parameter(s).").with_errors(errors)
    })?;
    let Some(entry) = server.start(request) else {
        return Err(Problem::new(429, PATH, "Maximum number of concurrent sessions reached").retry_after(10));
    };
    tracing::info!(session = %entry.id, "speech session started");
    let base = server.public_url.clone().unwrap_or_else(|| ws_base(&headers));
    let url = format!("{base}/v2/live?token={}", entry.token);
    let body = json!({"id": entry.id, "created_at": entry.created_at, "url": url});
    Ok((StatusCode::CREATED, [("x-aipi-call-id", entry.id.clone())], Json(body)).into_response())
}

/// `ws://` of the host that the client asked.
fn ws_base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("127.0.0.1");
    format!("ws://{host}")
}

fn parse(server: &Server, query: &[(String, String)], body: &[u8]) -> Result<LiveRequest, Vec<String>> {
    let regions = ["us-west", "eu-west"];
    if query.iter().any(|(k, v)| k == "region" && !regions.contains(&v.as_str())) {
        return Err(vec!["Query \"region\" must be one of: us-west, eu-west".into()]);
    }
    let body = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
    let request = LiveRequest::parse(body.map_err(|e| vec![format!("The body must be JSON: {e}")])?)?;
    match server.cannot(&request) {
        Some(why) => Err(vec![why]),
        None => Ok(request),
    }
}

/// The fault "POST refuses".
fn planned_refusal(server: &Server) -> Result<(), Problem> {
    let mut faults = server.faults();
    let Some(post) = &mut faults.post else { return Ok(()) };
    let mut problem = Problem::new(post.status, "/v2/live", "Refused on purpose");
    if let Some(seconds) = post.retry_after {
        problem = problem.retry_after(seconds);
    }
    if let Some(times) = &mut post.times {
        *times = times.saturating_sub(1);
        if *times == 0 {
            faults.post = None;
        }
    }
    Err(problem)
}

fn authorise(server: &Server, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    if server.keys.is_empty() {
        return Ok(());
    }
    let Some(key) = headers.get("x-gladia-key") else {
        return Err(Problem::new(401, path, "no gladia key provided"));
    };
    // The sums are compared, so that time tells nothing of the key.
    let sum = |bytes: &[u8]| <sha2::Sha256 as sha2::Digest>::digest(bytes);
    if server.keys.iter().any(|k| sum(k.as_bytes()) == sum(key.as_bytes())) {
        return Ok(());
    }
    Err(Problem::new(401, path, "gladia key not found"))
}

/// `GET /v2/live`: with a token it is the WebSocket, else the list.
async fn live(
    State(server): Shared,
    Query(query): Pairs,
    headers: HeaderMap,
    resetter: Option<Extension<ConnectInfo<Resetter>>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let Some((_, token)) = query.iter().find(|(name, _)| name == "token") else {
        authorise(&server, &headers, "/v2/live")?;
        return listing::list(&server, &query).map(IntoResponse::into_response);
    };
    let Ok(upgrade) = upgrade else {
        return Err(Problem::new(400, "/v2/live", "This address is a WebSocket"));
    };
    let Some(entry) = server.store.by_token(token) else {
        // The real status is not documented; 403 was seen on sessions beyond recovery.
        return Err(Problem::new(403, "/v2/live", "unknown token"));
    };
    server.metrics.connections.inc();
    let connection = server.number();
    let resetter = resetter.map(|Extension(ConnectInfo(resetter))| resetter);
    let upgrade = upgrade.max_message_size(socket::FRAME_READ_BYTES).max_frame_size(socket::FRAME_READ_BYTES);
    let serve = move |ws| async move {
        server.metrics.connections_live.inc();
        socket::serve(ws, entry, connection, resetter).await;
        server.metrics.connections_live.dec();
    };
    Ok(upgrade.on_upgrade(serve))
}

fn find(server: &Server, headers: &HeaderMap, id: &str) -> Result<Arc<Entry>, Problem> {
    let path = format!("/v2/live/{id}");
    authorise(server, headers, &path)?;
    server.store.by_id(id).ok_or_else(|| Problem::new(404, &path, "Live session not found"))
}

async fn result(
    State(server): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(find(&server, &headers, &id)?.json()))
}

async fn erase(
    State(server): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let entry = find(&server, &headers, &id)?;
    if !matches!(entry.status(), Status::Done | Status::Error) {
        return Err(Problem::new(403, &format!("/v2/live/{id}"), "not in a deletable state"));
    }
    server.store.remove(&id);
    remove_audio(&entry);
    Ok(StatusCode::ACCEPTED)
}

async fn annotate(
    State(server): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let entry = find(&server, &headers, &id)?;
    let problem = |status, message| Problem::new(status, &format!("/v2/live/{id}"), message);
    if body.len() > METADATA_BYTES {
        return Err(problem(413, "at most 100 kB of metadata"));
    }
    let metadata = serde_json::from_slice(&body).map_err(|_| problem(400, "The body must be JSON"))?;
    entry.doc().post_session_metadata = metadata;
    Ok(StatusCode::NO_CONTENT)
}

async fn file(
    State(server): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let entry = find(&server, &headers, &id)?;
    let missing = || Problem::new(404, &format!("/v2/live/{id}/file"), "No audio is kept for this session");
    let path = entry.audio.as_ref().filter(|_| entry.ended()).ok_or_else(missing)?;
    let file = tokio::fs::File::open(path).await.map_err(|_| missing())?;
    let length = file.metadata().await.map_err(|_| missing())?.len();
    let head = Bytes::from(entry.request.format.wav_header(length));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, (length + head.len() as u64).to_string()),
    ];
    Ok((headers, Body::from_stream(listing::chunks(head, file))).into_response())
}
