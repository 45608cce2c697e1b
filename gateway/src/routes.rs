//! Paths, and what holds for all of them: origins, problems for 404 and 405, counting.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::app::Shared;
use crate::auth::{Grant, Refused};
use crate::metrics::Status;
use crate::origin::Verdict;
use crate::problem::Problem;
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
        Verdict::Own | Verdict::Foreign => next.run(request).await,
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
