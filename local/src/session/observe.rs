//! What this process knows of a session, in the plan's words. The worker's task is the pod, the one RTMP door its Service.

use super::Place;
use super::worker::{Ended, Stage};
use crate::stored::Stored;
use jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{
    Capture, CaptureMode, DesiredState, Exposure, ExternalAddress, Ingest, IngestTls, Limits,
    TranscriptionSessionSpec,
};
use roomscribe_gateway::sessions as api;
use roomscribe_plan::{
    Cluster, ContainerExit, Gate, Hearing, Known, LiveKit, Memory, Observed, Pod, PodState, Secrets, Service,
    Session, SpeechState, WorkerReport,
};
use roomscribe_worker::pipeline::{Report, State};

/// What `observe` reads.
pub(super) struct Facts<'a> {
    /// The document.
    pub stored: &'a Stored,
    /// Where RTMP arrives.
    pub place: &'a Place,
    /// How far the worker is.
    pub stage: &'a Stage,
    /// What it says.
    pub report: &'a Report,
    /// Since when it has said so of its publisher.
    pub since: Timestamp,
    /// The worker's task.
    pub task: Task,
    /// Name of an older session that has the room.
    pub held_by: Option<String>,
    /// LiveKit's side.
    pub livekit: LiveKit,
    /// What this process remembers.
    pub memory: Memory,
}

/// What is known of the worker's task beside its stage.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// When it began last.
    pub started_at: Timestamp,
    /// How often it began again, in this process and by new ones.
    pub restarts: u32,
    /// How it ended last in this process.
    pub exit: Option<ContainerExit>,
    /// It was asked to drain.
    pub leaving: bool,
    /// … because another one follows it.
    pub replaced: bool,
}

/// Everything that a plan rests on.
pub(super) fn observe(facts: Facts<'_>) -> Observed {
    let stored = facts.stored;
    let (pods, service) = cluster(&facts);
    let worker =
        (*facts.stage == Stage::Listening).then(|| worker(&pods, facts.report, facts.since)).flatten();
    Observed {
        session: Session {
            id: stored.id.to_string(),
            generation: None,
            created_at: created_at(stored),
            deleted_at: stored.stop_requested_at,
            has_finalizer: stored.finalizer,
            force_finalize: false,
            spec: spec(stored, facts.place),
            status: stored.status.clone(),
        },
        gate: Gate {
            // Settings are read once: another key needs another process.
            secrets: Known::Known(Secrets::Ready { version: 0 }),
            room_held_by: facts.held_by,
            queue_place: None,
            // Only an egress on this machine reaches a loopback address.
            livekit_is_public: facts.place.livekit_is_public || facts.place.is_loopback,
        },
        cluster: Cluster { pods: Known::Known(pods), service: Known::Known(service), refused: None },
        livekit: facts.livekit,
        worker,
        memory: facts.memory,
    }
}

fn created_at(stored: &Stored) -> Timestamp {
    stored.created_at.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One worker serves every attempt, so it is the first one's pod for ever: a newer one would be worth moving an egress to.
fn cluster(facts: &Facts<'_>) -> (Vec<Pod>, Option<Service>) {
    let state = match facts.stage {
        Stage::Listening => PodState::Listening,
        Stage::Opening(None) => PodState::NotListening,
        Stage::Opening(Some(trouble)) => {
            PodState::Pending(known(trouble.reason, Reason::StorageFailed), trouble.message.clone())
        }
        Stage::Ended(Ended::Broken(_)) if !facts.task.leaving => PodState::NotListening,
        Stage::Ended(_) => return (Vec::new(), None),
    };
    let attempt = 1;
    let pod = Pod {
        name: format!("{}-{attempt}", facts.stored.name),
        // Another task is another worker: it asks the speech service anew.
        uid: format!("{}-{}", facts.stored.id, facts.task.restarts),
        attempt,
        key_generation: 1,
        created_at: None,
        node: "local".into(),
        state,
        leaving: facts.task.leaving,
        ends_at: None,
        container_started_at: Some(facts.task.started_at),
        restarts: facts.task.restarts,
        last_exit: facts.task.exit.clone(),
    };
    let service = Service {
        address: Some((facts.place.host.clone(), facts.place.port)),
        created_at: created_at(facts.stored),
        selects: attempt,
        leaving: false,
    };
    (vec![pod], Some(service))
}

fn worker(pods: &[Pod], report: &Report, since: Timestamp) -> Option<WorkerReport> {
    let publisher = report.publisher.as_ref();
    let hearing = match (report.state, publisher) {
        (State::Silent, Some(publisher)) => Hearing::Silent(publisher.attempt),
        (_, Some(publisher)) => Hearing::Publishing(publisher.attempt),
        (_, None) => Hearing::Nobody,
    };
    Some(WorkerReport {
        pod: pods.first()?.name.clone(),
        hearing,
        since,
        speech: speech(report),
        trouble: trouble(report),
        media_ms: report.media_ms,
        audio_lost_ms: report.audio_lost_ms,
        last_error: report.last_error.clone(),
    })
}

/// Why it cannot do its work although it listens.
fn trouble(report: &Report) -> Option<Reason> {
    if !report.reason.is_empty() {
        return Some(known(report.reason, Reason::StorageFailed));
    }
    let publisher = report.publisher.as_ref().map_or("", |publisher| publisher.reason);
    (!publisher.is_empty()).then(|| known(publisher, Reason::UnsupportedAudio))
}

fn speech(report: &Report) -> SpeechState {
    let reason = report.speech.reason;
    match report.speech.state {
        "connecting" => SpeechState::Connecting,
        "live" => SpeechState::Live,
        "retrying" => SpeechState::Retrying(known(reason, Reason::UpstreamUnavailable)),
        "refused" => SpeechState::Refused(known(reason, Reason::SpeechOptionsRejected)),
        _ => SpeechState::Idle,
    }
}

fn known(word: &str, otherwise: Reason) -> Reason {
    Reason::named(word).unwrap_or(otherwise)
}

fn spec(stored: &Stored, place: &Place) -> TranscriptionSessionSpec {
    let request = &stored.request;
    let whole = |seconds: u32| i32::try_from(seconds).unwrap_or(i32::MAX);
    let mut spec = TranscriptionSessionSpec::for_room(request.room_name.clone());
    if stored.stop_requested_at.is_some() {
        spec.desired_state = DesiredState::Stopped;
    }
    spec.capture = Capture {
        mode: match request.capture.mode {
            api::CaptureMode::Auto => CaptureMode::Auto,
            api::CaptureMode::RoomComposite => CaptureMode::RoomComposite,
            api::CaptureMode::TrackEgress => CaptureMode::TrackEgress,
            api::CaptureMode::Push => CaptureMode::Push,
        },
        ..Capture::default()
    };
    let external = ExternalAddress { host: place.host.clone(), port: place.port.into() };
    let tls = (place.scheme == "rtmps").then(|| IngestTls { secret_name: "TLS_CERT".into() });
    spec.ingest = Ingest { exposure: Exposure::External, external: Some(external), tls, ..Ingest::default() };
    spec.limits = Limits {
        start_deadline_seconds: whole(request.limits.start_deadline_seconds),
        max_duration_seconds: whole(request.limits.max_duration_seconds),
        room_empty_timeout_seconds: whole(request.limits.room_empty_timeout_seconds),
    };
    spec
}
