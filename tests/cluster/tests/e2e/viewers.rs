//! Viewers of a session over WebSockets, one at each replica of the gateway; they come back with the last offset that they have.

use crate::cluster::Way;
use crate::transcript::Transcript;
use anyhow::ensure;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// As `installation.yaml` has it.
const KEY: &str = "the-api-key-of-these-tests";
const REPLICAS: usize = 2;
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// The gateway pings every 20 s: longer silence is a dead connection.
const SILENCE: Duration = Duration::from_secs(25);

/// Viewers by session.
#[derive(Default)]
pub(crate) struct Viewers {
    gateways: Arc<Mutex<Vec<Way>>>,
    sessions: Mutex<HashMap<String, Vec<Viewer>>>,
}

impl Viewers {
    /// What all of the session's viewers have; they come with the first call. `gateways`: the replicas now.
    ///
    /// # Errors
    /// They do not have the same.
    pub(crate) fn transcript(&self, session: &str, gateways: Vec<Way>) -> anyhow::Result<Transcript> {
        *self.gateways.lock().unwrap() = gateways;
        let mut sessions = self.sessions.lock().unwrap();
        let viewers = sessions.entry(session.to_owned()).or_insert_with(|| {
            (0..REPLICAS).map(|number| Viewer::start(session, number, Arc::clone(&self.gateways))).collect()
        });
        let seen: Vec<Vec<Value>> =
            viewers.iter().map(|viewer| viewer.seen.lock().unwrap().clone()).collect();
        let common = seen.iter().map(Vec::len).min().unwrap_or_default();
        let first = seen[0][..common].to_vec();
        ensure!(seen.iter().all(|seen| seen[..common] == first), "viewers do not see the same: {seen:#?}");
        Ok(Transcript::new(first))
    }
}

struct Viewer {
    seen: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Viewer {
    fn start(session: &str, number: usize, gateways: Arc<Mutex<Vec<Way>>>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (session, events) = (session.to_owned(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let way = {
                    let gateways = gateways.lock().unwrap();
                    (!gateways.is_empty()).then(|| gateways[number % gateways.len()].clone())
                };
                if let Some(way) = way {
                    connection(&way, &session, &events).await;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        Self { seen, task }
    }
}

/// One connection, to its end.
async fn connection(way: &Way, session: &str, events: &Mutex<Vec<Value>>) -> Option<()> {
    let after = events.lock().unwrap().last().map_or(0, |event| event["offset"].as_u64().unwrap());
    let open = way.open(8080).await.ok()?;
    let url = format!("ws://{}/v1/sessions/{session}/stream?after={after}", open.address);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "roomscribe.v1.json".parse().unwrap());
    let connect = tokio::time::timeout(Duration::from_secs(2), connect_async(request));
    let (mut socket, _) = connect.await.ok()?.ok()?;
    loop {
        match tokio::time::timeout(SILENCE, socket.next()).await.ok()?? {
            Ok(Message::Text(text)) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["offset"].is_u64() {
                    events.lock().unwrap().push(event);
                }
            }
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
