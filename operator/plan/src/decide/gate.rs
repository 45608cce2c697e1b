//! May the session start anything? What runs already is not stopped by a gate that closes later: a Secret that is
//! deleted in mid-meeting must not cost the transcript.

use super::draft::Draft;
use crate::observed::{Known, LiveKitError, Secrets};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, Exposure};

/// Sets `Accepted`; true when things may be started.
pub(super) fn open(draft: &mut Draft<'_>) -> bool {
    let begun = draft.status.attempt.is_some() || !draft.pods().is_empty();
    match refusal(draft) {
        Some((reason, message)) if !begun => {
            draft.set(ConditionType::Accepted, Verdict::False, reason, &message);
            // Nobody tells of a Secret that was just made.
            draft.wake_in(10);
            false
        }
        // Audio that flows needs no LiveKit: `EgressActive` says it beside.
        Some((reason, message)) if matches!(reason, Reason::CredentialsRefused) && !may_be_heard(draft) => {
            draft.set(ConditionType::Accepted, Verdict::False, reason, &message);
            true
        }
        _ => {
            let reason = if in_clear(draft) { Reason::AcceptedWithoutTls } else { Reason::Accepted };
            let message =
                if in_clear(draft) { "audio crosses networks in clear text: set ingest.tls" } else { "" };
            draft.set(ConditionType::Accepted, Verdict::True, reason, message);
            true
        }
    }
}

/// A process that has just begun has not heard from the worker; what was Ready may still be.
fn may_be_heard(draft: &Draft<'_>) -> bool {
    let was = condition::is_true(&draft.observed.session.status.conditions, ConditionType::Ready);
    draft.is_heard() || (was && draft.observed.worker.is_none() && draft.is_young())
}

fn refusal(draft: &Draft<'_>) -> Option<(Reason, String)> {
    let gate = &draft.observed.gate;
    if draft.observed.session.spec.capture.mode == CaptureMode::TrackEgress {
        let reason = Reason::CaptureModeUnavailable;
        return Some((reason, reason.sentence()));
    }
    match &gate.secrets {
        Known::Unknown => return Some((Reason::SecretNotFound, "the Secrets have not been read yet".into())),
        Known::Known(Secrets::Missing(name)) => {
            return Some((Reason::SecretNotFound, format!("create Secret {name}")));
        }
        Known::Known(Secrets::KeyMissing(key)) => {
            return Some((Reason::SecretKeyMissing, format!("add {key}")));
        }
        Known::Known(Secrets::Disabled) => {
            let message = "this installation reads no Secrets: set credentials.perSession=true, or remove livekitRef and speech.secretRef";
            return Some((Reason::PerSessionCredentialsDisabled, message.into()));
        }
        Known::Known(Secrets::Ready { .. }) => {}
    }
    if draft.observed.livekit.error == Some(LiveKitError::CredentialsRefused) && needs_livekit(draft) {
        let message = "LiveKit refused the API key: mend apiKey and apiSecret";
        return Some((Reason::CredentialsRefused, message.into()));
    }
    // After its own troubles: a session that could not run anyway must not look like one that waits for the room.
    if let Some(name) = &gate.room_held_by {
        let message = format!("session {name} transcribes this room already: use it, or stop it first");
        return Some((Reason::RoomAlreadyTranscribed, message));
    }
    gate.queue_place.map(|place| {
        (Reason::ConcurrencyLimited, format!("place {place} in the queue; speech.maxConcurrent is in use"))
    })
}

pub(super) fn needs_livekit(draft: &Draft<'_>) -> bool {
    draft.observed.session.spec.capture.mode != CaptureMode::Push
}

fn in_clear(draft: &Draft<'_>) -> bool {
    let ingest = &draft.observed.session.spec.ingest;
    draft.observed.gate.livekit_is_public
        && ingest.tls.is_none()
        && ingest.exposure != Exposure::ClusterIP
        && needs_livekit(draft)
}
