//! When a room counts as gone, and when it is looked at.

use super::draft::Draft;
use super::gate;
use crate::backoff::seconds;
use crate::observed::{EgressState, SpeechState};
use crate::plan::Ask;
use roomscribe_crds::reason::Reason;

/// A silent or empty room is looked at this often.
const LOOK_SECONDS: i64 = 60;
/// Nobody tells of an unmuted microphone while silence is heard.
const MUTED_LOOK_SECONDS: i64 = 15;
/// A LiveKit that restarts has forgotten its rooms for about a second, and its clients make them again: one look is no
/// proof. Two looks so far apart are.
const MISSING_SECONDS: i64 = 10;
/// Clients take longer to come back to a LiveKit that was away, and while bytes arrive the egress has the room.
const MISSING_AFTER_TROUBLE_SECONDS: i64 = 30;
/// LiveKit's word (in `details`) for an egress whose room it closed; one that somebody stopped has another.
const SOURCE_CLOSED: &str = "Source closed";
/// So long after LiveKit did not answer it counts as just restarted.
const TROUBLE_SECONDS: i64 = 60;

/// It was there and is gone, or nobody has been in it for `roomEmptyTimeoutSeconds`.
pub(super) fn has_ended(draft: &Draft<'_>) -> bool {
    if !gate::needs_livekit(draft) || draft.attempt() == 0 || !super::finish::was_ready(draft) {
        return false;
    }
    let timeout = draft.observed.session.spec.limits.room_empty_timeout_seconds;
    match draft.fresh_room() {
        Some(None) => is_missed(draft),
        Some(Some(room)) => {
            room.participants == 0
                && draft.memory.room_empty_since.is_some_and(|since| draft.since(since) >= timeout.into())
        }
        None => false,
    }
}

fn is_missed(draft: &Draft<'_>) -> bool {
    let (Some(view), Some(since)) = (draft.observed.livekit.room.get(), draft.memory.room_missing_since)
    else {
        return false;
    };
    (view.at - since).get_seconds() >= patience(draft)
}

fn patience(draft: &Draft<'_>) -> i64 {
    let troubled = draft.memory.trouble_at.is_some_and(|at| draft.since(at) < TROUBLE_SECONDS);
    if troubled || draft.is_heard() {
        return MISSING_AFTER_TROUBLE_SECONDS;
    }
    // LiveKit itself ended the egress for want of a source: a second witness, as good as a second look.
    let attempt = draft.attempt();
    let listing = draft.observed.livekit.egresses.get();
    let closed = listing.is_some_and(|listing| {
        let mut ours = listing.egresses.iter().filter(|egress| egress.attempt == attempt);
        ours.any(|egress| egress.state == EgressState::Complete && egress.error.contains(SOURCE_CLOSED))
    });
    if closed { 0 } else { MISSING_SECONDS }
}

/// Nobody is there, or everybody is silent or muted: nobody tells when that changes.
pub(super) fn look(draft: &mut Draft<'_>) {
    if !gate::needs_livekit(draft) || draft.attempt() == 0 {
        return;
    }
    match draft.fresh_room() {
        Some(Some(room)) if room.participants == 0 => {
            let now = draft.now;
            draft.memory.room_empty_since.get_or_insert(now);
        }
        Some(_) => draft.memory.room_empty_since = None,
        None => {}
    }
    let Some(every) = every(draft) else { return };
    let looked = draft.observed.livekit.room.get().map(|view| view.at);
    match looked.filter(|at| draft.since(*at) < every) {
        Some(at) => draft.wake_at(at + seconds(every)),
        None => draft.ask(Ask::Room, Reason::SpeechIdle),
    }
}

fn every(draft: &Draft<'_>) -> Option<i64> {
    let idle = draft.observed.worker.as_ref().is_some_and(|report| report.speech == SpeechState::Idle);
    let missing = draft.memory.room_missing_since.is_some() && super::finish::was_ready(draft);
    match (missing, is_muted(draft)) {
        (true, _) => Some(MISSING_SECONDS),
        (_, true) => Some(MUTED_LOOK_SECONDS),
        _ => (idle || draft.memory.room_empty_since.is_some()).then_some(LOOK_SECONDS),
    }
}

/// Bytes arrive, and the newest look showed no open microphone: they are silence.
pub(super) fn is_muted(draft: &Draft<'_>) -> bool {
    let room = draft.observed.livekit.room.get().and_then(|view| view.room);
    draft.is_heard() && room.is_some_and(|room| room.open_microphones == 0)
}
