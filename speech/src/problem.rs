//! Errors over HTTP, in the shape of Gladia's `*ErrorResponse`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::{now, request_id};

/// An error answer.
pub(crate) struct Problem {
    status: u16,
    path: String,
    message: String,
    errors: Option<Vec<String>>,
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: u16, path: &str, message: &str) -> Self {
        Self { status, path: path.into(), message: message.into(), errors: None, retry_after: None }
    }

    pub(crate) fn with_errors(self, errors: Vec<String>) -> Self {
        Self { errors: Some(errors), ..self }
    }

    /// Seconds.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let id = uuid::Uuid::new_v4().to_string();
        let mut body = json!({"timestamp": now(), "path": self.path, "request_id": request_id(&id),
            "statusCode": self.status, "message": self.message});
        if let Some(errors) = self.errors {
            body["validation_errors"] = json!(errors);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [("x-aipi-call-id", id)], Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
