use std::fmt;

use crate::amf0::Value;

/// What a publisher did.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It wants to publish. Answer with `accept_publish` or `reject_publish`.
    ///
    /// Nothing comes before it. A publisher that does not wait for the answer may have audio behind it already:
    /// whoever rejects drops it with the session.
    Publish {
        /// All of the URL's path but its last segment, wherever the publisher cut it (ffmpeg and GStreamer differ),
        /// without leading or trailing slashes: `rtmp://host/a/b/c/KEY` gives `a/b/c`.
        app: String,
        /// The last segment of the URL, a query string included; never empty.
        stream_key: StreamKey,
        /// The URL of the application as the publisher sees it; empty when it sent none.
        tc_url: String,
    },
    /// `onMetaData` as far as it concerns audio. It is a claim: the audio's own header rules.
    Metadata(Metadata),
    /// One audio message, in order.
    Audio {
        /// Stream time in milliseconds, as on the wire: it wraps (see [`UnwrappedTime`](crate::UnwrappedTime)).
        timestamp_ms: u32,
        /// The FLV audio tag body, at least one byte: SoundFormat in the upper four bits of the first (10 is AAC).
        body: Vec<u8>,
    },
    /// It said that it is done (FCUnpublish, deleteStream or closeStream). Sent once; audio after it is dropped.
    Unpublished,
}

/// A secret: whoever knows it may publish. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(String);

impl StreamKey {
    pub(crate) fn new(key: String) -> Self {
        Self(key)
    }

    /// The key itself, for a comparison in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey(redacted, {} bytes)", self.0.len())
    }
}

/// Why a publish is refused. The texts are the same for every cause, so a guesser learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// `NetStream.Publish.Denied`: unknown, expired or wrong key.
    Denied,
    /// `NetStream.Publish.BadName`: the name is in use.
    BadName,
}

/// The codec that `onMetaData` claims.
#[derive(Debug, Clone, PartialEq)]
pub enum AudioCodec {
    /// The FLV SoundFormat number; 10 is AAC.
    Number(f64),
    /// A FourCC or name, such as `mp4a`; at most 64 characters.
    Name(String),
}

/// What `onMetaData` claims about audio; each field is absent when it was not sent or has another type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// `audiocodecid`.
    pub audio_codec: Option<AudioCodec>,
    /// `audiodatarate`, kbit/s.
    pub audio_kbps: Option<f64>,
    /// `audiosamplerate`, Hz.
    pub audio_sample_rate_hz: Option<f64>,
    /// `stereo`.
    pub stereo: Option<bool>,
    /// `encoder` or `metadatacreator`, at most 64 characters.
    pub encoder: Option<String>,
}

impl Metadata {
    pub(crate) fn from_properties(properties: &[(String, Value)]) -> Self {
        let mut metadata = Self::default();
        for (name, value) in properties {
            match (name.as_str(), value) {
                ("audiocodecid", Value::Number(n)) => metadata.audio_codec = Some(AudioCodec::Number(*n)),
                ("audiocodecid", Value::String(s)) => metadata.audio_codec = Some(AudioCodec::Name(clip(s))),
                ("audiodatarate", Value::Number(n)) => metadata.audio_kbps = Some(*n),
                ("audiosamplerate", Value::Number(n)) => metadata.audio_sample_rate_hz = Some(*n),
                ("stereo", Value::Boolean(b)) => metadata.stereo = Some(*b),
                ("encoder" | "metadatacreator", Value::String(s)) => metadata.encoder = Some(clip(s)),
                _ => {}
            }
        }
        metadata
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
