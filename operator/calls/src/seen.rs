//! LiveKit's answers in the words of the plan. Pure.

use k8s_openapi::jiff::Timestamp;
use livekit_protocol::EgressStatus;
use roomscribe_livekit::view::{EgressView, RoomPeople};
use roomscribe_livekit::{ApiError, ErrorKind};
use roomscribe_plan::{Egress, EgressState, LiveKitError, Room, StartOutcome};

pub(crate) fn egress(view: EgressView) -> Egress {
    Egress {
        id: view.id,
        attempt: view.tag.attempt,
        origin: view.tag.origin,
        state: state(view.status),
        error: view.error,
        uses_chrome: view.uses_chrome,
        started_at: at(view.started_at_ns),
        ended_at: at(view.ended_at_ns),
    }
}

fn state(status: EgressStatus) -> EgressState {
    match status {
        EgressStatus::EgressStarting => EgressState::Starting,
        EgressStatus::EgressActive => EgressState::Active,
        EgressStatus::EgressEnding => EgressState::Ending,
        EgressStatus::EgressComplete => EgressState::Complete,
        EgressStatus::EgressFailed => EgressState::Failed,
        EgressStatus::EgressAborted => EgressState::Aborted,
        EgressStatus::EgressLimitReached => EgressState::LimitReached,
    }
}

/// LiveKit writes 0 for "not yet".
fn at(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(nanoseconds.into()).ok().filter(|_| nanoseconds > 0)
}

pub(crate) fn room(people: RoomPeople) -> Room {
    Room { participants: people.participants, open_microphones: people.open_microphones }
}

pub(crate) fn outcome(error: &ApiError) -> StartOutcome {
    match error.kind {
        ErrorKind::CredentialsRefused => StartOutcome::CredentialsRefused,
        ErrorKind::NotFound => StartOutcome::RoomMissing,
        ErrorKind::Refused => StartOutcome::Refused(error.message.clone()),
        ErrorKind::NoCapacity => StartOutcome::NoCapacity,
        ErrorKind::Unreachable => StartOutcome::NotSent,
        ErrorKind::Unknown => StartOutcome::Unknown,
    }
}

/// Why LiveKit cannot be asked.
pub(crate) fn trouble(error: &ApiError) -> LiveKitError {
    match (error.kind, error.status) {
        (ErrorKind::CredentialsRefused, _) => LiveKitError::CredentialsRefused,
        (_, Some(status)) => {
            LiveKitError::Failing { status, code: error.code.clone(), message: error.message.clone() }
        }
        (_, None) => LiveKitError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_crds::reason::Reason;

    #[test]
    fn only_an_answer_that_names_the_request_is_a_definite_no() {
        let error = |kind| ApiError { kind, status: None, code: String::new(), message: "m".into() };
        for (kind, no) in [
            (ErrorKind::CredentialsRefused, true),
            (ErrorKind::NotFound, true),
            (ErrorKind::Refused, true),
            (ErrorKind::NoCapacity, false),
            (ErrorKind::Unknown, false),
            (ErrorKind::Unreachable, true),
        ] {
            assert_eq!(outcome(&error(kind)).is_definite_no(), no, "{kind:?}");
        }
    }

    #[test]
    fn an_answer_is_never_called_no_answer() {
        for (kind, status, reason) in [
            (ErrorKind::CredentialsRefused, Some(401), Reason::CredentialsRefused),
            (ErrorKind::Unknown, Some(500), Reason::LiveKitFailing),
            (ErrorKind::Unknown, Some(502), Reason::LiveKitFailing),
            (ErrorKind::Refused, Some(404), Reason::LiveKitFailing),
            (ErrorKind::NoCapacity, Some(429), Reason::LiveKitFailing),
            (ErrorKind::Unknown, None, Reason::LiveKitUnreachable),
            (ErrorKind::Unreachable, None, Reason::LiveKitUnreachable),
        ] {
            let error = ApiError { kind, status, code: "internal".into(), message: "no".into() };
            assert_eq!(trouble(&error).reason(), reason, "{kind:?} {status:?}");
        }
    }

    #[test]
    fn a_time_of_zero_is_no_time() {
        assert_eq!(at(0), None);
        assert_eq!(at(1_000_000_000), Some(Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(1)));
    }
}
