//! What a session is told when it begins.

use roomscribe_transcript::{Generation, SessionId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A session as its worker knows it; part of the session file (contract §6), camelCase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Key of the log.
    pub session: SessionId,
    /// Attempt that this worker writes with.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// For the speech service's own metadata.
    pub room_name: String,
    /// What the speech service is asked for.
    #[serde(default)]
    pub speech: SpeechSettings,
    /// The session ends after this.
    #[serde(default = "twelve_hours", with = "seconds")]
    pub max_duration: Duration,
    /// A stop may take so long while the speech service still tells what it heard; at least 20 s.
    #[serde(skip, default = "a_minute")]
    pub longest_stop: Duration,
}

impl Settings {
    /// Defaults of contract §1.
    pub fn new(session: SessionId, generation: Generation, room_name: String) -> Self {
        Self {
            session,
            generation,
            room_name,
            speech: SpeechSettings::default(),
            max_duration: twelve_hours(),
            longest_stop: a_minute(),
        }
    }
}

/// Options of the speech service (contract §1 `spec.speech`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeechSettings {
    /// ISO 639-1; empty = detect.
    pub languages: Vec<String>,
    /// Detect the language of every utterance.
    pub code_switching: bool,
    /// Words to know.
    pub vocabulary: Vec<VocabularyEntry>,
    /// Target languages.
    pub translate_to: Vec<String>,
    /// Silence that ends an utterance.
    pub endpointing_milliseconds: u32,
    /// Ask for partials.
    pub partials: bool,
    /// A new speech session replaces one that is this old; the service's cap is 3 h.
    #[serde(with = "seconds", rename = "rolloverAfterSeconds")]
    pub rollover_after: Duration,
    /// A speech session without audio is ended after this, because it bills.
    #[serde(with = "seconds", rename = "idleCloseAfterSeconds")]
    pub idle_close_after: Duration,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            code_switching: false,
            vocabulary: Vec::new(),
            translate_to: Vec::new(),
            endpointing_milliseconds: 300,
            partials: true,
            rollover_after: Duration::from_secs(10_200),
            idle_close_after: Duration::from_secs(60),
        }
    }
}

/// A word and how it sounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VocabularyEntry {
    /// As written.
    pub value: String,
    /// As said.
    #[serde(default)]
    pub pronunciations: Vec<String>,
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

fn twelve_hours() -> Duration {
    Duration::from_secs(43_200)
}

/// Whole seconds in JSON.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
