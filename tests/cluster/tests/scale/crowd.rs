//! Viewers that only count, and tell how old a word is when it arrives.

use crate::steps::{Spread, Step, Steps};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// As `installation.yaml` has it.
pub(crate) const KEY: &str = "the-api-key-of-these-tests";
/// Until the gateway knows the session.
const AGAIN: Duration = Duration::from_millis(100);

/// What arrived.
#[derive(Debug, Default, Clone)]
pub(crate) struct Arrived {
    messages: u64,
    bytes: u64,
    finals: u64,
    /// Seconds from the writing of a final to its arrival.
    delays: Vec<f64>,
    /// Seconds from the end of a word, as it was spoken, to its arrival.
    lags: Vec<f64>,
}

/// The same for people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heard {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) finals: u64,
    pub(crate) final_to_viewer: Option<Spread>,
    pub(crate) word_to_viewer: Option<Spread>,
}

/// Viewers, spread over the gateways; they leave with this value.
pub(crate) struct Crowd {
    arrived: Arc<Mutex<Arrived>>,
    greeted: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Crowd {
    /// So many at each of these sessions. `gateways`: `address:port`.
    pub(crate) fn enter(gateways: &[String], sessions: &[String], each: usize, steps: &Arc<Steps>) -> Self {
        let (arrived, greeted) = (Arc::<Mutex<Arrived>>::default(), Arc::<AtomicUsize>::default());
        let places = sessions.iter().flat_map(|session| std::iter::repeat_n(session, each)).enumerate();
        let view = |(number, session): (usize, &String)| {
            let url = format!("ws://{}/v1/sessions/{session}/stream", gateways[number % gateways.len()]);
            let viewer = Viewer {
                url,
                session: session.clone(),
                arrived: arrived.clone(),
                greeted: greeted.clone(),
                steps: steps.clone(),
            };
            tokio::spawn(viewer.stay())
        };
        Self { tasks: places.map(view).collect(), arrived, greeted }
    }

    /// Connections that have begun.
    pub(crate) fn greeted(&self) -> usize {
        self.greeted.load(Ordering::Relaxed)
    }

    /// What has arrived since the last call.
    pub(crate) fn take(&self) -> Heard {
        let arrived = std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner));
        Heard {
            messages: arrived.messages,
            bytes: arrived.bytes,
            finals: arrived.finals,
            final_to_viewer: Spread::of(arrived.delays),
            word_to_viewer: Spread::of(arrived.lags),
        }
    }
}

struct Viewer {
    url: String,
    session: String,
    arrived: Arc<Mutex<Arrived>>,
    greeted: Arc<AtomicUsize>,
    steps: Arc<Steps>,
}

impl Viewer {
    async fn stay(self) {
        loop {
            self.connection().await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// One connection, to its end.
    async fn connection(&self) -> Option<()> {
        let mut request = self.url.as_str().into_client_request().ok()?;
        request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().ok()?);
        request.headers_mut().insert("sec-websocket-protocol", "roomscribe.v1.json".parse().ok()?);
        let (mut socket, _) = connect_async(request).await.ok()?;
        let (mut zero, mut head) = (None, 0);
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let event: Value = serde_json::from_str(&text).ok()?;
            if event["type"] == "hello" {
                self.greeted.fetch_add(1, Ordering::Relaxed);
                zero = time(&event["mediaZeroAt"]);
                head = event["head"].as_u64().unwrap_or(0);
            }
            if event["type"] == "final" {
                self.steps.note(&self.session, Step::FirstWord);
            }
            let is_new = event["offset"].as_u64().is_some_and(|offset| offset > head);
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.count(&event, text.len(), is_new, zero);
        }
        None
    }
}

impl Arrived {
    /// `is_new`: not from before the viewer came.
    fn count(&mut self, event: &Value, bytes: usize, is_new: bool, zero: Option<Timestamp>) {
        self.messages += 1;
        self.bytes += bytes as u64;
        if event["type"] != "final" || !is_new {
            return;
        }
        self.finals += 1;
        let since = |at: Timestamp| Timestamp::now().duration_since(at).as_secs_f64();
        self.delays.extend(time(&event["at"]).map(since));
        let end = event["endMs"].as_i64().map(jiff::SignedDuration::from_millis);
        self.lags.extend(zero.zip(end).and_then(|(zero, end)| Some(since(zero.checked_add(end).ok()?))));
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
