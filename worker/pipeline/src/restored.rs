//! What a crash leaves: the spooled state, the spooled audio, and what the log says.

use crate::gladia::stream::{Entry, Stream};
use crate::types::SpeechUrl;
use bytes::Bytes;
use roomscribe_transcript::{MediaMs, WriterNote};
use serde::{Deserialize, Serialize};

/// A stretch of media time.
pub type MediaRange = (MediaMs, MediaMs);

/// What a restarted worker needs of its speech sessions (spooled).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeechState {
    /// Ordinal of the newest speech session; 0 = none yet.
    pub ordinal: u32,
    /// Speech sessions whose last word is not stored yet, oldest first.
    pub sessions: Vec<SessionState>,
    /// Media sample before which all audio has its final, is silent, or is in `owed`.
    pub covered: u64,
    /// Voice without a final or a gap: (start, end) in media samples.
    pub owed: Vec<(u64, u64)>,
    /// Wall time of media 0, milliseconds since 1970.
    pub media_zero_wall_ms: Option<u64>,
    /// Media position after the last audio received.
    pub heard: u64,
    /// Wall time of the last audio received, milliseconds since 1970.
    pub heard_wall_ms: u64,
}

/// One speech session (spooled).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionState {
    /// First part of its segments' names.
    pub ordinal: u32,
    /// Its id at the service.
    pub id: String,
    /// Its URL, a secret: the spool is readable by its owner only.
    pub url: Option<SpeechUrl>,
    /// Acknowledged bytes of its stream.
    pub acked: u64,
    /// Where stream bytes stand on the media clock.
    pub map: Vec<Entry>,
    /// First media sample that is its own.
    pub from: u64,
    /// One past the last media sample that is its own; none while audio still goes to it.
    pub to: Option<u64>,
    /// A connection of it broke and was made again: finals may have been lost with the first.
    pub resumed: bool,
}

impl SessionState {
    /// Its map as the log keeps it.
    pub(crate) fn notes(&self, most: usize) -> Vec<(u64, u64, bool)> {
        Stream::restored(self.map.clone(), self.acked).notes(most)
    }
}

/// What a crash left.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// From the spool.
    pub state: Option<SpeechState>,
    /// From the spool: (media sample, s16le), ascending.
    pub pcm: Vec<(u64, Bytes)>,
    /// From the log: the newest.
    pub note: Option<WriterNote>,
    /// From the log: where finals stand.
    pub finals: Vec<MediaRange>,
    /// From the log: where gaps stand.
    pub gaps: Vec<MediaRange>,
    /// From the log: its newest event is a `handover`, so `note` stands for everything that was heard before.
    pub handed_over: bool,
    /// How many pipelines this process had before: answers to an earlier one's questions are not taken for its own.
    pub incarnation: u32,
}
