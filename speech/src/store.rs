//! Sessions by id and by token, live and ended.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::actor::{Control, Frame};
use crate::request::LiveRequest;

/// What others may know of a session.
pub(crate) struct Entry {
    pub(crate) id: String,
    /// The only credential of the WebSocket: never logged.
    pub(crate) token: String,
    /// The session's number in the recognition pool.
    pub(crate) number: u64,
    pub(crate) created_at: String,
    pub(crate) request: Arc<LiveRequest>,
    pub(crate) frames: mpsc::Sender<(u64, Frame)>,
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) audio: Option<PathBuf>,
    doc: Mutex<Doc>,
}

/// The part of a session's document that changes.
#[derive(Default)]
pub(crate) struct Doc {
    pub(crate) status: Status,
    pub(crate) completed_at: Option<String>,
    /// Before this moment the document still says `processing`.
    pub(crate) shown_from: Option<Instant>,
    pub(crate) audio_duration: f64,
    pub(crate) result: Value,
    pub(crate) post_session_metadata: Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Queued,
    Processing,
    Done,
    Error,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Error => "error",
        }
    }
}

impl Entry {
    pub(crate) fn new(
        (id, token, number): (String, String, u64),
        request: Arc<LiveRequest>,
        (frames, control): (mpsc::Sender<(u64, Frame)>, mpsc::Sender<Control>),
        audio: Option<PathBuf>,
    ) -> Self {
        let created_at = now();
        Self { id, token, number, created_at, request, frames, control, audio, doc: Mutex::default() }
    }

    pub(crate) fn doc(&self) -> MutexGuard<'_, Doc> {
        self.doc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `queued`, `processing`, `done` or `error`, as shown now.
    pub(crate) fn status(&self) -> Status {
        let doc = self.doc();
        if doc.shown_from.is_some_and(|at| Instant::now() < at) { Status::Processing } else { doc.status }
    }

    /// No audio is taken any more.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.doc().status, Status::Done | Status::Error)
    }

    /// The body of `GET /v2/live/{id}`.
    pub(crate) fn json(&self) -> Value {
        let status = self.status();
        let finished = matches!(status, Status::Done | Status::Error);
        let doc = self.doc();
        let file = json!({"id": self.id, "filename": null, "source": null, "audio_duration": doc.audio_duration,
            "number_of_channels": self.request.format.channels});
        json!({
            "id": self.id, "request_id": request_id(&self.id), "version": 2, "kind": "live",
            "status": status.name(), "created_at": self.created_at,
            "completed_at": if finished { json!(doc.completed_at) } else { Value::Null },
            "custom_metadata": self.request.custom_metadata,
            "error_code": if status == Status::Error { json!(500) } else { Value::Null },
            "post_session_metadata": if doc.post_session_metadata.is_null() { json!({}) } else { doc.post_session_metadata.clone() },
            "file": if finished { file } else { Value::Null },
            "request_params": self.request.params,
            "result": if finished { doc.result.clone() } else { Value::Null },
        })
    }
}

/// All sessions of a server. Ended ones beyond the bound are forgotten, oldest first.
pub(crate) struct Store {
    kept: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Arc<Entry>>,
    by_token: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Store {
    pub(crate) fn new(kept: usize) -> Self {
        Self { kept, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session and returns the ones forgotten for it.
    pub(crate) fn add(&self, entry: &Arc<Entry>) -> Vec<Arc<Entry>> {
        let mut inner = self.lock();
        inner.by_token.insert(entry.token.clone(), entry.id.clone());
        inner.by_id.insert(entry.id.clone(), Arc::clone(entry));
        inner.order.push_back(entry.id.clone());
        let ended: Vec<_> = inner.order.iter().filter(|id| inner.by_id[*id].ended()).cloned().collect();
        let excess = ended.len().saturating_sub(self.kept);
        ended.iter().take(excess).filter_map(|id| inner.remove(id)).collect()
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Entry>> {
        self.lock().by_id.get(id).cloned()
    }

    pub(crate) fn by_token(&self, token: &str) -> Option<Arc<Entry>> {
        let inner = self.lock();
        inner.by_id.get(inner.by_token.get(token)?).cloned()
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Entry>> {
        self.lock().remove(id)
    }

    /// Newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let inner = self.lock();
        inner.order.iter().rev().filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }
}

impl Inner {
    fn remove(&mut self, id: &str) -> Option<Arc<Entry>> {
        let entry = self.by_id.remove(id)?;
        self.by_token.remove(&entry.token);
        self.order.retain(|o| o != id);
        Some(entry)
    }
}

/// RFC 3339 with milliseconds, UTC.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Gladia's form of a request id.
pub(crate) fn request_id(uuid: &str) -> String {
    format!("G-{}", uuid.get(..8).unwrap_or(uuid))
}
