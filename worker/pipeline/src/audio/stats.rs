//! What the audio path counts.

/// Counters of one session's audio, and the present publisher's format. Samples are at 16 kHz.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioStats {
    /// AAC frames.
    pub packets: u64,
    /// Frames that could not be decoded and became silence of the same length.
    pub concealed: u64,
    /// … in samples.
    pub concealed_samples: u64,
    /// Decoders rebuilt after errors.
    pub rebuilds: u64,
    /// Samples of silence for holes.
    pub filled: u64,
    /// Samples of holes that were too long to be filled.
    pub skipped: u64,
    /// Times that RTMP time went backwards within a publish.
    pub reanchors: u64,
    /// Bodies that were not AAC-LC, or came without its header.
    pub unsupported: u64,
    /// Bodies without content.
    pub ignored: u64,
    /// Hz of the decoded AAC; 0 before its header.
    pub sample_rate: u32,
    /// Channels of the decoded AAC; 0 before its header.
    pub channels: u32,
}
