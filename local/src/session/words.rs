//! What people read in the session document: one word, its cause, and who must act.

use super::Place;
use super::advice::{self, advice};
use super::worker::{Stage, Trouble};
use crate::stored::Stored;
use jiff::Timestamp;
use roomscribe_crds::condition::{self, Condition, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{Summary, TranscriptionSessionStatus};
use roomscribe_gateway::sessions::CaptureMode;
use roomscribe_plan::{LiveKitError, Policy};
use roomscribe_worker::pipeline::{Report, State};
use serde_json::{Value, json};

/// State, reason and message of the session document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// One word of contract §1.
    pub state: &'static str,
    /// CamelCase.
    pub reason: String,
    /// Who must act; empty while nobody must.
    pub message: String,
}

/// What the words rest on; `status` is the plan's newest.
pub(super) struct Story<'a> {
    /// The document, as it was.
    pub stored: &'a Stored,
    /// What the plan says.
    pub status: &'a TranscriptionSessionStatus,
    /// How far the worker is.
    pub stage: &'a Stage,
    /// What the worker says.
    pub report: &'a Report,
    /// Where RTMP arrives.
    pub place: &'a Place,
    /// Why LiveKit cannot be asked.
    pub livekit: Option<LiveKitError>,
    /// LiveKit never confirmed that an egress ended.
    pub abandoned: bool,
}

/// The words for now.
pub(super) fn words(story: &Story<'_>) -> Words {
    if story.status.completed_at.is_some() {
        return over(story);
    }
    if story.status.summary == Some(Summary::Stopping) || story.stored.stop_requested_at.is_some() {
        return stopping(story);
    }
    if let Stage::Opening(Some(Trouble { reason, message })) = story.stage {
        return Words { state: "Recovering", reason: (*reason).into(), message: message.clone() };
    }
    if let Some(refused) = refused(story) {
        return refused;
    }
    match story.stored.request.capture.mode {
        CaptureMode::Push => pushed(story.report),
        _ => captured(story),
    }
}

/// The speech service refuses: it is tried again by itself, with or without LiveKit.
fn refused(story: &Story<'_>) -> Option<Words> {
    let speech = find(story, ConditionType::Transcribing)?;
    let reason = Reason::named(&speech.reason).filter(|reason| is_refusal(*reason))?;
    let next = speech.message.strip_prefix(&reason.sentence()).unwrap_or_default();
    let message = format!("{}.{next}", advice(reason, "", story.place));
    let message = match &story.report.last_error {
        Some(error) => format!("{message} ({error})"),
        None => message,
    };
    Some(Words { state: "Recovering", reason: speech.reason.clone(), message })
}

/// The speech service's last word.
pub(super) fn is_refusal(reason: Reason) -> bool {
    matches!(reason, Reason::CredentialsRejected | Reason::SpeechOptionsRejected)
}

fn over(story: &Story<'_>) -> Words {
    if let Some(failure) = &story.stored.failure {
        return Words { state: "Failed", reason: failure.reason.clone(), message: failure.message.clone() };
    }
    let ended = find(story, ConditionType::Succeeded);
    let reason = ended.map(|ended| ended.reason.clone()).unwrap_or_default();
    let state = summary(story.status);
    let message = match state {
        _ if story.abandoned => advice(Reason::EgressCleanupAbandoned, "", story.place),
        "Failed" => format!(
            "{} {}",
            ended.map(|ended| ended.message.as_str()).unwrap_or_default(),
            story.stored.cause
        ),
        _ => String::new(),
    };
    Words { state, reason, message: message.trim().to_owned() }
}

fn stopping(story: &Story<'_>) -> Words {
    let asked = story.stored.stop_requested_at.unwrap_or_else(Timestamp::now);
    let until =
        asked + std::time::Duration::from_secs(Policy::default().cleanup_deadline_seconds.unsigned_abs());
    let (reason, message) = match (&story.livekit, live(story)) {
        (None, None) => ("Draining", "the last words are on their way".to_owned()),
        (None, Some(egress)) => (
            "Draining",
            format!(
                "waiting for LiveKit to end egress {egress}, until {until:.0} at the latest; then the session ends without LiveKit's word"
            ),
        ),
        (Some(error), _) => {
            let cause = error.words();
            (
                error.reason().as_str(),
                format!(
                    "{cause}; the egress cannot be stopped yet. Trying on until {until:.0}, then the session ends without LiveKit's word"
                ),
            )
        }
    };
    Words { state: "Stopping", reason: reason.into(), message }
}

/// An egress that LiveKit has not ended.
fn live<'a>(story: &Story<'a>) -> Option<&'a str> {
    let live = story.status.egresses.iter().rev().find(|egress| egress.ended_at.is_none());
    live.map(|egress| egress.id.as_str())
}

/// The plan's words, with the names that the settings have here.
fn captured(story: &Story<'_>) -> Words {
    let ready = find(story, ConditionType::Ready);
    let reason = ready.map_or_else(|| Reason::Starting.to_string(), |ready| ready.reason.clone());
    let state = summary(story.status);
    let shown = ready.map(|ready| ready.message.as_str()).unwrap_or_default();
    let known = Reason::named(&reason);
    let mut message = known.map_or_else(|| shown.to_owned(), |known| advice(known, shown, story.place));
    let reason = known.map_or(reason, |known| advice::name(known).to_owned());
    if let (Some(error), "Failed" | "Recovering") = (&story.report.last_error, state) {
        message = format!("{message} ({error})");
    }
    Words { state, reason, message }
}

/// While it runs without LiveKit.
fn pushed(report: &Report) -> Words {
    let publisher_trouble = report.publisher.as_ref().map_or("", |publisher| publisher.reason);
    let (state, reason, message) = match (report.state, report.speech.state, report.speech.reason) {
        (State::Draining | State::Done, ..) => ("Stopping", "Draining", ""),
        _ if !report.reason.is_empty() => ("Recovering", report.reason, "nothing can be stored"),
        (State::Publishing | State::Silent, ..) if !publisher_trouble.is_empty() => {
            ("WaitingForAudio", publisher_trouble, "the publisher's audio is not AAC-LC: change its encoder")
        }
        (_, "refused", "CredentialsRejected") => (
            "Failed",
            "CredentialsRejected",
            "the speech service refused the key: mend GLADIA_API_KEY and restart",
        ),
        (_, "refused", reason) => {
            ("Failed", reason, "the speech service refused the session's options: mend `speech`")
        }
        (_, "retrying", "RateLimited") => (
            "Recovering",
            "RateLimited",
            "the speech account's limit is reached: trying again; end other sessions, or raise the limit there",
        ),
        (_, "retrying", reason) => ("Recovering", reason, "the speech service does not answer: trying again"),
        (State::Listening, ..) => {
            ("WaitingForAudio", "WaitingForPublisher", "publish RTMP to the URL in `ingest`")
        }
        (State::Silent, ..) => ("WaitingForAudio", "PublisherSilent", "the publisher sends nothing"),
        (State::Publishing, "live", _) => ("Live", "Transcribing", ""),
        (State::Publishing, ..) => ("Starting", "SpeechConnecting", ""),
    };
    let message = match &report.last_error {
        Some(error) if matches!(state, "Failed" | "Recovering") => format!("{message} ({error})"),
        _ => message.to_owned(),
    };
    Words { state, reason: reason.to_owned(), message }
}

fn find<'a>(story: &Story<'a>, kind: ConditionType) -> Option<&'a Condition> {
    condition::find(&story.status.conditions, kind)
}

fn summary(status: &TranscriptionSessionStatus) -> &'static str {
    match status.summary.unwrap_or_default() {
        Summary::Pending => "Pending",
        Summary::WaitingForRoom => "WaitingForRoom",
        Summary::Starting => "Starting",
        Summary::WaitingForAudio => "WaitingForAudio",
        Summary::Live => "Live",
        Summary::Recovering => "Recovering",
        Summary::Stopping => "Stopping",
        Summary::Succeeded => "Succeeded",
        Summary::Failed => "Failed",
    }
}

/// Contract §1 `status.usage`, as it is now.
pub(crate) fn usage(stored: &Stored, now: Timestamp) -> Value {
    let egress_seconds: i64 = stored
        .status
        .egresses
        .iter()
        .filter_map(|egress| {
            let to = egress.ended_at.as_ref().map_or(now, |time| time.0);
            Some(to.duration_since(egress.started_at.as_ref()?.0).as_secs().max(0))
        })
        .sum();
    json!({
        "egressSeconds": egress_seconds,
        "speechSeconds": stored.media_ms / 1000,
        "speechSessions": stored.speech_sessions,
        "audioLostMs": stored.audio_lost_ms,
    })
}
