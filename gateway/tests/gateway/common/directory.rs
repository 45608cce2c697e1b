//! Sessions in memory: the behaviour that the gateway relies on, without audio.

use roomscribe_gateway::{
    Answer, CaptureMode, CreateSession, Created, IngestAddress, SessionDocument, Sessions, SessionsError,
};
use roomscribe_transcript::{Log, SessionId};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

#[derive(Default)]
pub(crate) struct Directory {
    all: Mutex<Vec<SessionDocument>>,
    log: OnceLock<Log>,
    /// Calls of `create`.
    pub(crate) created: AtomicUsize,
}

impl Directory {
    pub(super) fn set_log(&self, log: Log) {
        drop(self.log.set(log));
    }

    pub(crate) fn add(&self, room: &str) -> SessionId {
        let document = document(room, None);
        let id = SessionId::parse(&document.id).unwrap();
        self.all.lock().unwrap().insert(0, document);
        id
    }

    pub(crate) fn change(&self, id: &SessionId, act: impl FnOnce(&mut SessionDocument)) {
        let mut all = self.all.lock().unwrap();
        act(all.iter_mut().find(|document| document.id == id.as_str()).unwrap());
    }

    /// As if all sessions were past their time.
    pub(crate) fn forget_all(&self) {
        self.all.lock().unwrap().clear();
    }

    fn find(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let all = self.all.lock().unwrap();
        let named: Vec<_> = all.iter().filter(|d| d.id == key || d.name == key).collect();
        match named.as_slice() {
            [] => Err(SessionsError::NotFound),
            [one] => Ok((*one).clone()),
            _ => Err(SessionsError::Conflict("the name means several sessions".into())),
        }
    }
}

pub(crate) fn document(room: &str, name: Option<String>) -> SessionDocument {
    let id = uuid::Uuid::now_v7().to_string();
    SessionDocument {
        name: name.unwrap_or_else(|| format!("{room}-name")),
        id,
        namespace: "local".into(),
        room_name: room.into(),
        state: "Live".into(),
        reason: "Transcribing".into(),
        message: String::new(),
        capture_mode: CaptureMode::Push,
        created_at: "2026-11-23T10:00:00Z".into(),
        started_at: None,
        completed_at: None,
        usage: json!({}),
        ingest: Some(IngestAddress {
            url: "rtmp://host/live/x/secret-stream-key".into(),
            server: "rtmp://host/live/x".into(),
            stream_key: "secret-stream-key".into(),
        }),
    }
}

impl Sessions for Directory {
    fn create(&self, request: CreateSession) -> Answer<'_, Created> {
        Box::pin(async move {
            self.created.fetch_add(1, Ordering::SeqCst);
            if request.capture.mode != CaptureMode::Push {
                return Err(SessionsError::Unsupported("only Push works here".into()));
            }
            let mut all = self.all.lock().unwrap();
            let running = |d: &&SessionDocument| d.room_name == request.room_name && d.completed_at.is_none();
            if let Some(session) = all.iter().find(running).cloned() {
                return Ok(Created { session, fresh: false });
            }
            let session = document(&request.room_name, request.name);
            all.insert(0, session.clone());
            Ok(Created { session, fresh: true })
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move { self.find(key) })
    }

    fn list(&self) -> Answer<'_, Vec<SessionDocument>> {
        Box::pin(async move { Ok(self.all.lock().unwrap().clone()) })
    }

    fn stop<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move {
            let found = self.find(key)?;
            let mut all = self.all.lock().unwrap();
            let document = all.iter_mut().find(|d| d.id == found.id).unwrap();
            document.state = "Stopping".into();
            Ok(document.clone())
        })
    }

    fn erase<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let id = SessionId::parse(&self.find(key)?.id).unwrap();
            self.log.get().unwrap().erase(&id).await.map_err(|e| SessionsError::Unavailable(e.to_string()))
        })
    }

    fn rotate_ingest_key<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move {
            let mut document = self.find(key)?;
            document.ingest.as_mut().unwrap().stream_key = "second-stream-key".into();
            Ok(document)
        })
    }
}
