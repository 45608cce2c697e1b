//! `start`, `stop`, `list`, `tail`, `export`: a client of any gateway, local or in a cluster.

mod export;
mod follow;
mod manage;

pub(crate) use export::export;
#[cfg(feature = "demo")]
pub(crate) use follow::Follower;
pub(crate) use follow::tail;
pub(crate) use manage::{list, start, stop};

use crate::cli;
use crate::exit::{self, Failure};
use crate::terminal::harmless;
use crate::values;
use serde_json::Value;
use std::time::Duration;

/// Where `serve` listens by default.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

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
        let base = match gateway.url.trim() {
            "" => DEFAULT_URL.to_owned(),
            text => values::url("ROOMSCRIBE_URL", text)?,
        };
        let key = values::list(gateway.api_key.as_deref()).into_iter().next();
        if key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::setting(
                "ROOMSCRIBE_API_KEY",
                "has a character that no HTTP header takes: copy it again",
            ));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::setting("ROOMSCRIBE_URL", error.without_url()))?;
        Ok(Self { http, base, key })
    }

    /// A request with the key.
    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
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
        if response.status().is_redirection() {
            return Err(self.moved(&response));
        }
        let problem: Value = response.json().await.unwrap_or_default();
        Err(self.refused(status, &problem))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let why = if error.is_timeout() { "no answer in time" } else { "no gateway answers" };
        let base = &self.base;
        Failure::unavailable(match base == DEFAULT_URL {
            true => format!("{why} at {base}: start one with `roomscribe serve`, or set ROOMSCRIBE_URL"),
            false => {
                format!("{why} at {base}: is ROOMSCRIBE_URL right, and does `roomscribe serve` run there?")
            }
        })
    }

    /// Following would carry the key to another host.
    fn moved(&self, response: &reqwest::Response) -> Failure {
        let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        Failure::setting(
            "ROOMSCRIBE_URL",
            format_args!("{} redirects to {}: set that instead", self.base, harmless(to)),
        )
    }

    /// The problem document (RFC 9457) as one line.
    fn refused(&self, status: u16, problem: &Value) -> Failure {
        let line = described(status, problem);
        match status {
            401 | 403 => Failure::new(exit::CREDENTIALS, self.unwelcome(status, &line)),
            404 if problem["type"].is_string() => {
                Failure::new(exit::SETTINGS, format_args!("{line}; see `roomscribe list`"))
            }
            404 => Failure::setting(
                "ROOMSCRIBE_URL",
                format_args!("{} is no Roomscribe gateway (HTTP 404)", self.base),
            ),
            429 | 503 => Failure::new(exit::TRY_AGAIN, line),
            400..=499 => Failure::new(exit::SETTINGS, line),
            _ => Failure::unavailable(line),
        }
    }

    /// Which setting holds the key that is missing or wrong.
    fn unwelcome(&self, status: u16, line: &str) -> String {
        match (&self.key, status) {
            (None, _) => format!("ROOMSCRIBE_API_KEY: is not set, and {} asks for a key: {line}", self.base),
            (Some(_), 401) => format!("ROOMSCRIBE_API_KEY: {} refused the key: {line}", self.base),
            (Some(_), _) => format!("ROOMSCRIBE_API_KEY: this key may not do that at {}: {line}", self.base),
        }
    }
}

fn described(status: u16, problem: &Value) -> String {
    let words = problem["detail"].as_str().or_else(|| problem["title"].as_str()).unwrap_or("refused");
    let errors: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| (error["pointer"].as_str().unwrap_or("/"), error["detail"].as_str().unwrap_or_default()))
        .collect();
    // The detail of wrong fields is what each of them says.
    let repeats = !errors.is_empty() && errors.iter().all(|(_, detail)| words.contains(detail));
    let whole = (!repeats).then(|| words.to_owned());
    let fields = errors.iter().map(|(pointer, detail)| format!("{pointer}: {detail}"));
    let said: Vec<String> =
        whole.into_iter().chain(fields).map(|said| harmless(said.trim_end_matches('.'))).collect();
    format!("{} (HTTP {status})", said.join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_with_a_field_is_said_once_and_with_the_field() {
        let problem = json!({
            "title": "A field is wrong",
            "detail": "must have 1 to 256 bytes. must be from 10 to 10000",
            "errors": [
                {"pointer": "/roomName", "detail": "must have 1 to 256 bytes."},
                {"pointer": "/speech/endpointingMilliseconds", "detail": "must be from 10 to 10000"},
            ],
        });
        assert_eq!(
            described(422, &problem),
            "/roomName: must have 1 to 256 bytes; /speech/endpointingMilliseconds: must be from 10 to 10000 (HTTP 422)"
        );
    }

    #[test]
    fn a_detail_that_says_more_than_the_fields_stays() {
        let problem = json!({"detail": "No session has this id.", "errors": []});
        assert_eq!(described(404, &problem), "No session has this id (HTTP 404)");
        let problem =
            json!({"detail": "Two are wrong.", "errors": [{"pointer": "/a", "detail": "must be b"}]});
        assert_eq!(described(422, &problem), "Two are wrong; /a: must be b (HTTP 422)");
        assert_eq!(described(500, &json!({})), "refused (HTTP 500)");
    }
}
