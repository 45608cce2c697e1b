//! `tail`: a viewer that resumes by itself. It keeps (epoch, offset), asks for what follows, drops what it has,
//! and takes a hole in the offsets as a reason to connect again: each final is printed exactly once.

use super::{Client, segment};
use crate::cli::Tail;
use crate::exit::{self, Failure};
use crate::terminal::Captions;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

const FIRST_WAIT: Duration = Duration::from_millis(500);
/// From TCP connect to the upgrade's answer.
const CONNECT: Duration = Duration::from_secs(15);
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
    connected: bool,
}

/// Where events go; an error ends the following.
pub(crate) trait Show: FnMut(&Value) -> Result<(), Failure> {}
impl<F: FnMut(&Value) -> Result<(), Failure>> Show for F {}

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
        Self { client, session, after, epoch: None, connected: false }
    }

    /// Calls `show` with every frame in order, durable events exactly once; returns after the session's end.
    pub(crate) async fn run(mut self, mut show: impl Show) -> Result<(), Failure> {
        // A wrong URL, key or name is said at once, in the gateway's own words; later cuts are waited out.
        self.client.send(self.client.request(Method::GET, &self.path())).await?;
        let mut wait = FIRST_WAIT;
        loop {
            let before = self.after;
            match self.watch(&mut show).await {
                Cut::End => return Ok(()),
                Cut::Refused(failure) => return Err(failure),
                Cut::Broken => {}
            }
            if self.connected {
                self.connected = false;
                eprintln!(
                    "the connection to {} broke after offset {}: resuming",
                    self.client.base, self.after
                );
            }
            wait = if self.after > before { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            tokio::time::sleep(wait.mul_f64(fastrand::f64())).await;
        }
    }

    fn path(&self) -> String {
        format!("/v1/sessions/{}", segment(&self.session))
    }

    async fn watch(&mut self, show: &mut impl Show) -> Cut {
        let request = match self.request() {
            Ok(request) => request,
            Err(failure) => return Cut::Refused(failure),
        };
        let connecting = timeout(CONNECT, tokio_tungstenite::connect_async(request)).await;
        let mut socket = match connecting {
            Ok(Ok((socket, _))) => socket,
            Ok(Err(Error::Http(response))) => return self.refusal(response.status().as_u16()),
            Ok(Err(_)) | Err(_) => return Cut::Broken,
        };
        self.connected = true;
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
    fn take(&mut self, event: &Value, show: &mut impl Show) -> Option<Cut> {
        if event["type"] == "hello" {
            self.greet(event);
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
        if let Err(failure) = show(event) {
            return Some(Cut::Refused(failure));
        }
        (event["type"] == "end").then_some(Cut::End)
    }

    fn greet(&mut self, hello: &Value) {
        let epoch = hello["epoch"].as_str().map(str::to_owned);
        if hello["recovered"] == false || (self.epoch.is_some() && self.epoch != epoch) {
            let from = hello["from"].as_u64().unwrap_or(0);
            eprintln!(
                "the gateway's log does not go on after offset {}: what follows begins after {from}",
                self.after
            );
            self.after = from;
        }
        self.epoch = epoch;
    }

    fn request(&self) -> Result<tokio_tungstenite::tungstenite::handshake::client::Request, Failure> {
        let base = self.client.base.replacen("http", "ws", 1);
        let mut url = format!("{base}{}/stream?after={}", self.path(), self.after);
        if let Some(epoch) = &self.epoch {
            url.push_str(&format!("&epoch={epoch}"));
        }
        let wrong = |_| Failure::setting("ROOMSCRIBE_URL", "is not a URL");
        let mut request = url.into_client_request().map_err(wrong)?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("roomscribe.v1.json"));
        if let Some(key) = &self.client.key {
            let value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
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
                self.client.unwelcome(status, "not allowed to read this session"),
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
