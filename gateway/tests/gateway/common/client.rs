//! A viewer: tokio-tungstenite, every wait bounded.

use super::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    /// Close code; 1006 when the connection broke.
    Closed(u16),
}

impl Client {
    pub(crate) async fn open(url: &str, key: Option<&str>) -> Self {
        Self::try_open(url, key).await.expect("the upgrade is granted")
    }

    pub(crate) async fn try_open(url: &str, key: Option<&str>) -> Result<Self, Error> {
        let mut headers = vec![("sec-websocket-protocol", "roomscribe.v1.json".to_owned())];
        headers.extend(key.map(|key| ("authorization", format!("Bearer {key}"))));
        Self::with_headers(url, &headers).await
    }

    pub(crate) async fn with_headers(url: &str, headers: &[(&'static str, String)]) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) =
            timeout(PATIENCE, connect_async(request)).await.expect("an answer to the upgrade")?;
        Ok(Self { socket })
    }

    pub(crate) async fn say(&mut self, text: &str) {
        drop(self.socket.send(Message::text(text)).await);
    }

    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame within the test's patience") {
                Some(Ok(Message::Text(text))) => return Heard::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(1006),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Heard::Frame(frame) => frame,
            Heard::Closed(code) => panic!("closed with {code} instead of a frame"),
        }
    }

    /// The next frame of this type; others are passed over.
    pub(crate) async fn of_type(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Everything up to the pong of a ping sent now: what the server did before it is done.
    pub(crate) async fn settle(&mut self) -> Vec<Value> {
        self.say(r#"{"type":"ping","t":4711}"#).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame["type"] == "pong" {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Offsets up to and including `last`, in the order they came.
    pub(crate) async fn offsets_to(&mut self, last: u64) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.last() != Some(&last) {
            offsets.extend(self.frame().await["offset"].as_u64());
        }
        offsets
    }

    /// The close code; frames before it are passed over.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.next().await {
                return code;
            }
        }
    }
}
