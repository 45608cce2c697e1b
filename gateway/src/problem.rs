//! Errors as RFC 9457 problem+json (contract §3).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub(crate) use crate::sessions::FieldError;
use crate::sessions::SessionsError;
use roomscribe_transcript::LogError;

/// Every `type` begins with this.
const BASE: &str = "https://roomscribe.io/problems/";

/// An error answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    r#type: String,
    title: &'static str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    pub(crate) kind: &'static str,
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(
        status: u16,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        Self {
            r#type: format!("{BASE}{kind}"),
            title,
            status,
            detail,
            errors: vec![],
            kind,
            retry_after: None,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "no-such-session", "No such session", "No session has this id or name.")
    }

    pub(crate) fn gone(detail: &str) -> Self {
        Self::new(410, "gone", "Gone", detail)
    }

    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(401, "unauthorized", "Not authenticated", detail)
    }

    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(403, "forbidden", "Not allowed", detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "bad-request", "Bad request", detail)
    }

    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|e| e.detail.as_str()).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(422, "invalid-field", "A field is wrong", detail) }
    }

    pub(crate) fn too_many(kind: &'static str, detail: impl Into<String>, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(429, kind, "Too many", detail) }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(2), ..Self::new(503, "unavailable", "Try again", detail) }
    }

    pub(crate) fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(409, kind, "Conflict", detail)
    }

    pub(crate) fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl From<SessionsError> for Problem {
    fn from(error: SessionsError) -> Self {
        match error {
            SessionsError::Invalid { pointer, detail } => Self::fields(vec![FieldError { pointer, detail }]),
            SessionsError::Fields(wrong) => Self::fields(wrong),
            SessionsError::KeyReused => Self::conflict(
                "idempotency-key-reused",
                "This Idempotency-Key was used with another body: choose a new key for a new request.",
            ),
            SessionsError::NotFound => Self::not_found(),
            SessionsError::Conflict(detail) => Self::conflict("conflict", detail),
            SessionsError::Unsupported(detail) => Self::new(501, "unsupported", "Not supported here", detail),
            SessionsError::TooMany(detail) => Self::too_many("too-many-sessions", detail, 10),
            SessionsError::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NoSession => {
                Self::gone("The session has no transcript: it was never begun, or is past its retention.")
            }
            LogError::Erased => Self::gone("The transcript was erased on request."),
            error => {
                tracing::error!(%error, "the transcript log cannot be read");
                Self::unavailable("The transcript cannot be read now; the server's log says why.")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"roomscribe\""));
        }
        response
    }
}
