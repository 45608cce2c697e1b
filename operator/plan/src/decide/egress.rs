//! The egress protocol: adopt, intend, start, watch, replace. See the crate's documentation for what it protects from.

use super::draft::Draft;
use super::failure;
use super::worker::Listening;
use crate::backoff;
use crate::memory::{How, Intent, StopCall};
use crate::observed::{Egress, EgressState, Hearing, LiveKitError};
use crate::plan::{Action, Ask};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomscribe_crds::condition::Verdict;
use roomscribe_crds::reason::Reason;

/// A new egress with media connects within 1.4 s; a slow one gets this long before it is suspected.
const CONNECT_SECONDS: i64 = 15;
/// The worker calls 5 s without a byte silence; a sole publisher's mute stalls 2.8 s. An open microphone that is not heard
/// for this long more is a fault.
const UNHEARD_SECONDS: i64 = 5;
/// A stop is asked again after this.
const STOP_AGAIN_SECONDS: i64 = 35;

/// Brings the session to one egress that the worker hears.
pub(super) fn ensure(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) {
    if draft.memory.rejected_version.is_some() {
        return;
    }
    match draft.observed.livekit.error {
        Some(LiveKitError::CredentialsRefused) => return blocked(draft, Reason::CredentialsRefused, 30),
        Some(LiveKitError::Unreachable) => {
            draft.ask(Ask::Egresses, Reason::LiveKitUnreachable);
            if draft.observed.livekit.egresses.get().is_none() {
                return blocked(draft, Reason::LiveKitUnreachable, 10);
            }
        }
        None => {}
    }
    let live = draft.live();
    stop_strays(draft, &live);
    match live.first() {
        Some(egress) => watch(draft, egress, listening),
        None => begin(draft, listening),
    }
}

fn blocked(draft: &mut Draft<'_>, reason: Reason, seconds: i64) {
    draft.ask(Ask::Egresses, reason);
    draft.egress_word = (Verdict::Unknown, reason, reason.sentence());
    draft.wake_in(seconds);
}

/// Only the highest attempt may stay. Not waited for: a wedged egress takes 30 s to end and delays nothing.
fn stop_strays(draft: &mut Draft<'_>, live: &[&Egress]) {
    let (called, moved) = match &draft.memory.start {
        Some(start) => (start.attempt, start.moves.clone()),
        None => (0, None),
    };
    for (index, egress) in live.iter().enumerate() {
        let replaced = egress.attempt < called && moved.as_ref() != Some(&egress.id);
        if index > 0 || replaced {
            stop(draft, &egress.id, Reason::Stalled);
        }
    }
}

/// Asks for one stop, and again after a while.
pub(super) fn stop(draft: &mut Draft<'_>, id: &str, why: Reason) {
    let now = draft.now;
    let before = draft.memory.stops.get(id).copied();
    if before.is_some_and(|stop| draft.since(stop.at) < STOP_AGAIN_SECONDS) {
        draft.wake_in(STOP_AGAIN_SECONDS);
        return;
    }
    let count = before.map_or(0, |stop| stop.count) + 1;
    draft.memory.stops.insert(id.to_owned(), StopCall { at: now, count });
    draft.act(Action::StopEgress { id: id.to_owned() }, why);
    draft.wake_in(5);
}

/// An egress is there: is it heard, and may it be silent?
fn watch(draft: &mut Draft<'_>, egress: &Egress, listening: Option<Listening<'_>>) {
    super::tell::record(draft, egress);
    if pending_intent(draft, listening) || call_under_way(draft) {
        return;
    }
    let heard = match draft.hearing() {
        Some(Hearing::Publishing(attempt)) => attempt >= egress.attempt,
        _ => false,
    };
    if heard {
        draft.egress_word = (Verdict::True, Reason::Active, String::new());
        return move_if_leaving(draft, egress, listening);
    }
    if draft.start_is_unknown() {
        return unknown(draft);
    }
    match suspicion(draft, egress, listening) {
        Some(reason) => {
            draft.egress_word = (Verdict::False, reason, reason.sentence());
            intend(draft, listening, How::Start, reason);
        }
        None if draft.observed.worker.is_none() => {
            draft.egress_word =
                (Verdict::Unknown, Reason::WorkerUnreachable, Reason::WorkerUnreachable.sentence());
            draft.wake_in(10);
        }
        None => {}
    }
}

/// Why the live egress is not trusted any more.
fn suspicion(draft: &mut Draft<'_>, egress: &Egress, listening: Option<Listening<'_>>) -> Option<Reason> {
    if restarted_since(draft, egress, listening) {
        return Some(Reason::WorkerRestarting);
    }
    draft.observed.worker.as_ref()?;
    let Some(room) = draft.fresh_room() else {
        draft.ask(Ask::Room, Reason::Stalled);
        draft.ask(Ask::Egresses, Reason::Stalled);
        draft.egress_word = (Verdict::Unknown, Reason::Starting, String::new());
        draft.wake_in(2);
        return None;
    };
    if room.is_none_or(|room| room.open_microphones == 0) {
        draft.memory.unheard_since = None;
        draft.egress_word = (Verdict::True, Reason::WaitingForAudio, String::new());
        draft.wake_in(10);
        return None;
    }
    let now = draft.now;
    let since = *draft.memory.unheard_since.get_or_insert(now);
    let new = egress.started_at.is_none_or(|started| draft.since(started) < CONNECT_SECONDS)
        && draft.hearing() == Some(Hearing::Nobody)
        && egress.state == EgressState::Starting;
    let patience = if new { CONNECT_SECONDS } else { UNHEARD_SECONDS };
    draft.egress_word = (Verdict::Unknown, Reason::Starting, String::new());
    draft.wake_in(2);
    (draft.since(since) >= patience).then_some(Reason::Stalled)
}

/// A broken RTMP connection is not trusted again: the worker's container ended after this attempt was intended, and the
/// egress has not come back by itself.
fn restarted_since(draft: &Draft<'_>, egress: &Egress, listening: Option<Listening<'_>>) -> bool {
    let (Some(listening), Some(intent_at)) = (listening, draft.status.intent_at.as_ref()) else {
        return false;
    };
    // An intent that outlived its process may have been carried out long after it was written.
    let called = draft.memory.start.as_ref().filter(|start| start.attempt == egress.attempt);
    let begun = called.map_or(intent_at.0, |start| start.at.max(intent_at.0));
    let newer_pod = listening.pod.attempt > egress.attempt;
    let restarted = listening.pod.restarts > 0
        && listening.pod.container_started_at.is_some_and(|started| started > begun);
    newer_pod || restarted
}

/// A healthy egress whose worker must leave is pointed at the new worker by one UpdateStream.
fn move_if_leaving(draft: &mut Draft<'_>, egress: &Egress, listening: Option<Listening<'_>>) {
    let Some(listening) = listening else { return };
    if listening.pod.attempt > egress.attempt && egress.state == EgressState::Active {
        let how = How::Move { egress: egress.id.clone(), from: egress.attempt };
        intend(draft, Some(listening), how, Reason::Terminating);
    }
}

/// LiveKit has not answered yet, or the listing is older than the call.
fn call_under_way(draft: &mut Draft<'_>) -> bool {
    let Some(start) = &draft.memory.start else { return false };
    let waiting = draft.call_is_open();
    let unseen = draft.observed.livekit.egresses.get().is_none_or(|listing| listing.at <= start.at);
    if !(waiting || unseen) || draft.hearing() == Some(Hearing::Publishing(start.attempt)) {
        return false;
    }
    draft.egress_word = (Verdict::Unknown, Reason::Starting, String::new());
    if !waiting {
        draft.ask(Ask::Egresses, Reason::Starting);
    }
    draft.wake_in(2);
    true
}

/// No egress is there.
fn begin(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) {
    if pending_intent(draft, listening) || call_under_way(draft) {
        return;
    }
    let Some(_) = draft.fresh_listing() else {
        draft.ask(Ask::Egresses, Reason::Starting);
        draft.egress_word = (Verdict::Unknown, Reason::Starting, String::new());
        draft.wake_in(2);
        return;
    };
    if draft.start_is_unknown() {
        return unknown(draft);
    }
    failure::count(draft, listening);
    let Some(room) = draft.fresh_room() else {
        draft.ask(Ask::Room, Reason::Starting);
        draft.wake_in(2);
        return;
    };
    let Some(room) = room else {
        let looked = draft.observed.livekit.room.get().map(|view| view.at);
        draft.memory.room_looks += u32::from(draft.memory.room_looked_at != looked);
        draft.memory.room_looked_at = looked;
        let at = backoff::room(draft.memory.room_looks, draft.now);
        draft.egress_word = (Verdict::False, Reason::WaitingForRoom, Reason::WaitingForRoom.sentence());
        draft.wake_at(at);
        return;
    };
    draft.memory.room_looks = 0;
    if failure::ended_with_silence(draft) && room.open_microphones == 0 {
        draft.egress_word = (Verdict::True, Reason::WaitingForAudio, String::new());
        draft.wake_in(10);
        return;
    }
    let why = failure::last(draft);
    intend(draft, listening, How::Start, why);
}

fn unknown(draft: &mut Draft<'_>) {
    draft.ask(Ask::Egresses, Reason::StartUnknown);
    draft.egress_word = (Verdict::Unknown, Reason::StartUnknown, Reason::StartUnknown.sentence());
    draft.wake_in(5);
}

/// The intent of this process is carried out once everything that it needs is there.
fn pending_intent(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) -> bool {
    let attempt = draft.attempt();
    let Some(intent) = draft.memory.intent.clone().filter(|intent| intent.attempt == attempt) else {
        return false;
    };
    draft.egress_word = (Verdict::Unknown, Reason::Starting, String::new());
    if listening.is_none() {
        draft.wake_in(5);
        return true;
    }
    let action = match intent.how {
        How::Start => Action::StartEgress { attempt },
        How::Move { egress, from } => Action::MoveEgress { id: egress, from, to: attempt },
    };
    draft.act(action, Reason::Starting);
    draft.wake_in(5);
    true
}

/// The next attempt, written before anything is called; at once, or when the back-off is over.
fn intend(draft: &mut Draft<'_>, listening: Option<Listening<'_>>, how: How, why: Reason) {
    if listening.is_none() {
        draft.wake_in(5);
        return;
    }
    if draft.call_is_open() {
        draft.wake_in(2);
        return;
    }
    if let Some(at) = draft.memory.retry_at.filter(|at| *at > draft.now) {
        draft.wake_at(at);
        return;
    }
    let attempt = draft.attempt() + 1;
    let Ok(written) = i32::try_from(attempt) else { return };
    draft.status.attempt = Some(written);
    draft.status.intent_at = Some(Time(draft.now));
    draft.memory.intent = Some(Intent { attempt, how: how.clone() });
    draft.memory.unheard_since = None;
    draft.act(Action::WriteIntent { attempt, how }, why);
    draft.wake_in(5);
}
