//! Attempts that came to nothing: how they are counted, what they say of the address, and when enough is enough.

use super::draft::Draft;
use super::worker::Listening;
use crate::backoff;
use crate::memory::StartOutcome;
use crate::observed::{Egress, EgressState};
use roomscribe_crds::condition::Verdict;
use roomscribe_crds::reason::Reason;

/// So many refused starts in a row ...
const REFUSALS: u32 = 5;
/// ... over so long a time end the session: a roll-out of LiveKit is over by then.
const REFUSED_SECONDS: i64 = 120;

/// The newest attempt has ended without having been heard: one more failure, and a longer wait.
pub(super) fn count(draft: &mut Draft<'_>, listening: Option<Listening<'_>>) {
    let attempt = draft.attempt();
    if attempt == 0 || draft.memory.counted >= attempt || ended_with_silence(draft) {
        return;
    }
    draft.memory.counted = attempt;
    draft.memory.failures += 1;
    draft.memory.retry_at = Some(backoff::after(draft.memory.failures, draft.now));
    draft.memory.unreachable = could_not_connect(draft, listening);
    let start = draft.memory.start.as_ref().filter(|start| start.attempt == attempt);
    if start.is_some_and(|start| matches!(start.outcome, Some(StartOutcome::Refused(_)))) {
        draft.memory.refusals += 1;
        let first = draft.memory.refused.map_or(draft.now, |(first, _)| first);
        draft.memory.refused = Some((first, draft.now));
        draft.wake_in(1);
    } else {
        (draft.memory.refusals, draft.memory.refused) = (0, None);
    }
}

/// The newest egress failed for lack of a connection, was never heard, and the worker was there before it: something
/// between them does not let it through. rtmp2sink's words for refused, and for a name or a time-out; an established
/// connection that drops is another text.
fn could_not_connect(draft: &Draft<'_>, listening: Option<Listening<'_>>) -> bool {
    let attempt = draft.attempt();
    let (Some(listening), Some(intent_at)) = (listening, draft.status.intent_at.as_ref()) else {
        return false;
    };
    let was_there = listening.pod.container_started_at.is_some_and(|started| started <= intent_at.0);
    let listing = draft.observed.livekit.egresses.get();
    let failed = listing.into_iter().flat_map(|listing| &listing.egresses).any(|egress| {
        let text = egress.error.to_ascii_lowercase();
        egress.attempt == attempt
            && egress.state == EgressState::Failed
            && (text.contains("could not connect") || text.contains("failed to connect"))
    });
    failed && was_there && draft.memory.heard < attempt
}

/// LiveKit has refused for so long, and so often, that this kind of egress will not come. Whatever else fails is tried again
/// for as long as the session lasts: a meeting outlives LiveKit's bad hour.
pub(super) fn is_refused_for_good(draft: &Draft<'_>) -> bool {
    draft.memory.refusals >= REFUSALS
        && draft
            .memory
            .refused
            .is_some_and(|(first, newest)| (newest - first).get_seconds() >= REFUSED_SECONDS)
}

/// LiveKit ended it because nobody was there ("Source closed"): no failure.
pub(super) fn ended_with_silence(draft: &Draft<'_>) -> bool {
    let attempt = draft.attempt();
    let listing = draft.observed.livekit.egresses.get();
    listing.is_some_and(|listing| {
        listing
            .egresses
            .iter()
            .any(|egress| egress.attempt == attempt && egress.state == EgressState::Complete)
    })
}

/// What became of the newest attempt, as `EgressActive` says it.
pub(super) fn last(draft: &mut Draft<'_>) -> Reason {
    let attempt = draft.attempt();
    if attempt == 0 {
        return Reason::Starting;
    }
    let outcome = draft.memory.start.as_ref().filter(|start| start.attempt == attempt);
    let ended = draft
        .observed
        .livekit
        .egresses
        .get()
        .and_then(|listing| listing.egresses.iter().find(|egress| egress.attempt == attempt));
    let said = |text: &str| if text.is_empty() { String::new() } else { format!("LiveKit said: {text}") };
    let (reason, message) = match (outcome.and_then(|start| start.outcome.as_ref()), ended) {
        (_, Some(egress)) => (reason_of(egress), said(&egress.error)),
        (Some(StartOutcome::NoCapacity), None) => (Reason::CapacityExhausted, String::new()),
        (Some(StartOutcome::Refused(text)), None) => (Reason::EgressRefused, said(text)),
        (Some(StartOutcome::NotSent), None) => (Reason::LiveKitUnreachable, String::new()),
        (Some(StartOutcome::RoomMissing), None) => (Reason::WaitingForRoom, String::new()),
        _ => (Reason::Starting, String::new()),
    };
    let message = if message.is_empty() { reason.sentence() } else { message };
    draft.egress_word = (Verdict::False, reason, message);
    reason
}

/// The condition reason of an egress that ended.
fn reason_of(egress: &Egress) -> Reason {
    match egress.state {
        EgressState::Failed => Reason::EgressFailed,
        EgressState::Aborted => Reason::EgressAborted,
        EgressState::LimitReached => Reason::EgressLimitReached,
        EgressState::Complete => Reason::Ended,
        EgressState::Starting | EgressState::Active | EgressState::Ending => Reason::Starting,
    }
}
