//! Events as stored and as viewers see them (contract §4). JSON is camelCase; unknown fields are ignored by readers.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A session's canonical id: a UUID in lower case (contract §2). Key of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Takes a UUID; `None` when `text` is not one (the id becomes a folder's name, so nothing else may pass).
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::parse_str(text).ok().map(|id| Self(id.to_string().into()))
    }

    /// The id as it stands in URLs, paths and subjects.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position of a durable event in its session: contiguous from 1; 0 means "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset that follows.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The attempt of a record's writer (`gen`); a lower one than the log has seen is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// Milliseconds of media time since the session's first audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaMs(pub u64);

/// `<speech session ordinal>-<utterance id>`: names a segment for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentId(pub String);

/// Who speaks, and how we know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speaker {
    /// LiveKit identity, or a label of the diarization.
    pub id: String,
    /// For people.
    pub name: String,
    /// How the speaker was found.
    pub method: SpeakerMethod,
    /// 0..1.
    pub confidence: f32,
}

/// How a speaker was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeakerMethod {
    /// The audio came from this participant's own track.
    Track,
    /// LiveKit's active-speaker timing.
    ActiveSpeaker,
    /// Post-call diarization.
    Diarization,
    /// Not known.
    None,
}

/// One word with its media times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// The word as written, trimmed.
    pub w: String,
    /// Media time.
    pub start_ms: MediaMs,
    /// Media time.
    pub end_ms: MediaMs,
    /// Confidence, 0..1.
    pub c: f32,
}

/// A finished utterance: never changes but for a later `relabel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Final {
    /// Idempotency key: appending the same `seg` again returns the first offset.
    pub seg: SegmentId,
    /// Media time.
    pub start_ms: MediaMs,
    /// Media time, after `start_ms`.
    pub end_ms: MediaMs,
    /// Absent while no speaker source is configured.
    #[serde(default)]
    pub speaker: Option<Speaker>,
    /// ISO 639-1, as the speech service said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What was said.
    pub text: String,
    /// Empty when the speech service gave none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// RFC 3339 wall time of the append.
    pub at: String,
}

/// The newest reading of an unfinished utterance; replaced by `seg`, never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// The same as the final's, once it comes.
    pub seg: SegmentId,
    /// Rises with every reading of this segment.
    pub rev: u32,
    /// Head of the log when this was made: a viewer that has the segment's final drops it.
    pub after: Offset,
    /// Media time.
    pub start_ms: MediaMs,
    /// Media time.
    pub end_ms: MediaMs,
    /// As in [`Final`].
    #[serde(default)]
    pub speaker: Option<Speaker>,
    /// The whole text so far, not a delta.
    pub text: String,
}

/// A final in another language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Translation {
    /// The segment it translates.
    pub seg: SegmentId,
    /// Target, ISO 639-1.
    pub language: String,
    /// The translation.
    pub text: String,
}

/// A later, better speaker for words of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relabel {
    /// The segment.
    pub seg: SegmentId,
    /// In word order, without overlap.
    pub parts: Vec<RelabelPart>,
}

/// Words `from_word..to_word` (half-open) belong to `speaker`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelabelPart {
    /// First word's index.
    pub from_word: u32,
    /// One past the last word's index.
    pub to_word: u32,
    /// Who said them.
    pub speaker: Speaker,
}

/// The session changed state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// One word for people, as in the resource's `status.summary`.
    pub state: String,
    /// CamelCase, for programs.
    pub reason: String,
    /// Says who must act. Holds no secret and no transcript text.
    pub message: String,
}

/// Audio was lost between two media times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Media time.
    pub start_ms: MediaMs,
    /// Media time.
    pub end_ms: MediaMs,
    /// CamelCase cause.
    pub reason: String,
}

/// Nothing follows this event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// CamelCase cause, e.g. `RoomEnded`, `Stopped`.
    pub reason: String,
}

/// A durable event: it gets an offset and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    /// See [`Final`].
    Final(Final),
    /// See [`Translation`].
    Translation(Translation),
    /// See [`Relabel`].
    Relabel(Relabel),
    /// See [`Status`].
    Status(Status),
    /// See [`Gap`].
    Gap(Gap),
    /// The writer hands the session to a later attempt; not shown to viewers.
    Handover {},
    /// See [`End`].
    End(End),
}

/// An event with its place in the session: what a viewer receives, and the core of what is stored.
///
/// Its JSON begins with `type`, `offset` and `gen`, as the contract's examples do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    /// Contiguous from 1.
    pub offset: Offset,
    /// The writer's attempt.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Out<'a, T> {
            r#type: &'static str,
            offset: Offset,
            r#gen: Generation,
            #[serde(flatten)]
            body: &'a T,
        }
        fn out<S: Serializer, T: Serialize>(record: &Record, body: &T, to: S) -> Result<S::Ok, S::Error> {
            Out { r#type: record.event.kind(), offset: record.offset, r#gen: record.generation, body }
                .serialize(to)
        }
        match &self.event {
            Event::Final(body) => out(self, body, serializer),
            Event::Translation(body) => out(self, body, serializer),
            Event::Relabel(body) => out(self, body, serializer),
            Event::Status(body) => out(self, body, serializer),
            Event::Gap(body) => out(self, body, serializer),
            Event::Handover {} => out(self, &Nothing {}, serializer),
            Event::End(body) => out(self, body, serializer),
        }
    }
}

#[derive(Serialize)]
struct Nothing {}

impl Event {
    /// The event's `type` on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Final(_) => "final",
            Self::Translation(_) => "translation",
            Self::Relabel(_) => "relabel",
            Self::Status(_) => "status",
            Self::Gap(_) => "gap",
            Self::Handover {} => "handover",
            Self::End(_) => "end",
        }
    }
}

/// The writer's own record, stored with the event it belongs to and never shown to viewers (contract §5).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WriterNote {
    /// Ordinal of the speech session, from 1 (the first part of `seg`).
    pub speech_ordinal: u32,
    /// The speech service's id of that session.
    pub speech_session: Option<String>,
    /// Speech-stream byte up to which the service acknowledged.
    pub acked_byte: u64,
    /// Media position, in 16 kHz samples, up to which finals cover the audio.
    pub covered_samples: u64,
    /// Wall time of media 0, RFC 3339.
    pub media_zero_at: Option<String>,
    /// Speech sessions whose last word is not stored yet, oldest first: what a writer that lost its spool asks the
    /// speech service for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speech_sessions: Vec<SpeechSessionNote>,
    /// Media ranges, in 16 kHz samples, that hold voice but neither a final nor a gap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<(u64, u64)>,
}

/// A speech session whose last word is not stored yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeechSessionNote {
    /// First part of its segments' names.
    pub ordinal: u32,
    /// Its id at the speech service.
    pub id: String,
    /// Where bytes of its stream stand on the media clock: (byte, media sample, silence that does not move it).
    pub map: Vec<(u64, u64, bool)>,
    /// First media sample that is its own.
    pub from: u64,
    /// One past the last media sample that is its own; none while audio still goes to it.
    pub to: Option<u64>,
}
