//! Which sessions listen behind the one RTMP port, and who publishes to each.
//!
//! A reconnect of the same attempt, or a newer attempt, takes over: rejecting it as "already publishing" can wedge
//! LiveKit's rtmp2sink for good (its own test `rtmp_publish_reject.go`).

use roomscribe_pipeline::stream_key::{self, SessionSecret};
use roomscribe_transcript::SessionId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Audio batches waiting for a session's loop; when full, the socket is not read.
pub const INGEST_QUEUE: usize = 32;

/// What a connection tells its session.
#[derive(Debug)]
pub enum Ingest {
    /// The publish was accepted; everything of older connections is over.
    Started {
        /// Identifies the connection.
        connection: u64,
        /// Attempt of its stream key.
        attempt: u32,
    },
    /// Audio messages of one read.
    Audio {
        /// Which connection.
        connection: u64,
        /// In order of arrival.
        messages: Vec<AudioMessage>,
    },
    /// The publisher left, or the connection broke.
    Ended {
        /// Which connection.
        connection: u64,
        /// It said goodbye (FCUnpublish or deleteStream).
        clean: bool,
    },
}

/// One RTMP audio message.
#[derive(Debug)]
pub struct AudioMessage {
    /// RTMP time.
    pub timestamp_ms: u32,
    /// FLV audio tag body.
    pub body: Vec<u8>,
}

/// The door's side of one session.
#[derive(Debug)]
struct Entry {
    secret: SessionSecret,
    ingest: mpsc::Sender<Ingest>,
    attempt: u32,
    live: Option<Live>,
    accepting: bool,
    /// The disk is full: nothing that a new publisher sends could be kept.
    held: bool,
}

#[derive(Debug)]
struct Live {
    connection: u64,
    /// Dropped: the connection must end.
    _evict: oneshot::Sender<()>,
}

/// An accepted publish.
#[derive(Debug)]
pub struct Admission {
    /// The session.
    pub session: SessionId,
    /// Attempt of the key.
    pub attempt: u32,
    /// Where the audio goes.
    pub ingest: mpsc::Sender<Ingest>,
    /// Resolves when another connection took over, or the session ended.
    pub evicted: oneshot::Receiver<()>,
    /// An older connection was replaced.
    pub took_over: bool,
}

/// Why a publish was refused. Unknown session, wrong key and older attempt look the same from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The URL is not `/live/<install>/<id>.<attempt>/<key>`, the key is wrong, or an older attempt's.
    Denied,
    /// The session drains.
    Draining,
    /// Nothing can be stored.
    Storage,
    /// This process is ending.
    Leaving,
}

impl Refusal {
    /// For metrics.
    pub fn metric_label(self) -> &'static str {
        match self {
            Self::Denied => "bad_stream_key",
            Self::Draining => "draining",
            Self::Storage => "storage",
            Self::Leaving => "leaving",
        }
    }

    /// For the log: who must act.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Denied => {
                "publish refused: unknown session, wrong key or an older attempt; check the RTMP URL"
            }
            Self::Draining => "publish refused: the session is ending",
            Self::Storage => "publish refused: nothing can be stored; free or mend DATA_DIR",
            Self::Leaving => "publish refused: this process is stopping; the next one takes publishers again",
        }
    }

    /// Somebody must act. What is ending refuses whoever comes, and that is as it should be.
    pub fn needs_somebody(self) -> bool {
        matches!(self, Self::Denied | Self::Storage)
    }
}

/// The sessions behind the door, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    entries: Arc<Mutex<HashMap<SessionId, Entry>>>,
    leaving: Arc<AtomicBool>,
}

impl Registry {
    /// Opens the door for a session from `attempt` on.
    pub fn open(&self, session: SessionId, secret: SessionSecret, attempt: u32) -> mpsc::Receiver<Ingest> {
        let (ingest, receiver) = mpsc::channel(INGEST_QUEUE);
        self.lock()
            .insert(session, Entry { secret, ingest, attempt, live: None, accepting: true, held: false });
        receiver
    }

    /// Refuses keys of attempts below `attempt` from now on, and ends an older publisher (a rotated stream key).
    pub fn raise_attempt(&self, session: &SessionId, attempt: u32) {
        if let Some(entry) = self.lock().get_mut(session)
            && attempt > entry.attempt
        {
            entry.attempt = attempt;
            entry.live = None;
        }
    }

    /// Takes no new publisher; the live one stays.
    pub fn stop_accepting(&self, session: &SessionId) {
        if let Some(entry) = self.lock().get_mut(session) {
            entry.accepting = false;
        }
    }

    /// This process is ending: no session takes a new publisher, whatever its key; live ones stay until their sessions let
    /// them go. A session that has let go must not look like one whose key is wrong.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// While `held`, takes no new publisher; the live one stays.
    pub fn hold(&self, session: &SessionId, held: bool) {
        if let Some(entry) = self.lock().get_mut(session) {
            entry.held = held;
        }
    }

    /// Ends the live publisher and forgets the session.
    pub fn close(&self, session: &SessionId) {
        self.lock().remove(session);
    }

    /// Decides about one publish.
    pub fn admit(&self, connection: u64, app: &str, stream_key: &str) -> Result<Admission, Refusal> {
        if self.leaving.load(Ordering::Relaxed) {
            return Err(Refusal::Leaving);
        }
        let target = stream_key::parse_app(app).ok_or(Refusal::Denied)?;
        let mut entries = self.lock();
        let entry = entries.get_mut(&target.session).ok_or(Refusal::Denied)?;
        if !stream_key::verify(&entry.secret, &target.session, target.attempt, stream_key)
            || target.attempt < entry.attempt
        {
            return Err(Refusal::Denied);
        }
        if !entry.accepting {
            return Err(Refusal::Draining);
        }
        if entry.held {
            return Err(Refusal::Storage);
        }
        let (evict, evicted) = oneshot::channel();
        let took_over = entry.live.replace(Live { connection, _evict: evict }).is_some();
        entry.attempt = target.attempt;
        Ok(Admission {
            session: target.session,
            attempt: target.attempt,
            ingest: entry.ingest.clone(),
            evicted,
            took_over,
        })
    }

    /// The connection is over.
    pub fn left(&self, session: &SessionId, connection: u64) {
        if let Some(entry) = self.lock().get_mut(session)
            && entry.live.as_ref().is_some_and(|live| live.connection == connection)
        {
            entry.live = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_stopping_says_so_to_whoever_comes_and_nobody_must_act() {
        let registry = Registry::default();
        let id = SessionId::parse("0199a5f0-7c11-7abc-8def-0123456789ab").unwrap();
        let secret = SessionSecret::derive(&[7; 32], &id);
        let (app, key) = (format!("live/0a1b2c3d/{id}.1"), stream_key::derive(&secret, &id, 1));
        let _ingest = registry.open(id.clone(), secret, 1);
        assert!(registry.admit(1, &app, &key).is_ok());
        registry.leave();
        assert_eq!(registry.admit(2, &app, &key).unwrap_err(), Refusal::Leaving);
        registry.close(&id);
        let refusal = registry.admit(3, &app, &key).unwrap_err();
        assert_eq!((refusal, refusal.needs_somebody()), (Refusal::Leaving, false));
    }
}
