//! AAC to PCM on the media clock: FLV audio bodies in, s16 mono 16 kHz and gaps out.

mod asc;
mod clock;
mod decode;
mod flv;
mod path;
mod rejoin;
mod resample;
mod stats;

pub use path::AudioPath;
pub use stats::AudioStats;

/// Samples per second of what goes to the speech service.
pub const SAMPLE_RATE: u32 = 16_000;

/// A position on the session's media clock, in 16 kHz samples since media 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MediaSamples(pub u64);

/// What a restarted worker knows of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioResume {
    /// Where the next sample would have stood.
    pub next: MediaSamples,
    /// How long before `as_of` the last audio came.
    pub idle: std::time::Duration,
    /// When that was so, on the new process's monotonic clock.
    pub as_of: std::time::Duration,
}

/// What comes out of the audio path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioOut {
    /// Audio, or silence that stands for audio that never came.
    Pcm {
        /// First sample's place.
        at: MediaSamples,
        /// Mono.
        samples: Vec<i16>,
    },
    /// Audio was lost between two places.
    Gap {
        /// First lost sample.
        start: MediaSamples,
        /// One past the last.
        end: MediaSamples,
        /// Why.
        reason: GapReason,
    },
    /// The publisher's audio cannot be decoded; said once per publish.
    Unsupported {
        /// What it is, in a few words.
        what: String,
    },
}

/// Why audio is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// RTMP time jumped within one publish.
    StreamGap,
    /// Nobody published.
    PublisherAway,
}

impl GapReason {
    /// As in the `gap` event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamGap => "StreamGap",
            Self::PublisherAway => "PublisherAway",
        }
    }
}
