//! Each condition's word: verdict, reason, message.

use super::draft::Draft;
use super::worker;
use crate::observed::{Known, PodState, SpeechState};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

pub(super) type Word = (Verdict, Reason, String);

fn word(verdict: Verdict, reason: Reason) -> Word {
    let message = if verdict == Verdict::True { String::new() } else { reason.sentence() };
    (verdict, reason, message)
}

pub(super) fn worker(draft: &Draft<'_>) -> Word {
    match draft.pod().map(|pod| &pod.state) {
        None if draft.observed.cluster.refused.is_some() => refused(draft),
        None if !draft.pods().is_empty() => word(Verdict::False, Reason::Terminating),
        Some(PodState::Listening) => word(Verdict::True, Reason::Listening),
        Some(PodState::Pending(reason, text)) => (Verdict::False, *reason, text.clone()),
        Some(PodState::Failed(reason)) => word(Verdict::False, *reason),
        Some(PodState::NodeLost) => word(Verdict::False, Reason::NodeLost),
        Some(PodState::NotListening) if draft.crash_loops() => word(Verdict::False, Reason::CrashLooping),
        Some(PodState::NotListening) if draft.pod().is_some_and(|pod| pod.last_exit.is_some()) => {
            word(Verdict::False, Reason::WorkerRestarting)
        }
        Some(PodState::NotListening | PodState::Done) | None => word(Verdict::False, Reason::PodPending),
    }
}

/// What the API server would not make, in its own words.
fn refused(draft: &Draft<'_>) -> Word {
    let (reason, text) =
        draft.observed.cluster.refused.clone().unwrap_or((Reason::QuotaExceeded, String::new()));
    (Verdict::False, reason, text)
}

pub(super) fn ingest(draft: &Draft<'_>) -> Word {
    let Known::Known(service) = &draft.observed.cluster.service else {
        return word(Verdict::Unknown, Reason::AddressPending);
    };
    let limit = i64::from(draft.observed.session.spec.ingest.address_timeout_seconds);
    match service {
        None if draft.observed.cluster.refused.is_some() => refused(draft),
        Some(service) if service.address.is_some() => address_word(draft),
        Some(service) if draft.since(service.created_at) >= limit => {
            word(Verdict::False, Reason::AddressTimeout)
        }
        _ => word(Verdict::False, Reason::AddressPending),
    }
}

/// The address is known; is it one that LiveKit reaches?
fn address_word(draft: &Draft<'_>) -> Word {
    if let Some(host) = worker::only_ours(draft) {
        let message = format!("LiveKit's egress would be told {host}: {}", Reason::AddressLoopback.action());
        return (Verdict::False, Reason::AddressLoopback, message);
    }
    if draft.memory.unreachable {
        return (Verdict::False, Reason::Unreachable, Reason::Unreachable.sentence());
    }
    word(Verdict::True, Reason::AddressReady)
}

/// A worker that is not there yet is asked nothing.
pub(super) fn speech(draft: &Draft<'_>, worker: &Word) -> Word {
    let report = draft.observed.worker.as_ref();
    if draft.memory.rejected_version.is_some() {
        let reason = match report.map(|report| &report.speech) {
            Some(SpeechState::Refused(reason)) => *reason,
            _ => Reason::CredentialsRejected,
        };
        return word(Verdict::False, reason);
    }
    if let Some((report, reason)) = report.and_then(|report| Some((report, report.trouble?))) {
        let message = report.last_error.clone().unwrap_or_else(|| reason.sentence());
        return (Verdict::False, reason, message);
    }
    match draft.observed.worker.as_ref().map(|report| &report.speech) {
        None if worker.0 != Verdict::True => (Verdict::Unknown, worker.1, worker.2.clone()),
        None => word(Verdict::Unknown, Reason::WorkerUnreachable),
        Some(SpeechState::Live) => word(Verdict::True, Reason::SpeechConnected),
        Some(SpeechState::Idle) => word(Verdict::Unknown, Reason::SpeechIdle),
        Some(SpeechState::Connecting) => word(Verdict::Unknown, Reason::SpeechConnecting),
        Some(SpeechState::Retrying(reason) | SpeechState::Refused(reason)) => word(Verdict::False, *reason),
    }
}

/// True when everything that we own is up; otherwise the first failing reason.
pub(super) fn ready(draft: &Draft<'_>, words: &[(ConditionType, Word); 4]) -> Word {
    if let Some((reason, message)) = refusal(draft) {
        return (Verdict::False, reason, message);
    }
    for (kind, (verdict, reason, message)) in words {
        let speech_may_wait = *kind == ConditionType::Transcribing && *verdict == Verdict::Unknown;
        if *verdict != Verdict::True && !speech_may_wait {
            return (Verdict::False, *reason, message.clone());
        }
    }
    let silent = words[2].1.1 == Reason::WaitingForAudio;
    (Verdict::True, if silent { Reason::WaitingForAudio } else { Reason::Ready }, String::new())
}

/// Why the session is not accepted.
pub(super) fn refusal(draft: &Draft<'_>) -> Option<(Reason, String)> {
    let accepted = condition::find(&draft.status.conditions, ConditionType::Accepted)?;
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == accepted.reason);
    (accepted.status == "False").then(|| (*reason.unwrap_or(&Reason::Starting), accepted.message.clone()))
}
