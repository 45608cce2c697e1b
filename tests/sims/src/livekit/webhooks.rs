//! Signed webhooks, one after the other, as livekit-server sends them: a bare JWT with the body's hash in `Authorization`.

use super::shell::Shell;
use base64::Engine;
use livekit_api::access_token::AccessToken;
use livekit_protocol as proto;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// As livekit-server's queue: what is more is lost.
pub(super) const QUEUE: usize = 1000;
const TOKEN_TTL: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;

/// Sends until the queue closes.
pub(super) async fn run(shell: Arc<Shell>, url: String, mut queue: mpsc::Receiver<Box<proto::WebhookEvent>>) {
    let http = reqwest::Client::new();
    while let Some(event) = queue.recv().await {
        let Some((body, token)) = sign(&shell, &event) else { continue };
        for attempt in 1..=TRIES {
            let request = http
                .post(&url)
                .header("content-type", "application/webhook+json")
                .header("authorization", &token)
                .timeout(PATIENCE)
                .body(body.clone());
            match request.send().await {
                Ok(response) if !response.status().is_server_error() => break,
                _ if attempt == TRIES => {
                    tracing::warn!(event = event.event, "webhook not taken: check --webhook-url")
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

fn sign(shell: &Shell, event: &proto::WebhookEvent) -> Option<(String, String)> {
    let body = serde_json::to_string(event).ok()?;
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&body));
    let keys = shell.keys();
    let token =
        AccessToken::with_api_key(&keys.api_key, &keys.api_secret).with_sha256(&hash).with_ttl(TOKEN_TTL);
    Some((body, token.to_jwt().ok()?))
}
