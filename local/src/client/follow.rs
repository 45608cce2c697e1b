//! `tail`: a viewer that resumes by itself. It keeps (epoch, offset), asks for what follows, drops what it has,
//! and takes a hole in the offsets as a reason to connect again: each final is printed exactly once.

use super::{Client, segment};
use crate::cli::Tail;
use crate::exit::{self, Failure};
use crate::terminal::Captions;
use futures_util::StreamExt;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The gateway sends a heartbeat at least this often, so silence means a dead connection.
const SILENCE: Duration = Duration::from_secs(60);

/// `roomscribe tail`.
pub(crate) async fn tail(args: Tail) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let follower = Follower::new(client, args.session, args.after);
    let mut captions = Captions::new(args.format);
    follower.run(|event| captions.show(event)).await
}

/// Follows one session to its end, over as many connections as it takes.
pub(crate) struct Follower {
    client: Client,
    session: String,
    after: u64,
    epoch: Option<String>,
}

/// Why one connection ended.
enum Cut {
    /// The session is over.
    End,
    /// Connect again.
    Broken,
    /// Give up.
    Refused(Failure),
}

impl Follower {
    /// Begins after the offset `after`.
    pub(crate) fn new(client: Client, session: String, after: u64) -> Self {
        Self { client, session, after, epoch: None }
    }

    /// Calls `show` with every frame in order, durable events exactly once; returns after the session's end.
    pub(crate) async fn run(mut self, mut show: impl FnMut(&Value)) -> Result<(), Failure> {
        let mut wait = FIRST_WAIT;
        loop {
            let before = self.after;
            match self.watch(&mut show).await {
                Cut::End => return Ok(()),
                Cut::Refused(failure) => return Err(failure),
                Cut::Broken => {}
            }
            wait = if self.after > before { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            tokio::time::sleep(wait.mul_f64(fastrand::f64())).await;
        }
    }

    async fn watch(&mut self, show: &mut impl FnMut(&Value)) -> Cut {
        let request = match self.request() {
            Ok(request) => request,
            Err(failure) => return Cut::Refused(failure),
        };
        let mut socket = match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => return self.refusal(response.status().as_u16()),
            Err(_) => return Cut::Broken,
        };
        while let Ok(Some(Ok(message))) = timeout(SILENCE, socket.next()).await {
            match message {
                Message::Text(text) => {
                    let Ok(event) = serde_json::from_str::<Value>(&text) else { continue };
                    if let Some(cut) = self.take(&event, show) {
                        return cut;
                    }
                }
                Message::Close(Some(close)) => return self.closed(close.code.into()),
                _ => {}
            }
        }
        Cut::Broken
    }

    /// One frame: shows it unless it is known already.
    fn take(&mut self, event: &Value, show: &mut impl FnMut(&Value)) -> Option<Cut> {
        if event["type"] == "hello" {
            let epoch = event["epoch"].as_str().map(str::to_owned);
            if event["recovered"] == false || (self.epoch.is_some() && self.epoch != epoch) {
                // The log was lost or replaced: what we had has no meaning any more.
                self.after = event["from"].as_u64().unwrap_or(0);
            }
            self.epoch = epoch;
        }
        if let Some(offset) = event["offset"].as_u64() {
            if offset <= self.after {
                return None;
            }
            if offset != self.after + 1 && self.after != 0 {
                return Some(Cut::Broken);
            }
            self.after = offset;
        }
        show(event);
        (event["type"] == "end").then_some(Cut::End)
    }

    fn request(&self) -> Result<tokio_tungstenite::tungstenite::handshake::client::Request, Failure> {
        let base = self.client.base.replacen("http", "ws", 1);
        let mut url = format!("{base}/v1/sessions/{}/stream?after={}", segment(&self.session), self.after);
        if let Some(epoch) = &self.epoch {
            url.push_str(&format!("&epoch={epoch}"));
        }
        let wrong = |_| Failure::setting("ROOMSCRIBE_URL", "is not a URL");
        let mut request = url.into_client_request().map_err(wrong)?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("roomscribe.v1.json"));
        if let Some(key) = self.client.key.as_deref().and_then(|keys| keys.split(',').next()) {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
                Failure::setting("ROOMSCRIBE_API_KEY", "holds characters that no key may hold")
            })?;
            request.headers_mut().insert("authorization", value);
        }
        Ok(request)
    }

    fn refusal(&self, status: u16) -> Cut {
        match status {
            401 | 403 => Cut::Refused(Failure::new(
                exit::CREDENTIALS,
                "the gateway refused the key; set ROOMSCRIBE_API_KEY",
            )),
            404 => Cut::Refused(Failure::new(
                exit::SETTINGS,
                format_args!("no session {}; see `roomscribe list`", self.session),
            )),
            400..=499 if status != 429 => {
                Cut::Refused(Failure::new(exit::SETTINGS, format_args!("refused with HTTP {status}")))
            }
            _ => Cut::Broken,
        }
    }

    /// Close codes of the client protocol: 4401/4403/4404/4410 need a person, the rest a new connection.
    fn closed(&self, code: u16) -> Cut {
        match code {
            4401 | 4403 => self.refusal(403),
            4404 => self.refusal(404),
            4410 => Cut::Refused(Failure::new(exit::SETTINGS, "the transcript was erased")),
            _ => Cut::Broken,
        }
    }
}
