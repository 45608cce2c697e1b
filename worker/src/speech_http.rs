//! The speech service's HTTP side: `POST /v2/live`, `GET` and `DELETE /v2/live/{id}` (Gladia API reference).
//!
//! Redirects are never followed: they would carry the key to another host.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// A body longer than this is not an answer of ours.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// What an error message may hold of the service's own words.
const MAX_DETAIL: usize = 400;

/// A speech service and its key, cheap to clone. `Debug` shows the base URL only.
#[derive(Clone)]
pub struct SpeechApi {
    client: reqwest::Client,
    base: String,
    key: String,
    region: Option<String>,
}

impl fmt::Debug for SpeechApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpeechApi").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Answer to `POST /v2/live`.
#[derive(Debug)]
pub enum Created {
    /// A session: its id, and the WebSocket URL, which is a secret.
    Session(NewSession),
    /// An HTTP status that is not 2xx.
    Refused {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds form.
        retry_after: Option<Duration>,
        /// The service's message and request id.
        detail: String,
    },
    /// No answer.
    Unreachable {
        /// Why, without the URL.
        detail: String,
    },
}

/// A new speech session.
#[derive(Deserialize)]
pub struct NewSession {
    /// Its id.
    pub id: String,
    /// Its WebSocket URL: the token inside is the only credential.
    pub url: String,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SpeechApi {
    /// `base` is `GLADIA_API_URL`, without a path.
    pub fn new(base: &str, key: &str, region: Option<String>) -> Result<Self, String> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key: key.to_owned(), region })
    }

    /// Asks for a live session.
    pub async fn create(&self, body: &Value) -> Created {
        let mut request =
            self.client.post(format!("{}/v2/live", self.base)).header("x-gladia-key", &self.key).json(body);
        if let Some(region) = &self.region {
            request = request.query(&[("region", region)]);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Created::Unreachable { detail: self.describe(error) },
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        if !response.status().is_success() {
            return Created::Refused { status, retry_after, detail: refusal_detail(response).await };
        }
        match response.json::<NewSession>().await {
            Ok(session) => Created::Session(session),
            Err(_) => Created::Unreachable { detail: format!("{status} without `id` and `url` in the body") },
        }
    }

    /// The whole result of a speech session; `None` while it is not there (still processing, or not retained).
    pub async fn result(&self, id: &str) -> Option<Value> {
        let response =
            self.client.get(format!("{}/v2/live/{id}", self.base)).header("x-gladia-key", &self.key);
        let response = response.send().await.ok().filter(|response| response.status().is_success())?;
        if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
            return None;
        }
        response.json().await.ok()
    }

    /// Erases a speech session's audio and text at the service; true when it is gone.
    pub async fn delete(&self, id: &str) -> bool {
        let request =
            self.client.delete(format!("{}/v2/live/{id}", self.base)).header("x-gladia-key", &self.key);
        matches!(request.send().await, Ok(response) if response.status().is_success() || response.status().as_u16() == 404)
    }

    fn describe(&self, error: reqwest::Error) -> String {
        let what = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "cannot connect"
        } else {
            "request failed"
        };
        format!("{what} ({}); check GLADIA_API_URL and the way out", self.base)
    }
}

fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `message`, `validation_errors` and `request_id` of the service's error body.
async fn refusal_detail(response: reqwest::Response) -> String {
    let Ok(body) = response.json::<Value>().await else { return String::new() };
    let mut detail = body["message"].as_str().unwrap_or_default().to_owned();
    if let Some(errors) = body["validation_errors"].as_array() {
        for error in errors.iter().filter_map(Value::as_str) {
            detail.push_str("; ");
            detail.push_str(error);
        }
    }
    if let Some(id) = body["request_id"].as_str() {
        detail.push_str(&format!(" (request {id})"));
    }
    detail.chars().take(MAX_DETAIL).collect()
}
