//! Paths, and what holds for all of them: origins, problems for 404 and 405, counting.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::app::Shared;
use crate::auth::{Grant, Refused};
use crate::metrics::Status;
use crate::origin::Verdict;
use crate::problem::Problem;
use crate::server::Peer;
use crate::{documents, export, health, page, socket};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let limit = DefaultBodyLimit::max(shared.config.limits.body_bytes);
    let sessions = Router::new()
        .route("/v1/sessions", get(documents::list).post(documents::create))
        .route("/v1/sessions/{key}", get(documents::get).delete(documents::stop))
        .route("/v1/sessions/{key}/transcript", get(export::transcript).merge(delete(documents::erase)))
        .route("/v1/sessions/{key}/ingest-key", post(documents::rotate))
        .route("/v1/sessions/{key}/tickets", post(documents::ticket))
        .route("/v1/sessions/{key}/stream", get(socket::stream))
        .layer(limit);
    page::routes()
        .merge(sessions)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(async || Problem::new(404, "not-found", "Not found", "There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                405,
                "method-not-allowed",
                "Method not allowed",
                "This path does not take this method; see the Allow header.",
            )
        })
        .layer(from_fn_with_state(Arc::clone(&shared), around))
        .with_state(shared)
}

/// The pages that a cluster asks.
pub(crate) fn health(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(shared)
}

/// Judges host and origin, answers preflights, adds CORS headers, counts.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let verdict = {
        let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        shared.origins.judge(text(header::HOST), text(header::ORIGIN))
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match verdict {
        Verdict::Refused => Problem::new(403, "origin-refused", "Origin refused", "Pages of this origin may not call: add it to ALLOWED_ORIGINS.").into_response(),
        Verdict::WrongHost => Problem::new(403, "host-refused", "Host refused", "Without an API key this server answers only to localhost: open it under that name, or set ROOMSCRIBE_API_KEY.").into_response(),
        Verdict::Foreign if is_preflight(&request) => preflight(),
        Verdict::Own | Verdict::Foreign if !is_safe(&shared, &request) => Problem::new(403, "open-beyond-loopback", "Not from here", "Without an API key this server answers only to its own machine: set ROOMSCRIBE_API_KEY.").into_response(),
        Verdict::Own | Verdict::Foreign => answer(&shared, request, next).await,
    };
    if let (Verdict::Foreign, Some(origin)) = (&verdict, origin) {
        let exposed = HeaderValue::from_static("ETag, Location, Retry-After");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    shared.metrics.answers.get_or_create(&Status { status: response.status().as_u16() }).inc();
    response
}

/// An open gateway answers only to its own machine, whoever serves its routes and on whatever address.
fn is_safe(shared: &Shared, request: &Request) -> bool {
    let peer = request.extensions().get::<Peer>();
    !shared.gatekeeper.is_open() || peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
}

async fn answer(shared: &Shared, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(shared.config.request_timeout, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        shared.metrics.refuse("request_timeout");
        let detail = "The request took too long to arrive or to be answered: try again.";
        let mut response = Problem::new(408, "timeout", "Too slow", detail).into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    })
}

fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Credentials are never allowed: we set no cookies.
fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, Idempotency-Key, If-None-Match"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// `{key}` of a path: a session's id or name.
pub(crate) struct Key(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(key)| Self(key))
            .map_err(|_| Problem::bad_request("The session in the path is not UTF-8."))
    }
}

/// The bearer token of an `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Shared {
    /// What the request's bearer token allows.
    pub(crate) fn grant(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        self.gatekeeper.bearer(bearer(headers), self.unix()).map_err(|refused| {
            if refused != Refused::Missing {
                self.metrics.refuse("authentication");
            }
            refused.into()
        })
    }
}
