//! A session's document on disk, `DATA_DIR/sessions/<id>/session.json`: what a restart needs to go on, and what a
//! finished session still tells.

use crate::session::words;
use jiff::Timestamp;
use roomscribe_crds::{CaptureMode as Capturing, TranscriptionSessionStatus};
use roomscribe_gateway::sessions::{CaptureMode, CreateSession, IngestAddress, SessionDocument};
use roomscribe_plan::{Action, How, Intent, Plan, Planned};
use roomscribe_transcript::SessionId;
use roomscribe_worker::pipeline::Report;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What is kept of a session, `"v":1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    v: u32,
    /// Canonical id.
    pub id: SessionId,
    /// DNS label.
    pub name: String,
    /// As asked.
    pub request: CreateSession,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, first audio.
    pub started_at: Option<String>,
    /// RFC 3339; a session without it is started again by the next `serve`.
    pub completed_at: Option<String>,
    /// Lowest attempt that a stream key may have.
    pub attempt: u32,
    /// One word for people.
    pub state: String,
    /// CamelCase.
    pub reason: String,
    /// Says who must act.
    pub message: String,
    /// Media time heard, milliseconds.
    pub media_ms: u64,
    /// Audio lost, milliseconds.
    pub audio_lost_ms: u64,
    /// The transcript was erased on request.
    #[serde(default)]
    pub erased: bool,
    /// … and is to be, once the session has ended.
    #[serde(default)]
    pub erase_requested: bool,
    /// What the plan knows of the session: attempt, intent, egresses, conditions.
    #[serde(default)]
    pub status: TranscriptionSessionStatus,
    /// An attempt that is intended in `status` and has not been asked of LiveKit: a process that finds it may still ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unasked: Option<u32>,
    /// The session may have egresses: it is not let go before they have ended.
    #[serde(default)]
    pub finalizer: bool,
    /// When somebody asked for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_requested_at: Option<Timestamp>,
    /// Why it cannot go on; it ends because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The last words before it began to end.
    #[serde(default)]
    pub cause: String,
    /// Speech sessions opened so far.
    #[serde(default)]
    pub speech_sessions: u32,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// CamelCase.
    pub reason: String,
    /// Says who must act.
    pub message: String,
}

impl Stored {
    /// A session that is about to start.
    pub(crate) fn new(id: SessionId, name: String, request: CreateSession, created_at: String) -> Self {
        Self {
            v: 1,
            id,
            name,
            request,
            created_at,
            started_at: None,
            completed_at: None,
            attempt: 1,
            state: "Pending".into(),
            reason: "Created".into(),
            message: String::new(),
            media_ms: 0,
            audio_lost_ms: 0,
            erased: false,
            erase_requested: false,
            status: TranscriptionSessionStatus::default(),
            unasked: None,
            finalizer: false,
            stop_requested_at: None,
            failure: None,
            cause: String::new(),
            speech_sessions: 0,
        }
    }

    /// It ends, because it cannot go on.
    pub(crate) fn fail(&mut self, reason: &str, message: &str) {
        self.failure
            .get_or_insert_with(|| Failure { reason: reason.to_owned(), message: message.to_owned() });
        self.stop_requested_at.get_or_insert_with(Timestamp::now);
    }

    /// What the worker has counted; a worker that has just begun has counted nothing yet.
    pub(crate) fn count(&mut self, report: &Report) {
        self.media_ms = self.media_ms.max(report.media_ms);
        self.audio_lost_ms = self.audio_lost_ms.max(report.audio_lost_ms);
        self.speech_sessions = self.speech_sessions.max(report.speech_sessions);
    }

    /// The plan's status, and what it wants kept in books.
    pub(crate) fn take(&mut self, plan: &Plan) {
        for planned in &plan.actions {
            match planned.action {
                Action::AddFinalizer => self.finalizer = true,
                Action::RemoveFinalizer => self.finalizer = false,
                _ => {}
            }
        }
        let asks = |planned: &Planned| matches!(planned.action, Action::StartEgress { .. });
        self.unasked = match &plan.memory.intent {
            Some(Intent { attempt, how: How::Start }) if !plan.actions.iter().any(asks) => Some(*attempt),
            _ => None,
        };
        let text = |time: Timestamp| format!("{time:.3}");
        self.status = plan.status.clone();
        self.started_at =
            self.started_at.take().or_else(|| self.status.started_at.as_ref().map(|time| text(time.0)));
        self.completed_at = self.status.completed_at.as_ref().map(|time| text(time.0));
    }

    /// Does the file need writing? Counters alone do not.
    pub(crate) fn differs(&self, next: &Self) -> bool {
        let counted = Self {
            media_ms: next.media_ms,
            audio_lost_ms: next.audio_lost_ms,
            speech_sessions: next.speech_sessions,
            ..self.clone()
        };
        counted != *next
    }

    /// Only the words and counters of what could not be written.
    pub(crate) fn tell(&mut self, next: &Self) {
        (self.media_ms, self.audio_lost_ms) = (next.media_ms, next.audio_lost_ms);
        self.state.clone_from(&next.state);
        self.reason.clone_from(&next.reason);
        self.message.clone_from(&next.message);
    }

    /// Not finished.
    pub(crate) fn is_running(&self) -> bool {
        self.completed_at.is_none()
    }

    /// Contract §3.
    pub(crate) fn document(&self, ingest: Option<IngestAddress>) -> SessionDocument {
        SessionDocument {
            id: self.id.to_string(),
            name: self.name.clone(),
            namespace: "local".into(),
            room_name: self.request.room_name.clone(),
            state: self.state.clone(),
            reason: self.reason.clone(),
            message: self.message.clone(),
            capture_mode: self.captures(),
            created_at: self.created_at.clone(),
            started_at: self.started_at.clone(),
            completed_at: self.completed_at.clone(),
            usage: words::usage(self, Timestamp::now()),
            ingest: ingest.filter(|_| self.request.capture.mode == CaptureMode::Push),
        }
    }

    /// As it became, or as it was asked for.
    fn captures(&self) -> CaptureMode {
        match self.status.capture.as_ref().map(|capture| capture.mode) {
            Some(Capturing::RoomComposite) => CaptureMode::RoomComposite,
            Some(Capturing::TrackEgress) => CaptureMode::TrackEgress,
            _ => self.request.capture.mode,
        }
    }

    /// Replaces the file so that a crash leaves the old or the new one.
    pub(crate) fn save(&self, data_dir: &Path) -> io::Result<()> {
        let folder = folder(data_dir, &self.id);
        fs::create_dir_all(&folder)?;
        let (path, temporary) = (folder.join("session.json"), folder.join("session.json.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&folder)?.sync_all()
    }

    /// Every session of a data folder, newest first; a file that cannot be read is reported and left alone.
    pub(crate) fn load_all(data_dir: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        let root = data_dir.join("sessions");
        fs::create_dir_all(&root)?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path().join("session.json");
            match fs::read(&path) {
                Ok(bytes) => match serde_json::from_slice::<Self>(&bytes) {
                    Ok(stored) => all.push(stored),
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "session document unreadable; its transcript stays on disk")
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        Ok(all)
    }
}

/// A session's folder.
pub(crate) fn folder(data_dir: &Path, id: &SessionId) -> PathBuf {
    data_dir.join("sessions").join(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_gateway::sessions::Capture;

    fn stored(created_at: &str) -> Stored {
        let id = SessionId::parse(&uuid::Uuid::now_v7().to_string()).unwrap();
        let request = CreateSession {
            capture: Capture { mode: CaptureMode::Push, fallback_after_seconds: None },
            ..CreateSession::for_room("standup")
        };
        Stored::new(id, "standup".into(), request, created_at.into())
    }

    #[test]
    fn a_session_saved_is_loaded_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (stored("2026-11-23T10:00:00Z"), stored("2026-11-23T11:00:00Z"));
        old.save(folder.path()).unwrap();
        new.save(folder.path()).unwrap();
        let loaded: Vec<_> =
            Stored::load_all(folder.path()).unwrap().into_iter().map(|stored| stored.id).collect();
        assert_eq!(loaded, [new.id, old.id]);
    }

    #[test]
    fn a_document_of_a_program_without_livekit_is_read() {
        let mut old = serde_json::to_value(stored("2026-11-23T10:00:00Z")).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.retain(|name, _| {
            !["status", "finalizer", "cause", "speechSessions", "eraseRequested"].contains(&name.as_str())
        });
        let read: Stored = serde_json::from_value(old).unwrap();
        assert_eq!(read.status, TranscriptionSessionStatus::default());
        assert!(read.is_running() && !read.finalizer);
    }

    #[test]
    fn counters_alone_write_no_file() {
        let before = stored("2026-11-23T10:00:00Z");
        let counted = Stored { media_ms: 100, audio_lost_ms: 1, speech_sessions: 1, ..before.clone() };
        assert!(!before.differs(&counted));
        assert!(before.differs(&Stored { reason: "Other".into(), ..counted }));
    }

    #[test]
    fn one_unreadable_document_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let good = stored("2026-11-23T10:00:00Z");
        good.save(folder.path()).unwrap();
        let bad = folder.path().join("sessions/bad");
        fs::create_dir_all(&bad).unwrap();
        fs::write(bad.join("session.json"), b"{").unwrap();
        assert_eq!(Stored::load_all(folder.path()).unwrap().len(), 1);
    }
}
