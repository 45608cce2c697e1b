//! What this process holds of each session between rounds. Losing it costs time, never correctness.

use crate::credentials::Found;
use crate::workers::Polls;
use roomscribe_calls::Desk;
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::reason::Reason;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Versions of our own writes that a slow watch may still show the predecessors of.
const REMEMBERED_VERSIONS: usize = 8;

/// One session.
#[derive(Default)]
pub struct Cell {
    /// Memory and LiveKit.
    pub desk: Desk,
    /// Its workers.
    pub polls: Polls,
    /// What the API server last refused to make, and why.
    pub refused: Mutex<Option<(Reason, String)>>,
    /// Its credentials, and when they were looked up.
    pub found: Mutex<Option<(Instant, Found)>>,
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    /// Versions that we have overwritten, oldest first.
    overwritten: VecDeque<String>,
    /// What the API server answered to our newest write.
    newest: Option<Arc<TranscriptionSession>>,
}

impl Cell {
    /// The newest of what the watch shows and what we have written ourselves.
    pub fn newest(&self, seen: Arc<TranscriptionSession>) -> Arc<TranscriptionSession> {
        let own = lock(&self.own);
        let stale =
            seen.metadata.resource_version.as_ref().is_some_and(|version| own.overwritten.contains(version));
        match (&own.newest, stale) {
            (Some(newest), true) if newest.metadata.uid == seen.metadata.uid => newest.clone(),
            _ => seen,
        }
    }

    /// We have written over `before`, and the API server answered with `after`.
    pub fn wrote(
        &self,
        before: &TranscriptionSession,
        after: TranscriptionSession,
    ) -> Arc<TranscriptionSession> {
        let mut own = lock(&self.own);
        let after = Arc::new(after);
        if let Some(version) = before.metadata.resource_version.clone()
            && before.metadata.resource_version != after.metadata.resource_version
        {
            own.overwritten.push_back(version);
            let surplus = own.overwritten.len().saturating_sub(REMEMBERED_VERSIONS);
            own.overwritten.drain(..surplus);
        }
        own.newest = Some(after.clone());
        after
    }
}

/// All sessions, by uid.
#[derive(Default)]
pub struct Cells(Mutex<HashMap<String, Arc<Cell>>>);

impl Cells {
    /// The session's cell; made when it is not there.
    pub fn of(&self, uid: &str) -> Arc<Cell> {
        lock(&self.0).entry(uid.to_owned()).or_default().clone()
    }

    /// The session's cell, if it has one.
    pub fn find(&self, uid: &str) -> Option<Arc<Cell>> {
        lock(&self.0).get(uid).cloned()
    }

    /// The resource is gone.
    pub fn forget(&self, uid: &str) {
        lock(&self.0).remove(uid);
    }

    /// Drops the cells of resources that are gone.
    pub fn retain(&self, mut lives: impl FnMut(&str) -> bool) {
        lock(&self.0).retain(|uid, _| lives(uid));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_crds::TranscriptionSessionSpec;

    fn version(version: &str) -> TranscriptionSession {
        let mut session = TranscriptionSession::new("standup", TranscriptionSessionSpec::for_room("standup"));
        session.metadata.resource_version = Some(version.into());
        session.metadata.uid = Some("u".into());
        session
    }

    fn newest(cell: &Cell, seen: &str) -> String {
        cell.newest(Arc::new(version(seen))).metadata.resource_version.clone().unwrap()
    }

    #[test]
    fn a_watch_that_lags_behind_our_own_write_is_not_believed() {
        let cell = Cell::default();
        cell.wrote(&version("1"), version("2"));
        cell.wrote(&version("2"), version("3"));
        for (seen, believed) in [("1", "3"), ("2", "3"), ("3", "3"), ("4", "4")] {
            assert_eq!(newest(&cell, seen), believed);
        }
    }

    #[test]
    fn a_write_that_changed_nothing_hides_nothing() {
        let cell = Cell::default();
        cell.wrote(&version("1"), version("1"));
        assert_eq!(newest(&cell, "1"), "1");
    }
}
