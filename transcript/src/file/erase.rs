//! The two ways a transcript ends: erased on request, with a tombstone, or removed by retention.

use super::disk;
use super::session::{FileSession, Inner, storage_error};
use crate::live::Gone;
use crate::log::LogError;
use crate::model::SessionId;
use std::fs;
use std::io;

impl FileSession {
    /// Blocking: leaves only a tombstone that says when, and which log it was.
    pub(super) fn erase(&self, at: String) -> Result<(), LogError> {
        match self.load(false) {
            Ok(()) => {}
            Err(LogError::Erased) => return Ok(()),
            // What cannot be read must still be erasable.
            Err(LogError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let _io = self.io();
        let tombstone =
            Tombstone { v: 1, epoch: self.inner().epoch.clone(), session: &self.id, erased_at: at };
        let bytes = serde_json::to_vec(&tombstone).map_err(io::Error::from)?;
        let mut written = disk::create_whole(&self.tombstone(), &bytes);
        if written.as_ref().is_err_and(disk::is_full) {
            // The transcript itself is the room for its tombstone. A crash between the two leaves no text either.
            self.disk.truncate(&self.path(), 0).map_err(storage_error)?;
            written = disk::create_whole(&self.tombstone(), &bytes);
        }
        written.map_err(storage_error)?;
        match self.bury(Gone::Erased) {
            Err(LogError::Erased) => Ok(()),
            other => other,
        }
    }

    /// Removes what a tombstone stands for, also what a crash in the middle of an erasure left behind.
    pub(super) fn bury(&self, gone: Gone) -> Result<(), LogError> {
        for name in ["log.rsl", "log.torn", "log.new"] {
            disk::remove_if_there(&self.folder.join(name))?;
        }
        disk::sync_folder(&self.folder)?;
        self.forget(gone);
        Err(gone.into())
    }

    /// Blocking: removes the folder when the session has ended and nothing was written since `limit`.
    pub(super) fn remove_if_older(&self, limit: std::time::SystemTime) -> Result<bool, LogError> {
        // Reading a whole log only to find it young would make every sweep read everything.
        if fs::metadata(self.path())?.modified()? >= limit {
            return Ok(false);
        }
        match self.load(false) {
            Ok(()) => {}
            Err(LogError::Erased | LogError::NoSession) => return Ok(false),
            Err(error) => return Err(error),
        }
        let _io = self.io();
        let ended = self.inner().durable.ended.is_some();
        if !ended || fs::metadata(self.path())?.modified()? >= limit {
            return Ok(false);
        }
        fs::remove_dir_all(&self.folder)?;
        self.folder.parent().map_or(Ok(()), disk::sync_folder)?;
        self.forget(Gone::Removed);
        Ok(true)
    }

    fn forget(&self, gone: Gone) {
        let mut inner = self.inner();
        let waiters = std::mem::take(&mut inner.waiters);
        *inner = Inner { gone: Some(gone), committing: inner.committing, ..Inner::default() };
        self.live.end_with(gone);
        drop(inner);
        waiters.into_iter().for_each(|waiter| drop(waiter.answer.send(Err(gone.into()))));
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Tombstone<'a> {
    v: u32,
    epoch: String,
    session: &'a SessionId,
    erased_at: String,
}
