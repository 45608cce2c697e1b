//! Writing: appends that arrive while the disk is busy share the next fsync.

use super::format;
use super::session::{FileSession, Inner, Pending, Waiter, storage_error};
use crate::live::count;
use crate::log::{Append, Appended, LogError, check_size};
use crate::model::Offset;
use crate::state::Decision;
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes written with one fsync at most.
const BATCH_BYTES_MAX: usize = 4 << 20;

impl FileSession {
    /// Returns once the event is durable. A dropped call may still have appended.
    pub(super) async fn append(self: &Arc<Self>, append: Append) -> Result<Appended, LogError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        let turn = {
            let mut inner = self.inner();
            let (offset, duplicate) = inner.admit(append)?;
            if offset <= inner.durable.head {
                return Ok(Appended { offset, head: inner.durable.head, duplicate });
            }
            inner.waiters.push(Waiter { offset, duplicate, answer, _slot: slot });
            let idle = !std::mem::replace(&mut inner.committing, true);
            idle.then(|| Turn { session: self.clone(), finished: false })
        };
        if let Some(turn) = turn {
            tokio::spawn(turn.take());
        }
        answered.await.map_err(io::Error::other)?
    }

    /// Blocking: writes one batch. False when there was nothing to write.
    fn commit(&self) -> bool {
        let _io = self.io();
        let (batch, length) = {
            let mut inner = self.inner();
            let batch = inner.next_batch();
            if batch.is_empty() {
                inner.committing = false;
                return false;
            }
            (batch, inner.length)
        };
        let written = encode(&batch, length)
            .and_then(|(bytes, starts)| self.write(length, &bytes).map(|()| (bytes.len() as u64, starts)));
        match written {
            Ok((bytes, starts)) => {
                count(&self.live.tally().fsyncs);
                self.settle(batch, length + bytes, starts);
            }
            Err(error) => {
                count(&self.live.tally().failed_writes);
                self.give_up(error);
            }
        }
        true
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.disk.write_synced(&self.path(), at, bytes);
        if written.is_err() && self.disk.truncate(&self.path(), at).is_err() {
            // What the file holds is unknown now: the next use reads it again.
            self.inner().loaded = false;
        }
        written
    }

    fn settle(&self, batch: Vec<Pending>, length: u64, starts: Vec<u64>) {
        let mut inner = self.inner();
        inner.index.extend(starts);
        inner.length = length;
        let records: Vec<_> = batch.iter().map(|pending| pending.record.clone()).collect();
        records.iter().for_each(|record| inner.remember(record.clone()));
        if let Some(last) = batch.into_iter().next_back() {
            inner.durable = last.marks;
        }
        let head = inner.durable.head;
        let (done, waiting) = std::mem::take(&mut inner.waiters).into_iter().partition(|w| w.offset <= head);
        inner.waiters = waiting;
        self.live.advance(&records, head, inner.durable.ended.is_some());
        drop(inner);
        let done: Vec<Waiter> = done;
        for waiter in done {
            let appended = Appended { offset: waiter.offset, head, duplicate: waiter.duplicate };
            // The writer may have gone away; its event stays.
            let _ = waiter.answer.send(Ok(appended));
        }
    }

    /// Nothing that is not durable stays, so that every writer sees the same head again.
    fn give_up(&self, error: io::Error) {
        let mut inner = self.inner();
        let durable = inner.durable.clone();
        inner.state.roll_back(durable);
        inner.pending.clear();
        let waiters = std::mem::take(&mut inner.waiters);
        drop(inner);
        for waiter in waiters {
            let copy = io::Error::new(error.kind(), error.to_string());
            let _ = waiter.answer.send(Err(storage_error(copy)));
        }
    }
}

impl Inner {
    /// The event's place, and whether it had one already. A new event joins the next batch.
    fn admit(&mut self, append: Append) -> Result<(Offset, bool), LogError> {
        if let Some(gone) = self.gone {
            return Err(gone.into());
        }
        if !self.loaded {
            return Err(LogError::Io(io::Error::other("the log is being read again after a failed write")));
        }
        let record = match self.state.decide(&append)? {
            Decision::Duplicate(offset) => return Ok((offset, true)),
            Decision::Write(record) => record,
        };
        let bytes = check_size(&record, append.note.as_ref())?;
        self.state.apply(&record, append.note.as_ref());
        let marks = self.state.marks.clone();
        let offset = record.offset;
        self.pending.push_back(Pending { record, note: append.note, marks, bytes });
        Ok((offset, false))
    }

    fn next_batch(&mut self) -> Vec<Pending> {
        let mut total = 0;
        let mut fits = |pending: &Pending| {
            total += pending.bytes;
            total <= BATCH_BYTES_MAX
        };
        let count = self.pending.iter().take_while(|pending| fits(pending)).count();
        self.pending.drain(..count).collect()
    }
}

/// The bytes of a batch, and where each record starts in the file.
fn encode(batch: &[Pending], length: u64) -> io::Result<(Vec<u8>, Vec<u64>)> {
    let (mut bytes, mut starts) = (Vec::new(), Vec::with_capacity(batch.len()));
    for pending in batch {
        starts.push(length + bytes.len() as u64);
        format::encode(&pending.record, pending.note.as_ref(), length, &mut bytes)?;
    }
    Ok((bytes, starts))
}

/// The right to write a session's batches. Whatever ends it early (a panic, a runtime that shuts down), nobody waits
/// for ever and the next append may write.
struct Turn {
    session: Arc<FileSession>,
    finished: bool,
}

impl Turn {
    async fn take(self) {
        let Ok(thread) = self.session.threads.clone().acquire_owned().await else { return };
        let work = move || {
            let _thread = thread;
            self.run();
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "the log's writer stopped in the middle of a batch");
        }
    }

    fn run(mut self) {
        while self.session.commit() {}
        self.finished = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.finished {
            self.session.inner().loaded = false;
            self.session.give_up(io::Error::other("the log's writer stopped"));
            self.session.inner().committing = false;
        }
    }
}
