//! `start`, `stop`, `list`, `tail`, `export`: a client of any gateway, local or in a cluster.

mod export;
mod follow;
mod manage;

pub(crate) use export::export;
pub(crate) use follow::{Follower, tail};
pub(crate) use manage::{list, start, stop};

use crate::cli;
use crate::exit::{self, Failure};
use serde_json::Value;
use std::time::Duration;

/// A gateway and the key for it.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// Checks the URL; connects later.
    pub(crate) fn new(gateway: &cli::Gateway) -> Result<Self, Failure> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let base = gateway.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::setting(
                "ROOMSCRIBE_URL",
                format_args!("`{base}` must begin with http:// or https://"),
            ));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::setting("ROOMSCRIBE_URL", error.without_url()))?;
        Ok(Self { http, base, key: gateway.api_key.clone().filter(|key| !key.is_empty()) })
    }

    /// A request with the key.
    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match self.key.as_deref().and_then(|keys| keys.split(',').next()) {
            Some(key) => request.bearer_auth(key.trim()),
            None => request,
        }
    }

    /// Sends; any status that is not 2xx becomes a failure with the gateway's own words.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap_or_default();
        Err(refused(status, &problem))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let why = if error.is_timeout() { "no answer in time" } else { "no gateway answers" };
        Failure::unavailable(format_args!(
            "{why} at {}; is `roomscribe serve` running, is ROOMSCRIBE_URL right?",
            self.base
        ))
    }
}

/// The problem document (RFC 9457) as one line.
fn refused(status: u16, problem: &Value) -> Failure {
    let words = problem["detail"].as_str().or_else(|| problem["title"].as_str()).unwrap_or("refused");
    let mut line = format!("{words} (HTTP {status})");
    for error in problem["errors"].as_array().into_iter().flatten() {
        let (pointer, detail) =
            (error["pointer"].as_str().unwrap_or("/"), error["detail"].as_str().unwrap_or_default());
        line.push_str(&format!("; {pointer}: {detail}"));
    }
    match status {
        401 | 403 => Failure::new(exit::CREDENTIALS, format_args!("{line}; set ROOMSCRIBE_API_KEY")),
        429 | 503 => Failure::new(exit::TRY_AGAIN, line),
        400..=499 => Failure::new(exit::SETTINGS, line),
        _ => Failure::unavailable(line),
    }
}

/// A path segment: ids and names are URL-safe, anything else is encoded.
fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
