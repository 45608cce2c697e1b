//! Viewers as a browser has them: behind something that spreads connections over ready replicas, reconnecting with the last
//! offset that they have.

use crate::world::KEY;
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// For one viewer's whole life.
const PATIENCE: Duration = Duration::from_secs(55);
/// Between tries; a viewer's own back-off is longer.
const AGAIN: Duration = Duration::from_millis(50);

/// Replicas that are sent viewers, `host:port`.
#[derive(Clone, Default)]
pub(crate) struct Endpoints(Arc<Mutex<Vec<String>>>);

impl Endpoints {
    pub(crate) fn add(&self, base: &str) {
        self.0.lock().unwrap().push(base.trim_start_matches("http://").to_owned());
    }

    pub(crate) fn remove(&self, base: &str) {
        self.0.lock().unwrap().retain(|known| known != base.trim_start_matches("http://"));
    }

    fn any(&self) -> Option<String> {
        let all = self.0.lock().unwrap();
        (!all.is_empty()).then(|| all[fastrand::usize(..all.len())].clone())
    }
}

/// What a viewer has got until the end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) offsets: Vec<u64>,
    pub(crate) closes: Vec<u16>,
    pub(crate) ended: bool,
}

/// Watches until the `end`.
pub(crate) fn watch(endpoints: &Endpoints, session: &str) -> JoinHandle<Seen> {
    let (endpoints, session) = (endpoints.clone(), session.to_owned());
    tokio::spawn(async move {
        let (mut seen, begun) = (Seen::default(), Instant::now());
        while !seen.ended && begun.elapsed() < PATIENCE {
            if connection(&endpoints, &session, &mut seen).await.is_none() {
                tokio::time::sleep(AGAIN).await;
            }
        }
        seen
    })
}

/// One connection; `None` when there was none.
async fn connection(endpoints: &Endpoints, session: &str, seen: &mut Seen) -> Option<()> {
    let after = seen.offsets.last().copied().unwrap_or(0);
    let url = format!("ws://{}/v1/sessions/{session}/stream?after={after}", endpoints.any()?);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "roomscribe.v1.json".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.ok()?;
    while let Ok(Some(message)) = tokio::time::timeout(PATIENCE, socket.next()).await {
        match message {
            Ok(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                assert!(frame["type"] != "hello" || frame["recovered"] == true, "{frame}");
                seen.offsets.extend(frame["offset"].as_u64());
                seen.ended |= frame["type"] == "end";
            }
            Ok(Message::Close(frame)) => {
                seen.closes.push(frame.map_or(1005, |frame| frame.code.into()));
                return Some(());
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}
