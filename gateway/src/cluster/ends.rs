//! The `end` of logs that nobody has ended (contract §5): no worker ever ran, or none could write it. Every replica tries;
//! the log takes one. Transcripts that are to be erased go once their session has ended.

use super::cache::{Change, Session};
use super::document::{end_reason, is_finished};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use roomscribe_transcript::{Append, End, Event, Generation, Log, LogError, Offset, SessionId};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The writer of an `end` that no worker wrote.
const GATEWAY: Generation = Generation(u32::MAX);
/// Annotation: the transcript is to be erased once the session has ended.
pub(super) const ERASE: &str = "roomscribe.io/erase-transcript";
/// Between tries when the log cannot be written.
const PAUSE: Duration = Duration::from_secs(5);
/// Wrong guesses of the head in a row: other replicas can move it once, a worker that still writes a few times.
const TRIES: usize = 8;

/// What is to be done to one session's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// The reason of its `end`.
    reason: String,
    /// Erase it instead.
    erase: bool,
}

/// Sessions whose log is to be looked at, and those that are done.
#[derive(Debug, Default)]
pub(super) struct Ends {
    todo: Mutex<Todo>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Todo {
    open: BTreeMap<String, Ending>,
    done: HashSet<String>,
}

impl Ends {
    /// Takes a change of a resource; what ended before `oldest` has a log no more, or one that was ended.
    pub(super) fn take(&self, change: &Change, oldest: Timestamp) {
        let (session, gone) = match change {
            Change::Seen(session) if is_finished(session) => (session, false),
            Change::Seen(_) => return,
            Change::Gone(session) => (session, true),
        };
        let Some(uid) = session.uid() else { return };
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        let known = todo.done.contains(&key(&uid, session));
        if gone {
            todo.done.retain(|done| !done.starts_with(&uid));
        }
        if !known && completed(session).is_none_or(|at| at >= oldest) {
            let ending = Ending { reason: end_reason(session), erase: is_to_erase(session) };
            todo.open.insert(uid, ending);
            self.more.notify_one();
        }
    }

    /// Works for ever. One log that cannot be written keeps no other waiting.
    pub(super) async fn run(&self, log: &Log) {
        let mut told = false;
        loop {
            let open = self.open();
            if open.is_empty() {
                self.more.notified().await;
                continue;
            }
            let mut trouble = None;
            for (uid, ending) in open {
                match settle(log, &uid, &ending).await {
                    Ok(()) => self.done(uid, &ending),
                    Err(error) => trouble = Some((uid, error)),
                }
            }
            let Some((session, error)) = trouble else {
                told = false;
                continue;
            };
            if !std::mem::replace(&mut told, true) {
                tracing::error!(%error, session, "a transcript's end cannot be written: whoever runs the log must look at it; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn open(&self) -> Vec<(String, Ending)> {
        let todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        todo.open.iter().map(|(uid, ending)| (uid.clone(), ending.clone())).collect()
    }

    fn done(&self, uid: String, ending: &Ending) {
        let mut todo = self.todo.lock().unwrap_or_else(PoisonError::into_inner);
        // An erasure that was asked for meanwhile is still to be done.
        if todo.open.get(&uid) == Some(ending) {
            todo.open.remove(&uid);
            todo.done.insert(if ending.erase { format!("{uid} erased") } else { uid });
        }
    }
}

fn key(uid: &str, session: &Session) -> String {
    if is_to_erase(session) { format!("{uid} erased") } else { uid.to_owned() }
}

fn is_to_erase(session: &Session) -> bool {
    session.annotations().contains_key(ERASE)
}

fn completed(session: &Session) -> Option<Timestamp> {
    session.status.as_ref()?.completed_at.as_ref().map(|time| time.0)
}

async fn settle(log: &Log, uid: &str, ending: &Ending) -> Result<(), LogError> {
    let Some(session) = SessionId::parse(uid) else { return Ok(()) };
    if ending.erase {
        return log.erase(&session).await;
    }
    match end(log, &session, &ending.reason).await {
        Err(LogError::Erased | LogError::Ended) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Appends the `end` unless there is one; answers where it stands.
async fn end(log: &Log, session: &SessionId, reason: &str) -> Result<Option<Offset>, LogError> {
    let mut head = log.open(session).await?;
    for _ in 0..TRIES {
        if head.ended {
            return Ok(None);
        }
        let append = Append {
            generation: GATEWAY,
            expected_head: head.head,
            event: Event::End(End { reason: reason.into() }),
            note: None,
        };
        match log.append(session, append).await {
            Ok(appended) => {
                tracing::info!(%session, reason, "nobody had ended this transcript: done");
                return Ok(Some(appended.offset));
            }
            Err(LogError::Moved { .. }) => head = log.head(session).await?,
            Err(error) => return Err(error),
        }
    }
    Err(LogError::Moved { head: head.head, expected: head.head })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";

    #[tokio::test]
    async fn of_many_that_end_a_transcript_one_does() {
        let (log, session) = (Log::memory(), SessionId::parse(ID).unwrap());
        let ends = futures_util::future::join_all((0..10).map(|_| end(&log, &session, "RoomEnded"))).await;
        let written: Vec<_> = ends.into_iter().filter_map(|end| end.ok().flatten()).collect();
        assert_eq!(written, [Offset(1)]);
        let records = log.read(&session, Offset(0), 10).await.unwrap();
        assert!(
            matches!(&records[..], [record] if record.event == Event::End(End { reason: "RoomEnded".into() }))
        );
        assert_eq!(records[0].generation, GATEWAY);
    }

    #[tokio::test]
    async fn a_transcript_that_its_worker_has_ended_or_that_was_erased_stays_as_it_is() {
        let (log, session) = (Log::memory(), SessionId::parse(ID).unwrap());
        let head = log.open(&session).await.unwrap();
        let event = Event::End(End { reason: "Stopped".into() });
        let append = Append { generation: Generation(1), expected_head: head.head, event, note: None };
        log.append(&session, append).await.unwrap();
        let ending = Ending { reason: "RoomEnded".into(), erase: false };
        settle(&log, ID, &ending).await.unwrap();
        assert_eq!(log.head(&session).await.unwrap().head, Offset(1));
        settle(&log, ID, &Ending { erase: true, ..ending.clone() }).await.unwrap();
        settle(&log, ID, &ending).await.unwrap();
        assert!(matches!(log.head(&session).await, Err(LogError::Erased)));
    }
}
