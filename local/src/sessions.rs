//! Sessions of one process: the gateway's directory, carried out as tasks (`hands`) instead of pods.

use crate::hands::{Hands, Running};
use crate::names;
use crate::stored::{self, Stored};
use roomscribe_gateway::sessions::{
    Answer, CaptureMode, CreateSession, Created, IngestAddress, SessionDocument, Sessions, SessionsError,
};
use roomscribe_transcript::{Log, LogError, SessionId};
use roomscribe_worker::clock;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Finished sessions stay listed as long as their transcript does; this bounds memory all the same.
const MAX_KEPT: usize = 10_000;

/// All sessions of this process.
pub(crate) struct LocalSessions {
    hands: Hands,
    data_dir: PathBuf,
    max_sessions: usize,
    entries: Arc<Mutex<Entries>>,
}

/// What is known, by id.
#[derive(Default)]
pub(crate) struct Entries {
    /// Every session.
    pub all: HashMap<SessionId, Entry>,
}

/// One session.
pub(crate) struct Entry {
    /// As on disk.
    pub stored: Stored,
    /// While it runs.
    pub running: Option<Running>,
}

impl LocalSessions {
    /// Loads what an earlier process left, and starts again what was running.
    pub(crate) fn open(hands: Hands, data_dir: PathBuf, max_sessions: usize) -> std::io::Result<Arc<Self>> {
        let entries = Arc::new(Mutex::new(Entries::default()));
        let sessions = Arc::new(Self { hands, data_dir: data_dir.clone(), max_sessions, entries });
        for stored in Stored::load_all(&data_dir)? {
            let running =
                stored.is_running().then(|| sessions.hands.begin(&stored, sessions.entries.clone()));
            sessions.lock().all.insert(stored.id.clone(), Entry { stored, running });
        }
        Ok(sessions)
    }

    /// Asks every running session to leave its work for the next process, and waits for all.
    pub(crate) async fn suspend(&self) {
        let handles: Vec<_> = self.lock().all.values_mut().filter_map(|entry| entry.running.take()).collect();
        for running in &handles {
            running.suspend();
        }
        for running in handles {
            running.ended().await;
        }
    }

    /// Retention has removed some logs: their documents go too.
    pub(crate) async fn forget_removed(&self, log: &Log) {
        let finished: Vec<SessionId> = self
            .lock()
            .all
            .values()
            .filter(|entry| !entry.stored.is_running())
            .map(|entry| entry.stored.id.clone())
            .collect();
        for id in finished {
            if matches!(log.head(&id).await, Err(LogError::NoSession)) {
                self.lock().all.remove(&id);
                let _ = std::fs::remove_dir_all(stored::folder(&self.data_dir, &id));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn document(&self, entry: &Entry) -> SessionDocument {
        let ingest = entry.running.is_some().then(|| self.ingest(&entry.stored));
        entry.stored.document(ingest)
    }

    fn ingest(&self, stored: &Stored) -> IngestAddress {
        self.hands.ingest(&stored.id, stored.attempt)
    }

    fn start(&self, request: CreateSession) -> Result<Created, SessionsError> {
        check(&request)?;
        let mut entries = self.lock();
        if let Some(entry) = entries
            .all
            .values()
            .find(|entry| entry.stored.is_running() && entry.stored.request.room_name == request.room_name)
        {
            return Ok(Created { session: self.document(entry), fresh: false });
        }
        let running = entries.all.values().filter(|entry| entry.running.is_some()).count();
        if running >= self.max_sessions || entries.all.len() >= MAX_KEPT {
            return Err(SessionsError::TooMany(format!(
                "{running} sessions run already; stop one, or raise --max-sessions"
            )));
        }
        let name = entries.name_for(&request)?;
        let id = SessionId::parse(&uuid::Uuid::now_v7().to_string())
            .ok_or_else(|| SessionsError::Unavailable("no id".into()))?;
        let stored = Stored::new(id.clone(), name, request, timestamp());
        stored.save(&self.data_dir).map_err(|error| {
            // What a full disk left of it would only be in the way.
            let _ = std::fs::remove_dir_all(stored::folder(&self.data_dir, &id));
            disk(&error)
        })?;
        let running = Some(self.hands.begin(&stored, self.entries.clone()));
        let entry = Entry { stored, running };
        let session = self.document(&entry);
        entries.all.insert(id, entry);
        Ok(Created { session, fresh: true })
    }

    fn end(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let mut entries = self.lock();
        let entry = entries.find(key)?;
        if let Some(running) = &entry.running {
            running.stop("Stopped");
            entry.stored.state = "Stopping".into();
            entry.stored.reason = "StopRequested".into();
        }
        Ok(self.document(entry))
    }

    async fn wipe(&self, key: &str) -> Result<(), SessionsError> {
        let (id, running) = {
            let mut entries = self.lock();
            let entry = entries.find(key)?;
            (entry.stored.id.clone(), entry.running.take())
        };
        if let Some(running) = running {
            running.stop("Erased");
            running.ended().await;
        }
        self.hands.erase(&id).await.map_err(|error| match error {
            LogError::NoSession | LogError::Erased => SessionsError::NotFound,
            other => SessionsError::Unavailable(other.to_string()),
        })?;
        let mut entries = self.lock();
        let entry = entries.find(id.as_str())?;
        entry.stored.erased = true;
        entry.stored.completed_at.get_or_insert_with(timestamp);
        entry.stored.save(&self.data_dir).map_err(|error| disk(&error))
    }

    fn rotate(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let mut entries = self.lock();
        let entry = entries.find(key)?;
        if entry.running.is_none() {
            return Err(SessionsError::Conflict("the session has finished; start a new one".into()));
        }
        entry.stored.attempt += 1;
        entry.stored.save(&self.data_dir).map_err(|error| disk(&error))?;
        self.hands.raise_attempt(&entry.stored.id, entry.stored.attempt);
        Ok(self.document(entry))
    }
}

impl Entries {
    /// By id; or by name, the running one first, else the newest.
    fn find(&mut self, key: &str) -> Result<&mut Entry, SessionsError> {
        let id = match SessionId::parse(key) {
            Some(id) => id,
            None => {
                let named = self.all.values().filter(|entry| entry.stored.name == key);
                let best =
                    named.max_by_key(|entry| (entry.stored.is_running(), entry.stored.created_at.clone()));
                best.map(|entry| entry.stored.id.clone()).ok_or(SessionsError::NotFound)?
            }
        };
        self.all.get_mut(&id).ok_or(SessionsError::NotFound)
    }

    fn name_for(&self, request: &CreateSession) -> Result<String, SessionsError> {
        let used = |name: &str| self.all.values().any(|entry| entry.stored.name == name);
        let Some(name) = &request.name else {
            return Ok(names::free(&names::generated(&request.room_name), used));
        };
        if self.all.values().any(|entry| entry.stored.name == *name && entry.stored.is_running()) {
            return Err(SessionsError::Conflict(format!(
                "`{name}` is the name of a running session; choose another or stop it"
            )));
        }
        Ok(name.clone())
    }
}

impl Sessions for LocalSessions {
    fn create(&self, request: CreateSession) -> Answer<'_, Created> {
        Box::pin(async move { self.start(request) })
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move { self.lock().find(key).map(|entry| self.document(entry)) })
    }

    fn list(&self) -> Answer<'_, Vec<SessionDocument>> {
        Box::pin(async move {
            let mut all: Vec<_> = self.lock().all.values().map(|entry| self.document(entry)).collect();
            all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
            Ok(all)
        })
    }

    fn stop<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move { self.end(key) })
    }

    fn erase<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.wipe(key))
    }

    fn rotate_ingest_key<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(async move { self.rotate(key) })
    }
}

/// What the types alone do not say.
fn check(request: &CreateSession) -> Result<(), SessionsError> {
    let invalid = |pointer: &str, detail: &str| {
        Err(SessionsError::Invalid { pointer: pointer.into(), detail: detail.into() })
    };
    if request.room_name.trim().is_empty() || request.room_name.len() > 256 {
        return invalid("/roomName", "must have 1 to 256 bytes");
    }
    if request.name.as_deref().is_some_and(|name| !names::is_label(name)) {
        return invalid(
            "/name",
            "must be a DNS label: a-z, 0-9 and -, at most 40, beginning and ending with a letter or digit",
        );
    }
    if !(10..=10_000).contains(&request.speech.endpointing_milliseconds) {
        return invalid("/speech/endpointingMilliseconds", "must be from 10 to 10000");
    }
    let code =
        |code: &String| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if let Some(index) = request.speech.languages.iter().position(|language| !code(language)) {
        return invalid(&format!("/speech/languages/{index}"), "must be an ISO 639-1 code such as en");
    }
    if let Some(index) = request.speech.translate_to.iter().position(|language| !code(language)) {
        return invalid(&format!("/speech/translateTo/{index}"), "must be an ISO 639-1 code such as en");
    }
    match request.capture.mode {
        CaptureMode::Push => Ok(()),
        _ => Err(SessionsError::Unsupported(
            "this installation has no LiveKit: use capture.mode Push (roomscribe start NAME --capture push)"
                .into(),
        )),
    }
}

fn disk(error: &std::io::Error) -> SessionsError {
    tracing::error!(%error, "cannot write a session document; free space in DATA_DIR or mend its permissions");
    SessionsError::Unavailable(
        "the disk that holds DATA_DIR cannot be written: free space, then try again".into(),
    )
}

/// RFC 3339, UTC.
pub(crate) fn timestamp() -> String {
    jiff::Timestamp::from_millisecond(clock::wall_ms() as i64)
        .map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
