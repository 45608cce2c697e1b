//! What this process holds of each session between rounds. Losing it costs time, never correctness.

use crate::carry::Applied;
use crate::credentials::Found;
use crate::refusal::Refusal;
use crate::workers::Polls;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use roomscribe_calls::Desk;
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionStatus};
use roomscribe_plan::Intent;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Versions of our own writes that a slow watch may still show the predecessors of.
const REMEMBERED_VERSIONS: usize = 8;
/// Writes of an intent of which nobody knows what has become.
const REMEMBERED_DOUBTS: usize = 8;

/// One session.
#[derive(Default)]
pub struct Cell {
    /// Memory and LiveKit.
    pub desk: Desk,
    /// Its workers.
    pub polls: Polls,
    /// What the API server last refused to make.
    pub refused: Mutex<Option<Refusal>>,
    /// Since when the API server makes nothing more here, because the namespace is being deleted.
    pub namespace_ends: Mutex<Option<Timestamp>>,
    /// The Secret as it was applied last.
    pub secret: Mutex<Option<Applied>>,
    /// The error that ended the newest round; the log says each once.
    pub troubled: Mutex<Option<String>>,
    /// Its credentials, and when they were looked up.
    pub found: Mutex<Option<(Instant, Found)>>,
    /// Attempt and selection that were applied last, and when: a watch that lags does not make it again.
    pub made: Mutex<Option<(u32, u32, Instant)>>,
    /// When words were written last.
    pub wrote_at: Mutex<Option<Instant>>,
    own: Mutex<Own>,
    doubted: Mutex<VecDeque<(Intent, MicroTime)>>,
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

    /// A status that was to hold this intent was sent, and nobody knows what has become of it: kube repeats a write whose
    /// answer was lost, and the second one is a conflict with the first.
    pub fn doubt(&self, intent: Option<&Intent>, at: Option<&MicroTime>) {
        let Some(doubt) = intent.cloned().zip(at.cloned()) else { return };
        let mut doubted = lock(&self.doubted);
        // The watch may lag by several writes, and any of them may be the one that was carried out.
        doubted.push_back(doubt);
        let surplus = doubted.len().saturating_sub(REMEMBERED_DOUBTS);
        doubted.drain(..surplus);
    }

    /// The intent of a write that was doubted, when the resource shows it after all. Its time is ours to the microsecond, so
    /// nobody else has written it, and this process has begun nothing for it.
    pub fn proved(&self, status: &TranscriptionSessionStatus) -> Option<Intent> {
        let mut doubted = lock(&self.doubted);
        let shown = status.newest_attempt();
        // A watch that lags shows the status before: it proves nothing yet.
        let ours = |(intent, at): &&(Intent, MicroTime)| {
            shown == intent.attempt && status.intent_at.as_ref() == Some(at)
        };
        let proved = doubted.iter().find(ours).map(|(intent, _)| intent.clone());
        doubted.retain(|(intent, _)| intent.attempt > shown);
        proved
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

    #[test]
    fn an_intent_whose_write_was_doubted_is_ours_when_the_resource_shows_it_and_only_then() {
        use roomscribe_plan::How;
        let at = |microsecond| MicroTime(Timestamp::from_microsecond(microsecond).unwrap());
        let intent = Intent { attempt: 2, how: How::Start };
        let status = |attempt, at: MicroTime| TranscriptionSessionStatus {
            attempt: Some(attempt),
            intent_at: Some(at),
            ..TranscriptionSessionStatus::default()
        };
        // What the API server gives back is what was compared: whole seconds would prove nothing.
        let (kept, text) =
            (status(2, at(1_234_567)), serde_json::to_string(&status(2, at(1_234_567))).unwrap());
        assert_eq!(serde_json::from_str::<TranscriptionSessionStatus>(&text).unwrap(), kept);
        let cell = Cell::default();
        for (shown, proved) in
            [(status(2, at(7)), Some(intent.clone())), (status(2, at(8)), None), (status(3, at(7)), None)]
        {
            cell.doubt(Some(&intent), Some(&at(7)));
            // The watch lags: the doubt stays.
            assert_eq!(cell.proved(&status(1, at(3))), None);
            assert_eq!(cell.proved(&shown), proved);
            assert_eq!(cell.proved(&shown), None);
        }
        // A second write that conflicted with the first, and one without an intent, hide nothing.
        cell.doubt(Some(&intent), Some(&at(7)));
        cell.doubt(Some(&intent), Some(&at(9)));
        cell.doubt(None, None);
        assert_eq!(cell.proved(&status(2, at(7))), Some(intent));
        assert_eq!(cell.proved(&status(2, at(9))), None);
    }
}
