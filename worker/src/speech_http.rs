//! The speech service's HTTP side: `POST /v2/live`, `GET` and `DELETE /v2/live/{id}` (Gladia API reference).
//!
//! Redirects are never followed: they would carry the key to another host.

use roomscribe_pipeline::SpeechResult;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// A body longer than this is not an answer of ours.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// … and an answer to `POST` is small.
const MAX_ANSWER: usize = 64 * 1024;
/// A UUID has 36.
const MAX_ID: usize = 128;
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

/// A setting that cannot be used; the message names the mend, never the value of a key.
#[derive(Debug, thiserror::Error)]
pub enum SpeechSettingsError {
    /// Not a base URL.
    #[error("{0}; give a base URL such as https://api.gladia.io")]
    Url(String),
    /// Not a key.
    #[error("{0}")]
    Key(&'static str),
}

impl SpeechSettingsError {
    /// Name of the setting.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Url(_) => "GLADIA_API_URL",
            Self::Key(_) => "GLADIA_API_KEY",
        }
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
    pub fn new(base: &str, key: &str, region: Option<String>) -> Result<Self, SpeechSettingsError> {
        check(base, key)?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| SpeechSettingsError::Url(error.without_url().to_string()))?;
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
            let detail = self.without_key(refusal_detail(response).await);
            return Created::Refused { status, retry_after, detail };
        }
        let session =
            bounded_json(response, MAX_ANSWER).await.and_then(|body| NewSession::deserialize(body).ok());
        match session.filter(|session| self.is_usable(session)) {
            Some(session) => Created::Session(session),
            None => Created::Unreachable {
                detail: format!("{status} without a usable `id` and `url` in the body"),
            },
        }
    }

    /// The whole result of a speech session, as far as it is there.
    pub async fn result(&self, id: &str) -> SpeechResult<Value> {
        let response =
            self.client.get(format!("{}/v2/live/{id}", self.base)).header("x-gladia-key", &self.key);
        match response.send().await {
            Ok(response) if response.status().as_u16() == 404 => SpeechResult::Unknown,
            Ok(response) if response.status().is_success() => {
                let job = bounded_json(response, MAX_BODY).await;
                job.map_or(SpeechResult::Unanswered, SpeechResult::Job)
            }
            _ => SpeechResult::Unanswered,
        }
    }

    /// Erases a speech session's audio and text at the service; true when it is gone.
    pub async fn delete(&self, id: &str) -> bool {
        let request =
            self.client.delete(format!("{}/v2/live/{id}", self.base)).header("x-gladia-key", &self.key);
        matches!(request.send().await, Ok(response) if response.status().is_success() || response.status().as_u16() == 404)
    }

    /// The id becomes part of a path, and a URL without TLS would show its token where the key has TLS.
    fn is_usable(&self, session: &NewSession) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let scheme = if self.base.starts_with("https:") { "wss://" } else { "ws" };
        (1..=MAX_ID).contains(&session.id.len())
            && session.id.chars().all(plain)
            && session.url.starts_with(scheme)
    }

    /// The service's words may quote what it was sent.
    fn without_key(&self, detail: String) -> String {
        if self.key.is_empty() { detail } else { detail.replace(&self.key, "…") }
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
    let Some(body) = bounded_json(response, MAX_ANSWER).await else { return String::new() };
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

/// `None` when the body is longer than `limit`, breaks off, or is not JSON.
async fn bounded_json(mut response: reqwest::Response, limit: usize) -> Option<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > limit {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

fn check(base: &str, key: &str) -> Result<(), SpeechSettingsError> {
    let wrong = |what: &str| Err(SpeechSettingsError::Url(what.to_owned()));
    let Ok(url) = reqwest::Url::parse(base) else { return wrong("not a URL") };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong("not an http or https URL");
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return wrong("a base URL has no query and no user name");
    }
    if !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(SpeechSettingsError::Key("holds a space, a line break or a letter that no key has"));
    }
    if key.is_empty() && url.host_str().is_some_and(|host| host.ends_with("gladia.io")) {
        return Err(SpeechSettingsError::Key("is not set; Gladia needs a key: see app.gladia.io"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base: &str, key: &str) -> Result<SpeechApi, String> {
        SpeechApi::new(base, key, None).map_err(|error| format!("{}: {error}", error.setting()))
    }

    #[test]
    fn a_setting_that_cannot_work_is_named_before_it_is_used() {
        for (base, key, setting) in [
            ("gladia", "k", "GLADIA_API_URL"),
            ("ftp://gladia.io", "k", "GLADIA_API_URL"),
            ("https://user@api.gladia.io", "k", "GLADIA_API_URL"),
            ("https://api.gladia.io?key=k", "k", "GLADIA_API_URL"),
            ("https://api.gladia.io", "", "GLADIA_API_KEY"),
            ("https://api.gladia.io", "two\nlines", "GLADIA_API_KEY"),
        ] {
            let error = api(base, key).unwrap_err();
            assert!(error.starts_with(setting), "{base}: {error}");
            assert!(!error.contains("lines"), "{error}");
        }
        assert!(api("http://127.0.0.1:8080", "").is_ok());
    }

    #[test]
    fn a_session_whose_id_or_url_could_lead_elsewhere_is_not_used() {
        let tls = api("https://api.gladia.io", "k").unwrap();
        let usable = |id: &str, url: &str| tls.is_usable(&NewSession { id: id.into(), url: url.into() });
        assert!(usable("45463597-20b7-4af7-b3b3-f5fb778203ab", "wss://api.gladia.io/v2/live?token=x"));
        assert!(!usable("../keys", "wss://api.gladia.io/v2/live?token=x"));
        assert!(!usable("", "wss://api.gladia.io/v2/live?token=x"));
        assert!(!usable("4546", "ws://api.gladia.io/v2/live?token=x"));
    }

    #[test]
    fn a_key_that_the_service_quotes_does_not_go_on() {
        let api = api("https://api.gladia.io", "k3y").unwrap();
        assert_eq!(api.without_key("no such key: k3y".into()), "no such key: …");
    }
}
