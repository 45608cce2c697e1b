//! The service's words and times as transcript events, and wall times as text.

use crate::gladia::message::{Utterance, UtteranceWord};
use crate::gladia::stream::Stream;
use roomscribe_transcript::{Final, MediaMs, SegmentId, Word};

const SAMPLES_PER_MS: u64 = 16;

/// Samples as milliseconds.
pub(crate) fn ms(samples: u64) -> MediaMs {
    MediaMs(samples / SAMPLES_PER_MS)
}

/// An utterance on the media clock, in samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Start in the speech session's stream, in ms: names an utterance that has no id.
    pub(crate) stream_ms: u64,
    pub(crate) text: String,
    language: Option<String>,
    confidence: Option<f32>,
    words: Vec<Word>,
}

impl Reading {
    pub(crate) fn new(utterance: &Utterance, stream: &Stream) -> Self {
        // What ends in bytes that were sent again ends, on the media clock, where those begin: then its length counts.
        let stretch = |from: f64, to: f64| {
            let (start, end) = (stream.media_at(from), stream.media_at(to));
            if end > start {
                (start, end)
            } else {
                (start, start + ((to - from).max(0.001) * 16_000.0) as u64)
            }
        };
        let is_whole = |word: &&UtteranceWord| stream.is_whole(word.start, word.end);
        let words = utterance.words.iter().filter(is_whole).map(|word| {
            let (start, end) = stretch(word.start, word.end);
            Word {
                w: word.word.trim().to_owned(),
                start_ms: ms(start),
                end_ms: ms(end),
                c: word.confidence.or(utterance.confidence).unwrap_or(0.0),
            }
        });
        let words: Vec<Word> = words.collect();
        let (start, end) = stretch(utterance.start, utterance.end);
        let last = words.iter().map(|word| word.end_ms.0 * SAMPLES_PER_MS).max().unwrap_or(0);
        if words.len() < utterance.words.len() {
            let start = words.first().map_or(start, |word| word.start_ms.0 * SAMPLES_PER_MS);
            return Self {
                start,
                end: last.max(start + SAMPLES_PER_MS),
                stream_ms: stream_ms(utterance.start),
                text: joined(&words),
                language: utterance.language.clone(),
                confidence: utterance.confidence,
                words,
            };
        }
        Self {
            start,
            end: if words.is_empty() { end } else { last.max(start + SAMPLES_PER_MS) },
            stream_ms: stream_ms(utterance.start),
            text: utterance.text.trim().to_owned(),
            language: utterance.language.clone(),
            confidence: utterance.confidence,
            words,
        }
    }

    pub(crate) fn middle(&self) -> u64 {
        self.start + (self.end - self.start) / 2
    }

    /// Without the words that `is_said` elsewhere, and without those that the service heard twice because bytes were sent
    /// again: media time never steps back inside an utterance. `None` when nothing is left.
    pub(crate) fn only_new(mut self, is_said: impl Fn(u64) -> bool) -> Option<Self> {
        if self.words.is_empty() {
            return (!self.text.is_empty() && !is_said(self.middle())).then_some(self);
        }
        let mut last: Option<(u64, u64)> = None;
        let before = self.words.len();
        self.words.retain(|word| {
            let (start, end) = (word.start_ms.0, word.end_ms.0.max(word.start_ms.0 + 1));
            let again = last.is_some_and(|(from, to)| {
                let shared = to.min(end).saturating_sub(start.max(from));
                end <= from || shared * 2 > (to - from).min(end - start)
            });
            // Its first quarter too: of a word that was cut by a broken connection, a half may have been said.
            let at = |quarters: u64| (start * 4 + (end - start) * quarters) * SAMPLES_PER_MS / 4;
            let keep = !again && !is_said(at(1)) && !is_said(at(2));
            if keep {
                last = Some((start, end));
            }
            keep
        });
        let (first, (_, end)) = (self.words.first()?, last?);
        if self.words.len() < before {
            (self.start, self.end) = (first.start_ms.0 * SAMPLES_PER_MS, end * SAMPLES_PER_MS);
            self.text = joined(&self.words);
        }
        Some(self)
    }

    pub(crate) fn into_final(self, seg: SegmentId, at: String) -> Final {
        Final {
            seg,
            start_ms: ms(self.start),
            end_ms: ms(self.end),
            speaker: None,
            language: self.language,
            text: self.text,
            words: self.words,
            confidence: self.confidence,
            at,
        }
    }
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.w.as_str()).collect::<Vec<_>>().join(" ")
}

fn stream_ms(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

/// Milliseconds since 1970 as RFC 3339, UTC.
pub(crate) fn rfc3339(wall_ms: u64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms as i64)
        .map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// The reverse.
pub(crate) fn parse_wall(text: &str) -> Option<u64> {
    text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok())
}
