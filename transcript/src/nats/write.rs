//! Writing: one message at a time per session, each only where the last one is known (`expected last subject sequence`).
//!
//! A lost acknowledgement leaves a doubt, which the log itself settles: the message is there under our id, or it is not
//! and may be sent again, because of two equal ones only one finds its place.

use super::connect::{Conn, chain};
use super::message::{self, Body, Entry};
use super::read::BATCH;
use super::session::{Doubt, NatsSession, Writing};
use crate::log::{Append, Appended, LogError};
use crate::model::Record;
use crate::state::{Decision, State, new_epoch};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Writers that may be faster than this one, per append.
const TRIES: u32 = 16;
/// The server's own codes for "no room" beside those that the client names.
const NO_ROOM: [ErrorCode; 5] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
];

/// What came of a message.
enum Sent {
    /// Stored at this sequence number.
    Stored(u64),
    /// Not stored: another message stands there.
    Beaten,
    /// Not stored: nobody takes the subject's messages.
    NoStream,
    /// Stored or not.
    Unknown(LogError),
    /// Stored or not: no answer came in time.
    Silent(LogError),
    /// Not stored.
    Refused(LogError),
}

impl NatsSession {
    /// Makes the log when it is not there; its last message.
    pub(super) async fn open(&self) -> Result<Entry, LogError> {
        let subject = self.subject();
        let mut trouble = None;
        for _ in 0..TRIES {
            if let Some(entry) = self.conn().last(&subject).await? {
                self.observe(&entry);
                return Ok(entry);
            }
            let opening = message::opening(self.id(), &new_epoch(), &self.conn().writer)?;
            match self.conn().send(&subject, opening.expected_last_subject_sequence(0)).await {
                // The next turn reads what stands there now.
                Sent::Stored(_) | Sent::Beaten => {}
                Sent::NoStream => self.conn().ensure_stream().await?,
                Sent::Silent(_) if trouble.is_some() => return Err(self.conn().stores_nothing()),
                Sent::Unknown(error) | Sent::Silent(error) => trouble = Some(error),
                Sent::Refused(error) => return Err(error),
            }
        }
        Err(trouble.unwrap_or_else(|| self.conn().error("its stream takes no messages")))
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, LogError> {
        let _turn = self.turn.lock().await;
        let (mut unknown, mut silent) = (0, 0);
        for _ in 0..TRIES {
            self.check()?;
            if !self.inner().writing.as_ref().is_some_and(|writing| writing.certain) {
                self.catch_up().await?;
            }
            let (record, seq, epoch) = match self.decide(&append)? {
                Step::Answer(appended) => return Ok(appended),
                Step::Write { record, seq, epoch } => (record, seq, epoch),
            };
            crate::log::check_size(&record, append.note.as_ref())?;
            match self.write(&append, &record, seq, &epoch).await? {
                Sent::Stored(seq) => return Ok(self.stored(&append, record, seq, epoch)),
                Sent::Beaten => {}
                Sent::NoStream => drop(self.last().await?.ok_or(LogError::NoSession)?),
                // Between two silences the log was read.
                Sent::Silent(_) if silent > 0 => return Err(self.conn().stores_nothing()),
                Sent::Unknown(error) | Sent::Silent(error) if unknown > 2 => return Err(error),
                Sent::Silent(_) => (unknown, silent) = (unknown + 1, silent + 1),
                Sent::Unknown(_) => unknown += 1,
                Sent::Refused(error) => {
                    // Nothing was stored, so nothing is in doubt.
                    let mut inner = self.inner();
                    inner.doubt = None;
                    if let Some(writing) = &mut inner.writing {
                        writing.certain = true;
                    }
                    return Err(error);
                }
            }
        }
        Err(self.conn().error("other writers of this session are always faster"))
    }

    fn decide(&self, append: &Append) -> Result<Step, LogError> {
        let mut inner = self.inner();
        let Some(Writing { epoch, seq, state, .. }) = &inner.writing else { return Err(LogError::NoSession) };
        let (seq, epoch, head) = (*seq, epoch.clone(), state.marks.head);
        let answer = |offset, duplicate| Step::Answer(Appended { offset, head, duplicate });
        if let Some(doubt) = inner.doubt.as_ref().filter(|doubt| doubt.append == *append)
            && let Some(offset) = doubt.stored
        {
            let step = answer(offset, false);
            inner.doubt = None;
            return Ok(step);
        }
        Ok(match state.decide(append)? {
            Decision::Duplicate(offset) => answer(offset, true),
            Decision::Write(record) => Step::Write { record, seq, epoch },
        })
    }

    async fn write(&self, append: &Append, record: &Record, seq: u64, epoch: &str) -> Result<Sent, LogError> {
        let (id, message) = {
            let mut inner = self.inner();
            let Some(writing) = &mut inner.writing else { return Err(LogError::NoSession) };
            // Every message carries the newest note: whoever reads the last one has it.
            let note = append.note.as_ref().or(writing.state.marks.note.as_ref());
            let (id, message) = message::event(epoch, &self.conn().writer, record, note)?;
            // From here on a dropped call leaves a doubt.
            writing.certain = false;
            inner.doubt = Some(Doubt { append: append.clone(), id: id.clone(), stored: None });
            (id, message)
        };
        tracing::trace!(session = %self.id(), id, "append");
        Ok(self.conn().send(&self.subject(), message.expected_last_subject_sequence(seq)).await)
    }

    fn stored(&self, append: &Append, record: Arc<Record>, seq: u64, epoch: String) -> Appended {
        let (offset, note) = (record.offset, append.note.clone());
        let mut inner = self.inner();
        inner.doubt = None;
        if let Some(writing) = &mut inner.writing {
            writing.state.apply(&record, note.as_ref());
            (writing.seq, writing.certain) = (seq, true);
        }
        drop(inner);
        self.live.tally().appended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = Body::Record(record, note);
        let time = std::time::SystemTime::now();
        self.observe(&Entry { seq, time, epoch, id: String::new(), body });
        Appended { offset, head: offset, duplicate: false }
    }

    /// Reads what stands in the log and is not in the writer's state.
    async fn catch_up(&self) -> Result<(), LogError> {
        let Some(last) = self.last().await? else { return Err(LogError::NoSession) };
        self.check()?;
        let taken = self.inner().writing.take();
        let fresh = || Writing { epoch: last.epoch.clone(), seq: 0, state: State::default(), certain: false };
        let mut writing = taken.filter(|writing| writing.epoch == last.epoch).unwrap_or_else(fresh);
        let subject = self.subject();
        let mut waits = 0;
        while writing.seq < last.seq {
            let entries = self.conn().batch(&subject, writing.seq + 1, BATCH).await?;
            // A replica that is behind the leader, or one that fails over.
            if entries.is_empty() {
                waits += 1;
                if waits > 10 {
                    return Err(self.conn().error("its replicas do not hold what was acknowledged"));
                }
                sleep(Duration::from_millis(10) * 2u32.pow(waits)).await;
            }
            for entry in entries {
                self.take_in(&mut writing, entry)?;
            }
        }
        writing.certain = true;
        self.inner().writing = Some(writing);
        Ok(())
    }

    fn take_in(&self, writing: &mut Writing, entry: Entry) -> Result<(), LogError> {
        self.observe(&entry);
        self.check()?;
        writing.seq = entry.seq;
        if let Body::Record(record, note) = &entry.body {
            writing.state.apply(record, note.as_ref());
            if let Some(doubt) = self.inner().doubt.as_mut().filter(|doubt| doubt.id == entry.id) {
                doubt.stored = Some(record.offset);
            }
        }
        Ok(())
    }

    /// One tombstone in the place of everything.
    pub(super) async fn erase(&self) -> Result<(), LogError> {
        let subject = self.subject();
        for _ in 0..TRIES {
            let Some(last) = self.last().await? else { return Err(LogError::NoSession) };
            if matches!(last.body, Body::Tombstone) {
                return Ok(());
            }
            let at = jiff::Timestamp::now().to_string();
            match self.conn().send(&subject, message::tombstone(self.id(), &last.epoch, at)?).await {
                // The next turn sees the tombstone, also one whose acknowledgement was lost.
                Sent::Stored(_) | Sent::Beaten | Sent::NoStream => {}
                // The transcript itself is the room for its tombstone. Between the two there is no text either.
                Sent::Refused(LogError::Full) => {
                    self.conn().purge(&subject).await?;
                    let at = jiff::Timestamp::now().to_string();
                    match self.conn().send(&subject, message::tombstone(self.id(), &last.epoch, at)?).await {
                        Sent::Unknown(error) | Sent::Silent(error) | Sent::Refused(error) => {
                            return Err(error);
                        }
                        Sent::Stored(_) | Sent::Beaten | Sent::NoStream => {}
                    }
                }
                Sent::Unknown(error) | Sent::Silent(error) | Sent::Refused(error) => return Err(error),
            }
        }
        Err(self.conn().error("it takes no tombstone"))
    }
}

/// What an append comes to.
enum Step {
    Answer(Appended),
    Write { record: Arc<Record>, seq: u64, epoch: String },
}

impl Conn {
    async fn send(&self, subject: &str, message: PublishMessage) -> Sent {
        if !self.is_connected() {
            // What is handed over now would be sent on connecting again, long after its writer gave it up.
            return Sent::Refused(self.error("the connection is lost"));
        }
        let sent = async {
            let ack = self.context.send_publish(subject.to_owned(), message).await?;
            ack.await
        };
        match self.answered(sent).await {
            Ok(Ok(ack)) => Sent::Stored(ack.sequence),
            Ok(Err(error)) => self.outcome(&error),
            Err(error) => Sent::Unknown(error),
        }
    }

    fn outcome(&self, error: &PublishError) -> Sent {
        match error.kind() {
            PublishErrorKind::WrongLastSequence => Sent::Beaten,
            PublishErrorKind::TimedOut => Sent::Silent(self.error(chain(error))),
            PublishErrorKind::StreamNotFound => Sent::NoStream,
            PublishErrorKind::MaxPayloadExceeded => {
                Sent::Refused(LogError::TooLarge { bytes: 0, limit: self.client.max_payload() })
            }
            PublishErrorKind::Other => match server_code(error) {
                Some(code) if NO_ROOM.contains(&code) || code == ErrorCode::STREAM_STORE_FAILED => {
                    Sent::Refused(LogError::Full)
                }
                Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => {
                    Sent::Refused(LogError::TooLarge { bytes: 0, limit: self.client.max_payload() })
                }
                Some(_) => Sent::Refused(self.error(chain(error))),
                None => Sent::Unknown(self.error(chain(error))),
            },
            _ => Sent::Unknown(self.error(chain(error))),
        }
    }

    /// It answers reads and acknowledges nothing. That is all that is heard of a disk that is full; of a cluster's stream
    /// also when too few of its servers are there.
    fn stores_nothing(&self) -> LogError {
        if self.settings.replicas > 1 {
            return self
                .error("it answers but stores nothing: its disk is full, or its cluster has no majority");
        }
        LogError::Full
    }

    pub(super) async fn purge(&self, subject: &str) -> Result<(), LogError> {
        let purged = self.stream.purge().filter(subject).await;
        purged.map(drop).map_err(|error| self.error(chain(&error)))
    }
}

/// The JetStream error that the server answered.
fn server_code(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    let mut inner = Some(error);
    while let Some(error) = inner {
        if let Some(answer) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(answer.error_code());
        }
        inner = error.source();
    }
    None
}
