//! Words of a status that may wait a second: a session on its way changes them a dozen times.

use crate::cells::{Cell, lock};
use roomscribe_crds::TranscriptionSessionStatus;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{Action, Plan};
use std::time::Duration;

/// Between two writes of words.
const SPACING: Duration = Duration::from_secs(1);
/// And where only the record of egresses, times and usage differs: what follows on Ready comes in one write.
const RECORD_SPACING: Duration = Duration::from_secs(3);

/// How long the write of this plan's status may still wait; `None`: it is due, or there is nothing to write.
pub(super) fn later(cell: &Cell, before: &TranscriptionSessionStatus, plan: &Plan) -> Option<Duration> {
    if plan.status == *before || !is_words(before, &plan.status) || gives_up(plan) {
        return None;
    }
    let wrote_at = *lock(&cell.wrote_at);
    let record_only = before.conditions == plan.status.conditions && before.summary == plan.status.summary;
    let spacing = if record_only { RECORD_SPACING } else { SPACING };
    spacing.checked_sub(wrote_at?.elapsed()).filter(|left| !left.is_zero())
}

/// Nothing rests on the difference: no attempt, no end, no change of Ready or of what people asked for.
fn is_words(before: &TranscriptionSessionStatus, after: &TranscriptionSessionStatus) -> bool {
    let verdict = |status: &TranscriptionSessionStatus, kind| {
        condition::find(&status.conditions, kind).map(|condition| condition.status.clone())
    };
    let same = |kind| verdict(before, kind) == verdict(after, kind);
    before.attempt == after.attempt
        && before.completed_at == after.completed_at
        && before.observed_generation == after.observed_generation
        && [ConditionType::Accepted, ConditionType::Ready, ConditionType::Succeeded].into_iter().all(same)
}

/// The plan's memory says that this was told: it is told once, and does not come again with later words.
fn gives_up(plan: &Plan) -> bool {
    plan.actions.iter().any(|planned| {
        planned.why == Reason::EgressCleanupAbandoned && matches!(planned.action, Action::Event { .. })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use roomscribe_crds::condition::Verdict;
    use roomscribe_plan::{EventKind, Memory, Planned};
    use std::time::Instant;

    fn status(ready: Verdict, reason: Reason) -> TranscriptionSessionStatus {
        let mut status = TranscriptionSessionStatus::default();
        let now = Time(Timestamp::UNIX_EPOCH);
        condition::set(&mut status.conditions, ConditionType::Ready, ready, reason, "", None, &now);
        status
    }

    fn plan(status: TranscriptionSessionStatus) -> Plan {
        Plan { actions: Vec::new(), status, memory: Memory::default(), wake_at: None }
    }

    #[test]
    fn words_wait_for_the_last_words_but_an_attempt_and_a_verdict_never_do() {
        let cell = Cell::default();
        *lock(&cell.wrote_at) = Some(Instant::now());
        let before = status(Verdict::False, Reason::PodPending);
        let words = status(Verdict::False, Reason::AddressPending);
        assert!(later(&cell, &before, &plan(words.clone())).is_some());
        assert_eq!(later(&cell, &before, &plan(before.clone())), None);
        assert_eq!(later(&cell, &before, &plan(status(Verdict::True, Reason::Ready))), None);
        let intent = TranscriptionSessionStatus { attempt: Some(1), ..words };
        assert_eq!(later(&cell, &before, &plan(intent)), None);
    }

    #[test]
    fn the_record_of_an_egress_waits_longer_than_words() {
        let cell = Cell::default();
        *lock(&cell.wrote_at) = Instant::now().checked_sub(SPACING);
        let before = status(Verdict::True, Reason::Ready);
        let started_at = Some(Time(Timestamp::UNIX_EPOCH));
        let record = TranscriptionSessionStatus { started_at, ..before.clone() };
        assert!(later(&cell, &before, &plan(record)).is_some());
        assert_eq!(later(&cell, &before, &plan(status(Verdict::True, Reason::WaitingForAudio))), None);
    }

    #[test]
    fn an_egress_that_is_given_up_is_told_at_once() {
        let cell = Cell::default();
        *lock(&cell.wrote_at) = Some(Instant::now());
        let before = status(Verdict::False, Reason::PodPending);
        let mut plan = plan(status(Verdict::False, Reason::Stopped));
        assert!(later(&cell, &before, &plan).is_some());
        plan.actions.push(Planned {
            action: Action::Event { kind: EventKind::Warning, note: String::new() },
            why: Reason::EgressCleanupAbandoned,
        });
        assert_eq!(later(&cell, &before, &plan), None);
    }

    #[test]
    fn the_first_words_never_wait() {
        let cell = Cell::default();
        let (before, after) =
            (status(Verdict::False, Reason::PodPending), status(Verdict::False, Reason::Starting));
        assert_eq!(later(&cell, &before, &plan(after)), None);
    }
}
