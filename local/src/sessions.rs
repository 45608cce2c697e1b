//! Sessions of one process: the gateway's directory, carried out as tasks (`hands`) instead of pods.

use crate::hands::Hands;
use crate::requests;
use crate::session::erase::Eraser;
use crate::session::{self, Running};
use crate::stored::{self, Stored};
use jiff::Timestamp;
use roomscribe_crds::names;
use roomscribe_gateway::sessions::{
    Answer, CaptureMode, CreateSession, Created, IngestAddress, SessionDocument, Sessions, SessionsError,
};
use roomscribe_livekit::ApiError;
use roomscribe_plan::Listing;
use roomscribe_plan::collect::{Fate, Owned};
use roomscribe_transcript::{Log, LogError, SessionId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Finished sessions stay listed as long as their transcript does; this bounds memory all the same.
const MAX_KEPT: usize = 10_000;
/// An erasure that is not done by then is accepted all the same, and goes on.
const ERASE_PATIENCE: Duration = Duration::from_secs(30);

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
        let mut erasing = Vec::new();
        for stored in Stored::load_all(&data_dir)? {
            // A session's loop looks for its entry at once.
            let mut entries = sessions.lock();
            if stored.erase_requested && !stored.erased {
                erasing.push(stored.id.clone());
            }
            let running = stored
                .is_running()
                .then(|| session::begin(&sessions.hands, &stored, sessions.entries.clone()));
            entries.all.insert(stored.id.clone(), Entry { stored, running });
        }
        for id in erasing {
            tokio::spawn(sessions.eraser(id).run());
        }
        Ok(sessions)
    }

    /// Asks every running session to leave its work for the next process, and waits for all.
    pub(crate) async fn suspend(&self) {
        self.hands.registry().leave();
        let ends: Vec<_> = self
            .lock()
            .all
            .values()
            .filter_map(|entry| entry.running.as_ref())
            .map(|running| {
                running.suspend();
                running.ended()
            })
            .collect();
        for end in ends {
            end.await;
        }
    }

    /// What a listing of all egresses showed of the running sessions.
    pub(crate) fn listed(&self, at: Timestamp, owned: &[Owned]) {
        for (id, entry) in &self.lock().all {
            let Some(running) = &entry.running else { continue };
            let own = owned.iter().filter(|owned| owned.session == id.as_str());
            running.listed(Listing { at, egresses: own.map(|owned| owned.egress.clone()).collect() });
        }
    }

    /// LiveKit did not answer: sessions that run ask it nothing, and learn it here.
    pub(crate) fn unlisted(&self, error: &ApiError) {
        for running in self.lock().all.values().filter_map(|entry| entry.running.as_ref()) {
            running.unlisted(error);
        }
    }

    /// May an egress of this session run?
    pub(crate) fn fate(&self, id: &str) -> Fate {
        let entries = self.lock();
        let entry = SessionId::parse(id).and_then(|id| entries.all.get(&id));
        match entry {
            None => Fate::Gone,
            Some(entry) if entry.stored.is_running() => Fate::Active,
            Some(_) => Fate::Finished,
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
        let Some(running) = &entry.running else { return entry.stored.document(None) };
        let mut stored = entry.stored.clone();
        stored.count(&running.report());
        stored.document(Some(self.ingest(&stored)))
    }

    fn ingest(&self, stored: &Stored) -> IngestAddress {
        self.hands.ingest(&stored.id, stored.attempt)
    }

    fn start(&self, request: CreateSession) -> Result<Created, SessionsError> {
        requests::check(&request, self.hands.project().is_some())?;
        let mut entries = self.lock();
        if let Some(entry) = entries
            .all
            .values()
            // One that is stopping takes nothing more: the new session waits until it has ended.
            .filter(|entry| entry.stored.is_running() && entry.stored.stop_requested_at.is_none())
            .find(|entry| entry.stored.request.room_name == request.room_name)
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
        let running = Some(session::begin(&self.hands, &stored, self.entries.clone()));
        let entry = Entry { stored, running };
        let session = self.document(&entry);
        entries.all.insert(id, entry);
        Ok(Created { session, fresh: true })
    }

    fn end(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let mut entries = self.lock();
        let entry = entries.find(key)?;
        if entry.running.is_some() && entry.stored.stop_requested_at.is_none() {
            entry.stored.stop_requested_at = Some(Timestamp::now());
            entry.stored.state = "Stopping".into();
            entry.stored.reason = "StopRequested".into();
            // A disk that is full must not keep a session alive: its loop goes on trying to write.
            let _ = entry.stored.save(&self.data_dir);
        }
        if let Some(running) = &entry.running {
            running.nudge();
        }
        Ok(self.document(entry))
    }

    async fn wipe(&self, key: &str) -> Result<(), SessionsError> {
        let id = {
            let mut entries = self.lock();
            let entry = entries.find(key)?;
            entry.stored.erase_requested = true;
            entry.stored.save(&self.data_dir).map_err(|error| disk(&error))?;
            entry.stored.id.clone()
        };
        self.end(id.as_str())?;
        let erased = tokio::spawn(self.eraser(id).run());
        // LiveKit may take minutes to let go of an egress; the request is kept on disk.
        match tokio::time::timeout(ERASE_PATIENCE, erased).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(SessionsError::Unavailable(error.to_string())),
            Err(_) => Ok(()),
        }
    }

    fn eraser(&self, id: SessionId) -> Eraser {
        Eraser {
            id,
            hands: self.hands.clone(),
            entries: self.entries.clone(),
            data_dir: self.data_dir.clone(),
        }
    }

    fn rotate(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let mut entries = self.lock();
        let entry = entries.find(key)?;
        if entry.running.is_none() {
            return Err(SessionsError::Conflict("the session has finished; start a new one".into()));
        }
        if entry.stored.request.capture.mode != CaptureMode::Push {
            return Err(SessionsError::Conflict(
                "only a session with capture Push has a key to give away; LiveKit's keys change by themselves".into(),
            ));
        }
        entry.stored.attempt += 1;
        entry.stored.save(&self.data_dir).map_err(|error| disk(&error))?;
        self.hands.registry().raise_attempt(&entry.stored.id, entry.stored.attempt);
        Ok(self.document(entry))
    }
}

impl Entries {
    /// An older running session of the same room.
    pub(crate) fn holder(&self, stored: &Stored) -> Option<String> {
        let others = self.all.values().map(|entry| &entry.stored);
        others
            .filter(|other| other.is_running() && other.request.room_name == stored.request.room_name)
            .find(|other| (&other.created_at, &other.id) < (&stored.created_at, &stored.id))
            .map(|other| other.name.clone())
    }

    /// By id; or by name, the running one first, else the newest.
    pub(crate) fn find(&mut self, key: &str) -> Result<&mut Entry, SessionsError> {
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

/// The document cannot be written.
pub(crate) fn disk(error: &std::io::Error) -> SessionsError {
    tracing::error!(%error, "cannot write a session document; free space in DATA_DIR or mend its permissions");
    SessionsError::Unavailable(
        "the disk that holds DATA_DIR cannot be written: free space, then try again".into(),
    )
}

/// RFC 3339, UTC.
pub(crate) fn timestamp() -> String {
    format!("{:.3}", Timestamp::now())
}
