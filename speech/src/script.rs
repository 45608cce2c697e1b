//! The timeline of the scripted recogniser.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the scripted recogniser hears, timed by received audio. JSON is camelCase, times are seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// In order of `start`, per channel.
    pub utterances: Vec<ScriptedUtterance>,
}

/// One utterance of a [`Script`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptedUtterance {
    /// First sound, seconds of session audio.
    pub start: f64,
    /// Last sound, seconds of session audio.
    pub end: f64,
    /// What is said.
    pub text: String,
    /// Language code of `text`.
    #[serde(default = "english")]
    pub language: String,
    /// Channel of the audio, from 0.
    #[serde(default)]
    pub channel: u16,
    /// Confidence of the utterance and of words that have none of their own.
    #[serde(default = "certain")]
    pub confidence: f64,
    /// Word timings; absent = spread over the utterance by length.
    #[serde(default)]
    pub words: Option<Vec<ScriptedWord>>,
    /// Target language code → text; sent when the session asks for translation into it.
    #[serde(default)]
    pub translations: BTreeMap<String, String>,
}

/// One word of a [`ScriptedUtterance`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptedWord {
    /// The word, with its leading space if it has one.
    pub word: String,
    /// Seconds of session audio.
    pub start: f64,
    /// Seconds of session audio.
    pub end: f64,
    /// 0 to 1.
    #[serde(default = "certain")]
    pub confidence: f64,
}

fn english() -> String {
    "en".into()
}

fn certain() -> f64 {
    1.0
}
