//! The egress protocol: adopt, intend, start, watch, replace. See the crate's documentation for what it protects from.

use super::draft::{Draft, FRESH_SECONDS};
use super::worker::Listening;
use super::{failure, gate, refusal, room};
use crate::backoff;
use crate::memory::{How, Intent, StartOutcome, StopCall};
use crate::observed::{Egress, EgressState, Hearing, LiveKitError, RoomView};
use crate::plan::{Action, Ask};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

/// A new egress with media connects within 1.4 s; a slow one gets this long before it is suspected.
const CONNECT_SECONDS: i64 = 15;
/// The worker calls 5 s without a byte silence; a sole publisher's mute stalls 2.8 s. An open microphone that is not heard
/// for this long more is a fault.
const UNHEARD_SECONDS: i64 = 5;
/// A dropped egress whose listener is there reconnects within 80 ms, or is wedged for good.
const BROKEN_SECONDS: i64 = 1;
/// A look at the room that is no older still gives the word while the next one is under way.
const LAST_LOOK_SECONDS: i64 = 20;
/// A stop is asked again after this.
const STOP_AGAIN_SECONDS: i64 = 35;

/// A move that LiveKit refused is asked again after this.
const MOVE_AGAIN_SECONDS: i64 = 10;

/// LiveKit is asked again so often while it fails; while audio flows, less.
const TROUBLED_SECONDS: i64 = 5;
const TROUBLED_AND_HEARD_SECONDS: i64 = 30;
/// For so long after its start, LiveKit's newer word on a heard egress is looked for, this often.
const CONFIRM_SECONDS: i64 = 20;
const CONFIRM_AGAIN_SECONDS: i64 = 2;

/// Pod and load balancer cost money, so a new session's are not made before LiveKit has answered once.
pub(super) fn livekit_has_answered(draft: &mut Draft<'_>) -> bool {
    let nothing_yet = draft.attempt() == 0 && draft.observed.cluster.pods.get().is_some_and(Vec::is_empty);
    if !gate::needs_livekit(draft) || !nothing_yet || draft.observed.livekit.egresses.get().is_some() {
        return true;
    }
    match &draft.observed.livekit.error {
        None => {
            draft.ask(Ask::Egresses, Reason::Starting);
            draft.wake_in(2);
        }
        Some(error) => {
            let reason = error.reason();
            ask_again(draft, reason);
            draft.held = Some((reason, error.sentence()));
        }
    }
    false
}

/// An answer wakes the plan, and an error is an answer. Whoever carries the plan out asks at a pace, and a mended key at once;
/// where audio flows there is no haste.
fn ask_again(draft: &mut Draft<'_>, reason: Reason) {
    if !draft.is_heard() {
        draft.ask(Ask::Egresses, reason);
        return draft.wake_in(TROUBLED_SECONDS);
    }
    match draft.memory.asked_at.filter(|at| draft.since(*at) < TROUBLED_AND_HEARD_SECONDS) {
        Some(at) => draft.wake_at(at + backoff::seconds(TROUBLED_AND_HEARD_SECONDS)),
        None => {
            draft.memory.asked_at = Some(draft.now);
            draft.ask(Ask::Egresses, reason);
            draft.wake_in(TROUBLED_AND_HEARD_SECONDS);
        }
    }
}

/// Brings the session to one egress that the worker hears.
pub(super) fn ensure(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) {
    if refusal::is_waiting(draft) {
        return;
    }
    let trouble = draft.observed.livekit.error.as_ref();
    if let Some(error) = trouble {
        ask_again(draft, error.reason());
        let unknown = draft.observed.livekit.egresses.get().is_none();
        if unknown || *error == LiveKitError::CredentialsRefused {
            return cannot_ask(draft, error);
        }
    }
    let live = draft.live();
    stop_strays(draft, &live);
    match live.first() {
        Some(egress) => watch(draft, egress, listening),
        None => begin(draft, listening),
    }
    if let Some(error) = trouble {
        cannot_ask(draft, error);
    }
}

/// Audio that flows needs no LiveKit: it is said beside it. Whatever else has to be done waits for it.
fn cannot_ask(draft: &mut Draft<'_>, error: &LiveKitError) {
    let is_silent = matches!(draft.egress_word, (Verdict::True, Reason::WaitingForAudio, _));
    let (verdict, word) = match (is_silent, draft.is_heard()) {
        (true, _) => (Verdict::True, Reason::WaitingForAudio),
        (false, true) => (Verdict::True, Reason::Active),
        (false, false) => (Verdict::Unknown, error.reason()),
    };
    draft.egress_word = (verdict, word, error.sentence());
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
        let word = if room::is_muted(draft) { Reason::WaitingForAudio } else { Reason::Active };
        draft.egress_word = (Verdict::True, word, String::new());
        draft.memory.replaced = None;
        confirm(draft, egress);
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
        None if draft.worker_is_unasked() => draft.wake_in(5),
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
        let moved = listening.is_some_and(|listening| listening.pod.attempt > egress.attempt);
        let why = if moved { Reason::Terminating } else { Reason::WorkerRestarting };
        return Some(draft.memory.replaced.unwrap_or(why));
    }
    draft.observed.worker.as_ref()?;
    let young = egress.started_at.is_none_or(|started| draft.since(started) < CONNECT_SECONDS);
    let new = young && draft.hearing() == Some(Hearing::Nobody) && egress.state == EgressState::Starting;
    draft.egress_word = unheard(draft, new);
    let Some(room) = draft.fresh_room() else {
        draft.ask(Ask::Room, Reason::Stalled);
        draft.ask(Ask::Egresses, Reason::Stalled);
        draft.wake_in(2);
        return None;
    };
    if room.is_none_or(|room| room.open_microphones == 0) {
        draft.memory.unheard_since = None;
        draft.egress_word = (Verdict::True, Reason::WaitingForAudio, String::new());
        // When this look is no longer fresh, and well before it no longer gives the word.
        draft.wake_in(FRESH_SECONDS + 1);
        return None;
    }
    let now = draft.now;
    let since = *draft.memory.unheard_since.get_or_insert(now);
    let (since, patience) = match broken_since(draft, egress) {
        Some(broken) => (broken, BROKEN_SECONDS),
        None if new => (since, CONNECT_SECONDS),
        None => (since, UNHEARD_SECONDS),
    };
    draft.wake_in(patience.min(2));
    (draft.since(since) >= patience).then_some(Reason::Stalled)
}

/// It was heard, and its connection is gone: whoever comes back does so at once.
fn broken_since(draft: &Draft<'_>, egress: &Egress) -> Option<Timestamp> {
    let report = draft.observed.worker.as_ref()?;
    (report.hearing == Hearing::Nobody && draft.memory.heard >= egress.attempt).then_some(report.since)
}

/// The room as it was seen last, while that still gives the word.
fn last_look<'a>(draft: &Draft<'a>) -> Option<&'a RoomView> {
    draft.observed.livekit.room.get().filter(|view| draft.since(view.at) < LAST_LOOK_SECONDS)
}

/// Nothing is heard, and the look that says whether it should be is under way. The last one holds until then: a muted room
/// is looked at every ten seconds, and its word does not change with each look.
fn unheard(draft: &Draft<'_>, new: bool) -> (Verdict, Reason, String) {
    let muted = last_look(draft).is_some_and(|view| view.room.is_none_or(|room| room.open_microphones == 0));
    if muted {
        return (Verdict::True, Reason::WaitingForAudio, String::new());
    }
    if new {
        return (Verdict::Unknown, Reason::Starting, String::new());
    }
    let message =
        "no audio arrives: LiveKit is asked whether a microphone is open, and the egress is replaced if so";
    (Verdict::Unknown, Reason::Stalled, message.to_owned())
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

/// It is heard, so it plays, and LiveKit's word is older than that: the newer one follows soon, not with the next long look.
fn confirm(draft: &mut Draft<'_>, egress: &Egress) {
    let begun = egress.started_at.is_some_and(|started| draft.since(started) < CONFIRM_SECONDS);
    if egress.state != EgressState::Starting || !begun {
        return;
    }
    let looked_at = draft.observed.livekit.egresses.get().map(|listing| listing.at);
    if looked_at.is_none_or(|at| draft.since(at) >= CONFIRM_AGAIN_SECONDS) {
        draft.ask(Ask::Egresses, Reason::Active);
    }
    draft.wake_in(CONFIRM_AGAIN_SECONDS);
}

/// A healthy egress whose worker must leave is pointed at the new worker by one UpdateStream.
fn move_if_leaving(draft: &mut Draft<'_>, egress: &Egress, listening: Option<Listening<'_>>) {
    let Some(listening) = listening else { return };
    if listening.pod.attempt <= egress.attempt {
        return;
    }
    if egress.state == EgressState::Starting && draft.fresh_listing().is_none() {
        // It is heard, so it plays; the word is older than that.
        draft.ask(Ask::Egresses, Reason::Terminating);
        draft.wake_in(2);
    }
    if refused_move(draft) {
        return draft.wake_in(MOVE_AGAIN_SECONDS);
    }
    // The old worker hears the room meanwhile, so this wait costs nothing.
    if egress.state == EgressState::Active
        && draft.is_settled(listening.since, draft.policy.move_settle_seconds)
    {
        intend(draft, Some(listening), moved(egress), Reason::Terminating);
    }
}

/// LiveKit refused to move it a moment ago. The old worker hears the room meanwhile.
fn refused_move(draft: &Draft<'_>) -> bool {
    draft.memory.start.as_ref().is_some_and(|start| {
        let refused =
            !matches!(start.outcome, None | Some(StartOutcome::Started { .. } | StartOutcome::Unknown));
        start.moves.is_some() && refused && draft.since(start.at) < MOVE_AGAIN_SECONDS
    })
}

fn moved(egress: &Egress) -> How {
    How::Move { egress: egress.id.clone(), from: egress.attempt }
}

/// LiveKit has not answered yet, or the listing is older than the call.
fn call_under_way(draft: &mut Draft<'_>) -> bool {
    let Some(start) = &draft.memory.start else { return false };
    let waiting = draft.call_is_open();
    let unseen = draft.observed.livekit.egresses.get().is_none_or(|listing| listing.at <= start.at);
    if !(waiting || unseen) || draft.hearing() == Some(Hearing::Publishing(start.attempt)) {
        return false;
    }
    draft.egress_word = on_its_way(draft);
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
    draft.egress_word = so_far(draft);
    if waits_for_the_room(draft) {
        return;
    }
    let Some(_) = draft.fresh_listing() else {
        draft.ask(Ask::Egresses, Reason::Starting);
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
    let Some(room) = room else { return no_room(draft) };
    draft.memory.room_looks = 0;
    if failure::ended_with_silence(draft) && room.open_microphones == 0 {
        draft.egress_word = (Verdict::True, Reason::WaitingForAudio, String::new());
        draft.wake_in(10);
        return;
    }
    let why = failure::last(draft);
    let why = draft.memory.replaced.unwrap_or(why);
    intend(draft, listening, How::Start, why);
}

/// The word while LiveKit is asked: a room that was not there, or was silent, still is as far as anybody knows.
fn so_far(draft: &Draft<'_>) -> (Verdict, Reason, String) {
    if draft.memory.room_looks > 0 || was_waiting_for_the_room(draft) {
        return (Verdict::False, Reason::WaitingForRoom, Reason::WaitingForRoom.sentence());
    }
    let silent = last_look(draft).and_then(|view| view.room).is_some_and(|room| room.open_microphones == 0);
    if silent && failure::ended_with_silence(draft) {
        return (Verdict::True, Reason::WaitingForAudio, String::new());
    }
    on_its_way(draft)
}

/// So the status says, and this process has not looked yet.
fn was_waiting_for_the_room(draft: &Draft<'_>) -> bool {
    let told = condition::find(&draft.observed.session.status.conditions, ConditionType::EgressActive);
    draft.observed.livekit.room.get().is_none()
        && told.is_some_and(|told| told.reason == Reason::WaitingForRoom.as_str())
}

/// The word while a start is on its way: that LiveKit had no room for the last one is what people should see until one comes.
fn on_its_way(draft: &Draft<'_>) -> (Verdict, Reason, String) {
    let old = condition::find(&draft.status.conditions, ConditionType::EgressActive);
    let full = old.is_some_and(|old| old.reason == Reason::CapacityExhausted.as_str());
    if full { no_capacity() } else { (Verdict::Unknown, Reason::Starting, String::new()) }
}

fn no_capacity() -> (Verdict, Reason, String) {
    (Verdict::False, Reason::CapacityExhausted, Reason::CapacityExhausted.sentence())
}

/// The room was not there: until the next look is due, and while it is under way, nothing else is asked.
fn waits_for_the_room(draft: &mut Draft<'_>) -> bool {
    let Some(view) = draft.observed.livekit.room.get().filter(|view| view.room.is_none()) else {
        return false;
    };
    if draft.memory.room_looks == 0 || draft.start_is_unknown() {
        return false;
    }
    if draft.memory.room_looked_at != Some(view.at) {
        no_room(draft);
        return true;
    }
    let due = backoff::room(draft.memory.room_looks, view.at);
    if due > draft.now {
        draft.wake_at(due);
    } else {
        draft.ask(Ask::Room, Reason::WaitingForRoom);
        draft.wake_in(2);
    }
    true
}

fn no_room(draft: &mut Draft<'_>) {
    let looked = draft.observed.livekit.room.get().map(|view| view.at);
    draft.memory.room_looks += u32::from(draft.memory.room_looked_at != looked);
    draft.memory.room_looked_at = looked;
    draft.egress_word = (Verdict::False, Reason::WaitingForRoom, Reason::WaitingForRoom.sentence());
    draft.wake_at(backoff::room(draft.memory.room_looks, looked.unwrap_or(draft.now)));
}

fn unknown(draft: &mut Draft<'_>) {
    draft.ask(Ask::Egresses, Reason::StartUnknown);
    let outcome = draft.memory.start.as_ref().and_then(|start| start.outcome.as_ref());
    draft.egress_word = match outcome {
        // A late one may still come, so it is looked for; what people should know is that there was no room.
        Some(StartOutcome::NoCapacity) => no_capacity(),
        _ => (Verdict::Unknown, Reason::StartUnknown, Reason::StartUnknown.sentence()),
    };
    draft.wake_in(5);
}

/// The intent of this process is carried out once everything that it needs is there.
fn pending_intent(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) -> bool {
    let attempt = draft.attempt();
    let Some(intent) = draft.memory.intent.clone().filter(|intent| intent.attempt == attempt) else {
        return false;
    };
    draft.egress_word = on_its_way(draft);
    if listening.is_none() {
        draft.wake_in(5);
        return true;
    }
    if intent.how == How::Start && rather_moves(draft, attempt) {
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

/// An older egress that was given up, and is heard again before the new one has been started, is moved instead: two never feed.
fn rather_moves(draft: &mut Draft<'_>, attempt: u32) -> bool {
    let Some(Hearing::Publishing(heard)) = draft.hearing() else { return false };
    let live = draft.live();
    let Some(egress) = live.iter().find(|egress| egress.attempt == heard && heard < attempt) else {
        return false;
    };
    if egress.state == EgressState::Active {
        draft.memory.intent = Some(Intent { attempt, how: moved(egress) });
        draft.wake_in(1);
    } else {
        draft.ask(Ask::Egresses, Reason::Active);
        draft.wake_in(2);
    }
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
    draft.status.intent_at = Some(micro(draft.now));
    draft.memory.intent = Some(Intent { attempt, how: how.clone() });
    (draft.memory.unheard_since, draft.memory.replaced) = (None, None);
    draft.act(Action::WriteIntent { attempt, how }, why);
    draft.wake_in(5);
}

/// As the resource will show it: whoever wrote it knows it again by its microseconds.
fn micro(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}
