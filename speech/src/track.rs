//! One audio channel of a session and who listens to it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::acoustic::AcousticTrack;
use crate::pool::{Heard, Job};
use crate::scripted::ScriptedTrack;
use crate::words::Word;

/// An utterance as in Gladia's `UtteranceDTO`; times in seconds of session audio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Utterance {
    pub(crate) text: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) language: String,
    /// `None` (JSON null) = not measured.
    pub(crate) confidence: Option<f64>,
    pub(crate) channel: u16,
    pub(crate) words: Vec<Word>,
    /// Target language → text. Sent as messages of their own.
    #[serde(skip)]
    pub(crate) translations: BTreeMap<String, String>,
}

/// What a channel gives.
pub(crate) enum TrackEvent {
    SpeechStart {
        time: f64,
        channel: u16,
    },
    SpeechEnd {
        time: f64,
        channel: u16,
    },
    Partial {
        number: u64,
        utterance: Utterance,
    },
    Final {
        number: u64,
        utterance: Utterance,
    },
    /// Audio to recognise; [`Track::heard`] takes the answer.
    Recognise(Job),
    /// The recogniser failed on this stretch: it has no final, and the client is told.
    Failed {
        start: f64,
        end: f64,
    },
}

/// One channel.
pub(crate) enum Track {
    Acoustic(Box<AcousticTrack>),
    Scripted(ScriptedTrack),
}

impl Track {
    /// Takes the next samples, −1 to 1, at the session's rate.
    pub(crate) fn push(&mut self, samples: &[f32], events: &mut Vec<TrackEvent>) {
        match self {
            Self::Acoustic(track) => track.push(samples, events),
            Self::Scripted(track) => track.push(samples.len() as u64, events),
        }
    }

    /// No more audio will come.
    pub(crate) fn finish(&mut self, events: &mut Vec<TrackEvent>) {
        match self {
            Self::Acoustic(track) => track.finish(events),
            Self::Scripted(track) => track.finish(events),
        }
    }

    /// The answer to a [`TrackEvent::Recognise`].
    pub(crate) fn heard(&mut self, heard: Heard, events: &mut Vec<TrackEvent>) {
        if let Self::Acoustic(track) = self {
            track.heard(heard, events);
        }
    }

    /// Seconds of audio whose final is being recognised.
    pub(crate) fn backlog(&self) -> f64 {
        match self {
            Self::Acoustic(track) => track.backlog(),
            Self::Scripted(_) => 0.0,
        }
    }
}
