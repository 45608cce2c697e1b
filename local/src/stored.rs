//! A session's document on disk, `DATA_DIR/sessions/<id>/session.json`: what a restart needs to go on, and what a
//! finished session still tells.

use roomscribe_gateway::sessions::{CaptureMode, CreateSession, IngestAddress, SessionDocument};
use roomscribe_transcript::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What is kept of a session, `"v":1`.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
        }
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
            capture_mode: self.request.capture.mode,
            created_at: self.created_at.clone(),
            started_at: self.started_at.clone(),
            completed_at: self.completed_at.clone(),
            usage: json!({"speechSeconds": self.media_ms / 1000, "audioLostMs": self.audio_lost_ms}),
            ingest: ingest.filter(|_| self.request.capture.mode == CaptureMode::Push),
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
    use roomscribe_gateway::sessions::{Capture, Limits, SpeechSpec};

    fn stored(created_at: &str) -> Stored {
        let id = SessionId::parse(&uuid::Uuid::now_v7().to_string()).unwrap();
        let request = CreateSession {
            name: None,
            room_name: "standup".into(),
            capture: Capture { mode: CaptureMode::Push, fallback_after_seconds: None },
            speech: SpeechSpec::default(),
            limits: Limits::default(),
            ttl_seconds_after_finished: None,
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
