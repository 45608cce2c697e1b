//! What every plan must keep, whatever was observed. Tests run it on each plan that they make.

use crate::START_UNKNOWN_SECONDS;
use crate::memory::How;
use crate::observed::{Egress, Listing, LiveKitError, Observed, Secrets};
use crate::plan::{Action, Plan};
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::DesiredState;
use roomscribe_crds::condition::{self, ConditionType};

/// The rules that `plan` breaks, as sentences; empty is what every test expects.
pub fn broken(observed: &Observed, plan: &Plan, now: Timestamp) -> Vec<String> {
    let mut broken = Vec::new();
    let mut must = |kept: bool, rule: &str| {
        if !kept {
            broken.push(rule.to_owned());
        }
    };
    starts(observed, plan, &mut must);
    intents(observed, plan, now, &mut must);
    endings(observed, plan, &mut must);
    words(observed, plan, now, &mut must);
    broken
}

fn actions(plan: &Plan) -> impl Iterator<Item = &Action> {
    plan.actions.iter().map(|planned| &planned.action)
}

fn live(observed: &Observed) -> Vec<&Egress> {
    observed.livekit.egresses.get().into_iter().flat_map(Listing::live).collect()
}

fn starts(observed: &Observed, plan: &Plan, must: &mut impl FnMut(bool, &str)) {
    let session = &observed.session;
    let recorded = session.status.attempt.and_then(|attempt| u32::try_from(attempt).ok());
    let begins = |action: &&Action| matches!(action, Action::StartEgress { .. } | Action::MoveEgress { .. });
    must(actions(plan).filter(begins).count() <= 1, "one plan begins at most one attempt");
    for action in actions(plan) {
        let (attempt, how) = match action {
            Action::StartEgress { attempt } => (*attempt, How::Start),
            Action::MoveEgress { id, from, to } => (*to, How::Move { egress: id.clone(), from: *from }),
            _ => continue,
        };
        must(recorded == Some(attempt), "only the attempt that the status holds is begun");
        let intent = observed.memory.intent.as_ref();
        must(
            intent.is_some_and(|intent| intent.attempt == attempt && intent.how == how),
            "only an intent that this process wrote is carried out",
        );
        must(session.has_finalizer, "nothing is started without the finalizer");
        must(session.deleted_at.is_none(), "nothing is started for a session that is being deleted");
        must(session.spec.desired_state == DesiredState::Running, "nothing is started for a stopped session");
        must(session.status.completed_at.is_none(), "nothing is started for a finished session");
        let address = observed.cluster.service.get().and_then(|service| service.as_ref()?.address.as_ref());
        must(
            !observed.gate.livekit_is_public
                || address.is_none_or(|(host, _)| !crate::address::only_this_machine(host)),
            "nothing is started towards an address that only this machine can reach",
        );
        must(observed.gate.room_held_by.is_none(), "nothing is started for a room that another session has");
        must(
            observed.livekit.error != Some(LiveKitError::CredentialsRefused),
            "nothing is started while LiveKit refuses the key",
        );
    }
    makes(observed, plan, must);
}

/// What costs money.
fn makes(observed: &Observed, plan: &Plan, must: &mut impl FnMut(bool, &str)) {
    let livekit = &observed.livekit;
    let push = observed.session.spec.capture.mode == roomscribe_crds::CaptureMode::Push;
    let waits = plan.memory.refusal.as_ref().is_some_and(|refusal| refusal.retry_at.is_some());
    let pods = observed.cluster.pods.get().map_or(&[][..], Vec::as_slice);
    for action in actions(plan) {
        let new_pod = match action {
            Action::EnsureWorker { attempt, .. } => pods.iter().all(|pod| pod.attempt != *attempt),
            Action::StartEgress { .. } | Action::MoveEgress { .. } | Action::WriteIntent { .. } => false,
            _ => continue,
        };
        must(!waits, "nothing is made or started while the speech service refuses");
        if !new_pod || push {
            continue;
        }
        must(
            livekit.egresses.get().is_some() || observed.session.status.attempt.is_some() || !pods.is_empty(),
            "no worker is made before LiveKit has answered once",
        );
        must(
            livekit.error != Some(LiveKitError::CredentialsRefused) || !live(observed).is_empty(),
            "no worker is made while LiveKit refuses the key",
        );
    }
}

fn intents(observed: &Observed, plan: &Plan, now: Timestamp, must: &mut impl FnMut(bool, &str)) {
    let old = observed.session.status.attempt.unwrap_or(0);
    let new = plan.status.attempt.unwrap_or(0);
    must(new >= old, "the attempt only goes up");
    let written: Vec<u32> = actions(plan)
        .filter_map(|action| match action {
            Action::WriteIntent { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    must(written.len() <= 1, "one plan intends at most one attempt");
    let push = observed.session.spec.capture.mode == roomscribe_crds::CaptureMode::Push;
    must(push || written.is_empty() == (new == old), "an attempt changes only with its intent");
    for attempt in written {
        must(i64::from(attempt) == i64::from(old) + 1, "attempts follow each other");
        must(
            !actions(plan)
                .any(|action| matches!(action, Action::StartEgress { .. } | Action::MoveEgress { .. })),
            "an intent is written before anything is begun, never in the same plan",
        );
        must(
            observed.memory.start.as_ref().is_none_or(|start| {
                start.outcome.is_some() || (now - start.at).get_seconds() >= START_UNKNOWN_SECONDS
            }),
            "no attempt is intended while a start is under way",
        );
        must(
            matches!(observed.gate.secrets.get(), Some(Secrets::Ready { .. })) || old > 0,
            "the first attempt needs the Secrets",
        );
    }
}

fn endings(observed: &Observed, plan: &Plan, must: &mut impl FnMut(bool, &str)) {
    let live = live(observed);
    let lets_go = actions(plan).any(|action| *action == Action::RemoveFinalizer);
    let session = &observed.session;
    if lets_go && session.status.completed_at.is_none() && !session.force_finalize {
        must(
            live.is_empty() || plan.memory.abandoned,
            "the finalizer stays while an egress is known to live",
        );
        must(
            session.status.attempt.is_none()
                || observed.livekit.egresses.get().is_some()
                || plan.memory.abandoned
                || session.spec.capture.mode == roomscribe_crds::CaptureMode::Push,
            "the finalizer stays until somebody has looked",
        );
        must(plan.status.completed_at.is_some(), "the finalizer goes with the end only");
    }
    for action in actions(plan) {
        if let Action::StopEgress { id } = action {
            must(live.iter().any(|egress| egress.id == *id), "only a live egress of this session is stopped");
        }
        if let Action::DeleteSession = action {
            must(session.status.completed_at.is_some(), "only a finished session is deleted");
        }
    }
}

fn words(observed: &Observed, plan: &Plan, now: Timestamp, must: &mut impl FnMut(bool, &str)) {
    let forced = observed.session.force_finalize;
    for kind in ConditionType::ALL {
        let condition = condition::find(&plan.status.conditions, kind);
        must(condition.is_some() || forced, "all condition types are there");
        must(condition.is_none_or(|condition| !condition.reason.is_empty()), "every condition has a reason");
        let old = condition::find(&observed.session.status.conditions, kind);
        let same = old.zip(condition).filter(|(old, new)| old.status == new.status);
        must(
            same.is_none_or(|(old, new)| old.last_transition_time == new.last_transition_time),
            "lastTransitionTime moves only with the status",
        );
    }
    let names: Vec<_> = plan.status.conditions.iter().map(|condition| &condition.type_).collect();
    must(
        (1..names.len()).all(|index| !names[..index].contains(&names[index])),
        "a condition type appears once",
    );
    for foreign in &observed.session.status.conditions {
        must(names.contains(&&foreign.type_), "conditions of others survive");
    }
    must(plan.wake_at.is_none_or(|at| at > now), "a plan wakes in the future");
    let over = plan.status.completed_at.is_some() || observed.session.deleted_at.is_some();
    must(plan.wake_at.is_some() || over || forced, "an active session always has a next look");
    must(plan.status.egresses.len() <= 60, "the list of egresses is bounded");
}
