//! Fetches the keys of whoever signs viewers' tokens (`ROOMSCRIBE_JWKS_URL`): now and then, and when a token names a key that
//! is not known.

use super::settings::SettingError;
use crate::KeySet;
use futures_util::StreamExt;
use reqwest::{Client, Url};
use std::time::Duration;

const SETTING: &str = "ROOMSCRIBE_JWKS_URL";
/// For one fetch.
const DEADLINE: Duration = Duration::from_secs(5);
/// A key set at most.
const MAX_BYTES: usize = 256 * 1024;

/// How often it is fetched.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// After a failure.
    retry: Duration,
    /// At least between two fetches, however many unknown keys are named: anybody can name one.
    again: Duration,
    /// When nothing happens.
    period: Duration,
}

const PACE: Pace =
    Pace { retry: Duration::from_secs(5), again: Duration::from_secs(30), period: Duration::from_secs(600) };

/// The setting as a URL; `None` when it is not set.
pub(super) fn url(text: &str) -> Result<Option<Url>, SettingError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text.trim())
        .map_err(|error| SettingError::new(SETTING, format!("{error}: give https://…")))?;
    match url.scheme() {
        "https" | "http" if !url.username().is_empty() || url.password().is_some() => {
            Err(SettingError::new(SETTING, "holds a password: a key set is public, leave it out"))
        }
        "https" | "http" => Ok(Some(url)),
        scheme => Err(SettingError::new(
            SETTING,
            format!("{scheme}: give https://… (or http://… inside the cluster)"),
        )),
    }
}

/// Runs for ever.
pub(super) async fn follow(url: Url, keys: KeySet) {
    at_pace(url, keys, PACE).await;
}

async fn at_pace(url: Url, keys: KeySet, pace: Pace) {
    let mut known = None;
    let client = Client::builder().timeout(DEADLINE).build();
    let Ok(client) = client.inspect_err(|error| tracing::error!(%error, "{SETTING}: no HTTP client")) else {
        return;
    };
    loop {
        let fetched = fetch(&client, &url, &keys).await;
        if known.as_ref() != Some(&fetched) {
            match &fetched {
                Ok(count) => tracing::info!(count, "keys for viewers' tokens are here"),
                Err(error) => tracing::warn!(
                    error,
                    "{SETTING} cannot be used, the keys before stay: whoever runs this installation, or signs viewers' tokens, must look at it"
                ),
            }
        }
        if fetched.is_ok() {
            tokio::time::sleep(pace.again).await;
            let _ = tokio::time::timeout(pace.period, keys.unknown()).await;
        } else {
            tokio::time::sleep(pace.retry).await;
        }
        known = Some(fetched);
    }
}

async fn fetch(client: &Client, url: &Url, keys: &KeySet) -> Result<usize, String> {
    let said = |error: reqwest::Error| error.without_url().to_string();
    let answer =
        client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(said)?;
    let (mut body, mut pieces) = (Vec::new(), answer.bytes_stream());
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(said)?);
        if body.len() > MAX_BYTES {
            return Err(format!("over {MAX_BYTES} bytes"));
        }
    }
    keys.replace(&body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use jsonwebtoken::{Algorithm, Header};
    use std::sync::{Arc, Mutex};

    fn set(id: &str) -> String {
        // The key of RFC 8037, appendix A.2.
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]}}"#
        )
    }

    #[tokio::test]
    async fn a_new_key_is_fetched_when_a_token_names_it() {
        let served = Arc::new(Mutex::new(set("old")));
        let shown = Arc::clone(&served);
        let router = Router::new().route("/keys", get(move || async move { shown.lock().unwrap().clone() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        let keys = KeySet::default();
        let short = Duration::from_millis(10);
        let pace = Pace { retry: short, again: short, period: Duration::from_secs(3600) };
        let fetching = tokio::spawn(at_pace(url, keys.clone(), pace));
        let named = |id: &str| Header { kid: Some(id.into()), ..Header::new(Algorithm::EdDSA) };
        for id in ["old", "new"] {
            *served.lock().unwrap() = set(id);
            let found = async {
                while keys.find(&named(id)).is_none() {
                    tokio::time::sleep(short).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), found).await.expect("the key is fetched");
        }
        assert!(keys.find(&named("old")).is_none(), "a key that is withdrawn opens nothing");
        // What is no key set changes nothing.
        *served.lock().unwrap() = "<html>".into();
        assert!(keys.find(&named("other")).is_none());
        assert!(keys.find(&named("new")).is_some());
        fetching.abort();
    }

    #[test]
    fn only_urls_that_can_be_fetched_are_taken() {
        assert_eq!(url(" ").unwrap(), None);
        assert!(url("https://id.example.com/keys").unwrap().is_some());
        for wrong in ["file:///etc/passwd", "id.example.com", "https://a:b@id.example.com"] {
            assert_eq!(url(wrong).unwrap_err().setting, SETTING, "{wrong}");
        }
    }
}
