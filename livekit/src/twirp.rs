//! One Twirp request: protobuf over HTTP POST, the status kept whatever the body is.

use crate::error::{ApiError, ErrorKind, kind};
use crate::redact;
use prost::Message;
use std::time::Duration;

/// An answer longer than this is not LiveKit's: an unfiltered list of a day's egresses has some hundred kilobytes.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// What is looked at of an answer in plain text, bytes: LiveKit quotes the token in it, before the reason.
const MAX_WORDS: usize = 16 * 1024;

/// Makes the call; `path` is `livekit.Service/Method`.
///
/// # Errors
/// Every answer but 200, and every lack of one, is an [`ApiError`] without secrets.
pub(crate) async fn call<Q: Message, A: Message + Default>(
    http: &reqwest::Client,
    base: &str,
    path: &str,
    token: &str,
    question: &Q,
    deadline: Duration,
) -> Result<A, ApiError> {
    let request = http
        .post(format!("{base}/twirp/{path}"))
        .header("content-type", "application/protobuf")
        .bearer_auth(token)
        .timeout(deadline)
        .body(question.encode_to_vec());
    let response = request.send().await.map_err(no_answer)?;
    let status = response.status().as_u16();
    let body = read(response).await?;
    if status == 200 {
        return A::decode(body.as_slice()).map_err(|_| ApiError {
            kind: ErrorKind::Unknown,
            status: Some(200),
            code: String::new(),
            message: "the answer is not LiveKit's: check the URL".into(),
        });
    }
    Err(refusal(status, &body))
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > MAX_BODY {
            let message = format!("the answer is longer than {} MiB", MAX_BODY / 1024 / 1024);
            return Err(ApiError {
                kind: ErrorKind::Unknown,
                status: Some(response.status().as_u16()),
                code: String::new(),
                message,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn no_answer(error: reqwest::Error) -> ApiError {
    let connect = error.is_connect();
    let message = match (connect, error.is_timeout()) {
        (true, _) => "cannot connect: check the URL and the way there",
        (_, true) => "no answer in time",
        _ => "the connection broke",
    };
    let kind = if connect { ErrorKind::Unreachable } else { ErrorKind::Unknown };
    ApiError { kind, status: None, code: String::new(), message: message.into() }
}

/// Twirp errors are JSON `{code, msg}`; LiveKit's auth middleware answers plain text, a proxy HTML.
fn refusal(status: u16, body: &[u8]) -> ApiError {
    #[derive(serde::Deserialize)]
    struct Twirp {
        code: String,
        #[serde(default)]
        msg: String,
    }
    match serde_json::from_slice::<Twirp>(body) {
        Ok(twirp) => ApiError {
            // Twirp's own 404: nobody serves this path here, which says nothing about rooms and egresses.
            kind: kind(status, twirp.code != "bad_route"),
            status: Some(status),
            code: redact::text(&twirp.code),
            message: redact::text(&twirp.msg),
        },
        Err(_) => {
            // Cut only after the redaction: half a token looks like none.
            let text = String::from_utf8_lossy(&body[..body.len().min(MAX_WORDS)]);
            let html = text.trim_start().starts_with('<');
            let message =
                if html { "a web page, not LiveKit's API".to_owned() } else { redact::text(text.trim()) };
            ApiError { kind: kind(status, false), status: Some(status), code: String::new(), message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_401_keeps_its_status_and_words() {
        let error = refusal(401, b"invalid API key");
        assert_eq!((error.kind, error.status), (ErrorKind::CredentialsRefused, Some(401)));
        assert_eq!(error.to_string(), "LiveKit answered 401: invalid API key");
    }

    #[test]
    fn twirp_json_gives_code_and_words_without_keys() {
        let body = br#"{"code":"invalid_argument","msg":"bad url rtmp://h/live/i/s.1/SECRET"}"#;
        let error = refusal(400, body);
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Refused, "invalid_argument"));
        assert!(!error.to_string().contains("SECRET"));
    }

    #[test]
    fn a_refused_token_is_not_shown_and_the_reason_after_it_is() {
        let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.SECRET", "x".repeat(600));
        let error = refusal(401, format!("invalid token: {token}, error: token is expired").as_bytes());
        assert_eq!(error.to_string(), "LiveKit answered 401: invalid token: … error: token is expired");
    }

    #[test]
    fn a_path_that_twirp_does_not_know_is_no_missing_egress() {
        let error = refusal(404, br#"{"code":"bad_route","msg":"no handler for path"}"#);
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Refused, "bad_route"));
    }

    #[test]
    fn a_proxy_s_page_is_called_one() {
        assert_eq!(refusal(502, b"<html>Bad Gateway</html>").message, "a web page, not LiveKit's API");
    }
}
