//! The embedded page: its files in the binary.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::app::Shared;

const JS: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("../ui/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../ui/style.css")),
    ("/app.js", JS, include_str!("../ui/app.js")),
    ("/dom.js", JS, include_str!("../ui/dom.js")),
    ("/feed.js", JS, include_str!("../ui/feed.js")),
    ("/home.js", JS, include_str!("../ui/home.js")),
    ("/lines.js", JS, include_str!("../ui/lines.js")),
    ("/server.js", JS, include_str!("../ui/server.js")),
    ("/session.js", JS, include_str!("../ui/session.js")),
    ("/text.js", JS, include_str!("../ui/text.js")),
    ("/transcript.js", JS, include_str!("../ui/transcript.js")),
];

/// Nothing but our own files, our own API, and pictures that the style sheet holds.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Arc<Shared>> {
    FILES.into_iter().fold(Router::new(), |routes, (path, kind, text)| {
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..12]));
        routes.route(path, get(async move |request: Request| file(&request, kind, text, &tag)))
    })
}

fn file(request: &Request, kind: &'static str, text: &'static str, tag: &str) -> Response {
    let known = crate::export::has_tag(request.headers(), tag);
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, kind)], text).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
