//! The service's words and times as transcript events, and wall times as text.

use crate::audio::{AudioResume, MediaSamples};
use crate::gladia::message::Utterance;
use crate::gladia::stream::Stream;
use roomscribe_transcript::{Final, MediaMs, SegmentId, Word};
use std::time::Duration;

const SAMPLES_PER_MS: u64 = 16;

/// Samples as milliseconds.
pub(crate) fn ms(samples: u64) -> MediaMs {
    MediaMs(samples / SAMPLES_PER_MS)
}

/// A final on the media clock.
pub(crate) fn to_final(seg: SegmentId, utterance: &Utterance, stream: &Stream, at: &str) -> Final {
    let start_ms = ms(stream.media_at(utterance.start));
    let end_ms = MediaMs(ms(stream.media_at(utterance.end)).0.max(start_ms.0 + 1));
    let words = utterance.words.iter().map(|word| Word {
        w: word.word.trim().to_owned(),
        start_ms: ms(stream.media_at(word.start)),
        end_ms: ms(stream.media_at(word.end)),
        c: word.confidence.or(utterance.confidence).unwrap_or(0.0),
    });
    Final {
        seg,
        start_ms,
        end_ms,
        speaker: None,
        language: utterance.language.clone(),
        text: utterance.text.trim().to_owned(),
        words: words.collect(),
        confidence: utterance.confidence,
        at: at.to_owned(),
    }
}

/// Where media time stands after a restart that only the log survived: wall time is the one clock left.
pub(crate) fn resume_from(
    covered: u64,
    media_zero_wall_ms: u64,
    wall_ms: u64,
    as_of: Duration,
) -> AudioResume {
    let now = wall_ms.saturating_sub(media_zero_wall_ms) * SAMPLES_PER_MS;
    AudioResume {
        next: MediaSamples(covered),
        idle: Duration::from_millis(now.saturating_sub(covered) / SAMPLES_PER_MS),
        as_of,
    }
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
