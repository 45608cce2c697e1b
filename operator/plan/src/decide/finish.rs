//! How a session ends: egress first, then the worker drains, then the Service goes, then the finalizer.

use super::draft::Draft;
use super::{egress, failure, gate, room, tell};
use crate::backoff::seconds;
use crate::observed::{Known, LiveKitError, PodState};
use crate::plan::{Action, Ask, EventKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::DesiredState;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

/// While an egress ends, it is looked at so often.
const STOP_LOOK_SECONDS: i64 = 2;

/// Why it ends, and whether that is what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    verdict: Verdict,
    reason: Reason,
}

const ENDINGS: [Ending; 6] = [
    Ending { verdict: Verdict::True, reason: Reason::Stopped },
    Ending { verdict: Verdict::True, reason: Reason::RoomEnded },
    Ending { verdict: Verdict::True, reason: Reason::MaxDuration },
    Ending { verdict: Verdict::False, reason: Reason::StartDeadlineExceeded },
    Ending { verdict: Verdict::False, reason: Reason::AttemptsExhausted },
    Ending { verdict: Verdict::False, reason: Reason::AddressTimeout },
];

fn ending_of(reason: Reason) -> Ending {
    ENDINGS.into_iter().find(|ending| ending.reason == reason).unwrap_or(ENDINGS[0])
}

/// Must it end? What was begun by an earlier plan is gone on with, whatever has changed since.
pub(super) fn ending(draft: &Draft<'_>) -> Option<Ending> {
    let begun = condition::find(&draft.status.conditions, ConditionType::Succeeded)
        .and_then(|old| ENDINGS.into_iter().find(|ending| ending.reason.as_str() == old.reason));
    if begun.is_some() {
        return begun;
    }
    let session = &draft.observed.session;
    if session.deleted_at.is_some() || session.spec.desired_state == DesiredState::Stopped {
        return Some(ending_of(Reason::Stopped));
    }
    let limits = &session.spec.limits;
    let started = draft.status.started_at.as_ref().map_or(session.created_at, |time| time.0);
    if draft.since(started) >= limits.max_duration_seconds.into() {
        return Some(ending_of(Reason::MaxDuration));
    }
    if room::has_ended(draft) {
        return Some(ending_of(Reason::RoomEnded));
    }
    if address_timed_out(draft) {
        return Some(ending_of(Reason::AddressTimeout));
    }
    if failure::is_refused_for_good(draft) {
        return Some(ending_of(Reason::AttemptsExhausted));
    }
    let late = draft.since(session.created_at) >= limits.start_deadline_seconds.into();
    (late && !was_ready(draft)).then(|| ending_of(Reason::StartDeadlineExceeded))
}

/// It has been ready once: from then on it heals as long as it lasts.
pub(super) fn was_ready(draft: &Draft<'_>) -> bool {
    condition::find(&draft.status.conditions, ConditionType::Succeeded)
        .is_some_and(|old| old.reason == Reason::Running.as_str())
}

/// A load balancer that gets no address is not paid for any longer. One that loses it later is waited for.
fn address_timed_out(draft: &Draft<'_>) -> bool {
    let limit = draft.observed.session.spec.ingest.address_timeout_seconds;
    let service = draft.observed.cluster.service.get().and_then(Option::as_ref);
    let addressless = service.filter(|service| service.address.is_none() && !service.leaving);
    (draft.attempt() == 0 || !gate::needs_livekit(draft))
        && !was_ready(draft)
        && addressless.is_some_and(|service| draft.since(service.created_at) >= limit.into())
}

/// One step of the way out.
pub(super) fn end(draft: &mut Draft<'_>, ending: Ending) {
    let session = &draft.observed.session;
    if session.force_finalize && session.deleted_at.is_some() {
        forced(draft);
        let _ = children_are_gone(draft, ending.reason, true);
        return draft.act(Action::RemoveFinalizer, ending.reason);
    }
    let now = draft.now;
    let since =
        *draft.memory.stopping_since.get_or_insert_with(|| session.deleted_at.unwrap_or(now).min(now));
    let deadline = draft.policy.cleanup_deadline_seconds;
    let late = draft.since(since) >= deadline;
    tell::ending(draft, ending.reason);
    let until = since + seconds(deadline);
    draft.wake_at(until);
    if !egresses_are_gone(draft, ending.reason) {
        let what = awaited(draft, until);
        tell::waits_for(draft, ending.reason, &what);
        if !late {
            return draft.wake_in(STOP_LOOK_SECONDS);
        }
        abandon(draft);
    }
    if !children_are_gone(draft, ending.reason, late) {
        let what = format!(
            "Waiting until the worker has drained and its pod and Service are gone, at most until {until:.0}."
        );
        tell::waits_for(draft, ending.reason, &what);
        return draft.wake_in(5);
    }
    draft.status.completed_at = Some(Time(now));
    tell::ended(draft, ending.verdict, ending.reason);
    if draft.observed.session.has_finalizer {
        draft.act(Action::RemoveFinalizer, ending.reason);
    }
}

/// What LiveKit still has to do, or to say.
fn awaited(draft: &Draft<'_>, until: Timestamp) -> String {
    let ids: Vec<_> = draft.live().iter().map(|egress| egress.id.clone()).collect();
    let error = draft.observed.livekit.error.as_ref().map(LiveKitError::words);
    let error = error.map_or_else(String::new, |words| format!(" {words}."));
    let what = match (ids.as_slice(), draft.status.intent_at.as_ref()) {
        ([], Some(intent)) if draft.start_is_unknown() => {
            let sure = intent.0 + seconds(draft.policy.start_unknown_seconds);
            format!(
                "LiveKit did not say whether attempt {} started: it is looked for until {sure:.0}",
                draft.attempt()
            )
        }
        ([], _) => "Waiting for LiveKit to say that no egress runs".to_owned(),
        (ids, _) => format!("Waiting for LiveKit to end {}", ids.join(", ")),
    };
    format!("{what}; given up at {until:.0}.{error}")
}

/// True when nothing can be feeding, or about to feed, this session.
fn egresses_are_gone(draft: &mut Draft<'_>, why: Reason) -> bool {
    if !gate::needs_livekit(draft) || draft.attempt() == 0 {
        return true;
    }
    for egress in draft.live() {
        egress::stop(draft, &egress.id, why);
        tell::record(draft, egress);
    }
    let calling = draft.call_is_open();
    let listing = draft.fresh_listing();
    let nothing_live = listing.map(|listing| listing.live().next().is_none());
    // A stop takes a third of a second, so a listing in which it lives is old soon.
    let old = listing.is_none_or(|listing| draft.since(listing.at) >= STOP_LOOK_SECONDS);
    if draft.start_is_unknown() || (old && nothing_live != Some(true)) {
        draft.ask(Ask::Egresses, why);
    }
    nothing_live == Some(true) && !calling && !draft.start_is_unknown()
}

/// Somebody has asked to let the resource go whatever LiveKit says: what may still be running is named.
fn forced(draft: &mut Draft<'_>) {
    abandoned(draft, |what| {
        format!(
            "Let go by force: nobody has confirmed that the egress has ended ({what}). Stop it in LiveKit; with pod and Service gone it ends by itself"
        )
    });
}

fn abandon(draft: &mut Draft<'_>) {
    abandoned(draft, |what| {
        format!(
            "LiveKit did not confirm that the egress has ended ({what}); with pod and Service gone it ends by itself"
        )
    });
}

/// Tells once of what may still be running; nothing, where nothing may.
fn abandoned(draft: &mut Draft<'_>, note: impl FnOnce(&str) -> String) {
    let named = draft.status.egresses.iter().filter(|record| record.ended_at.is_none());
    let mut ids: Vec<_> = named.map(|record| record.id.clone()).collect();
    ids.extend(draft.live().iter().map(|egress| egress.id.clone()));
    ids.sort();
    ids.dedup();
    let unknown = draft.start_is_unknown();
    // Of an attempt of which nothing is known, nobody can say that nothing runs.
    let unseen = draft.attempt() > 0 && draft.observed.livekit.egresses.get().is_none();
    if (ids.is_empty() && !unknown && !unseen) || std::mem::replace(&mut draft.memory.abandoned, true) {
        return;
    }
    let what = match ids.as_slice() {
        [] if unknown => "a start that LiveKit did not answer".to_owned(),
        [] => format!("attempt {}, if it runs", draft.attempt()),
        ids => ids.join(", "),
    };
    let note = note(&what);
    draft.act(Action::Event { kind: EventKind::Warning, note }, Reason::EgressCleanupAbandoned);
}

fn children_are_gone(draft: &mut Draft<'_>, why: Reason, late: bool) -> bool {
    let pods_gone = match &draft.observed.cluster.pods {
        Known::Unknown => false,
        Known::Known(pods) => {
            if pods.iter().any(|pod| !pod.leaving) {
                draft.act(Action::StopWorker { reason: why }, why);
            }
            for pod in pods.iter().filter(|pod| pod.leaving && pod.state == PodState::NodeLost) {
                draft.act(Action::DeletePod { name: pod.name.clone() }, Reason::NodeLost);
            }
            pods.is_empty() || (late && pods.iter().all(|pod| pod.leaving))
        }
    };
    if !pods_gone {
        return false;
    }
    match &draft.observed.cluster.service {
        Known::Unknown => false,
        Known::Known(None) => true,
        Known::Known(Some(service)) => {
            if !service.leaving {
                draft.act(Action::DeleteService, why);
            }
            late && service.leaving
        }
    }
}

/// It has ended: let go, and tidy up in time.
pub(super) fn finished(draft: &mut Draft<'_>) {
    let session = &draft.observed.session;
    if session.has_finalizer {
        draft.act(Action::RemoveFinalizer, Reason::Ended);
    }
    let Some(completed) = draft.status.completed_at.as_ref().map(|time| time.0) else { return };
    let due = completed + seconds(session.spec.ttl_seconds_after_finished.into());
    if session.deleted_at.is_some() {
        return;
    }
    if due <= draft.now {
        draft.act(Action::DeleteSession, Reason::Ended);
        draft.wake_in(30);
    } else {
        draft.wake_at(due);
    }
}
