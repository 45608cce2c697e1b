use std::time::Duration;

/// What one connection may take. Every breach is one variant of [`SessionError`](crate::SessionError).
///
/// The defaults serve an audio-only publisher and let a publisher that cannot switch its video off pass too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the TCP accept to the last byte of C2.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to the `publish` command.
    pub publish_timeout: Duration,
    /// Without any byte while publishing, or open after the end of the stream. LiveKit's egress was seen silent for 2.8 s (mute) and 9 s (its server restarting).
    pub idle_timeout: Duration,
    /// How long a rejected publisher may linger before the connection is dead.
    pub rejected_timeout: Duration,
    /// Bytes after the handshake up to and including `publish`.
    pub max_bytes_before_publish: usize,
    /// Commands up to and including `publish`.
    pub max_commands_before_publish: usize,
    /// Bytes of a command or data message before `publish`.
    pub max_command_bytes_before_publish: usize,
    /// Bytes of a command or data message after `publish`.
    pub max_command_bytes: usize,
    /// Bytes of an audio message.
    pub max_audio_bytes: usize,
    /// Chunk streams whose headers are remembered.
    pub max_chunk_streams: usize,
    /// Chunk streams that are in the middle of a message.
    pub max_partial_messages: usize,
    /// Bytes waiting to be written to the peer.
    pub max_outbound_bytes: usize,
    /// Events waiting for [`poll_event`](crate::ServerSession::poll_event).
    pub max_pending_events: usize,
    /// Bytes of audio waiting for [`poll_event`](crate::ServerSession::poll_event).
    pub max_pending_audio_bytes: usize,
    /// Sustained bytes per second of the whole connection, discarded video included; a chunk costs 32 beside its bytes.
    pub max_bytes_per_second: u32,
    /// What the connection may send above the sustained rate before it is closed.
    pub burst_bytes: u32,
    /// Sustained bytes per second of audio messages; a message costs at least 64.
    pub max_audio_bytes_per_second: u32,
    /// What audio may take above its sustained rate: a publisher whose network stalled catches up in a burst.
    pub audio_burst_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10),
            rejected_timeout: Duration::from_secs(2),
            max_bytes_before_publish: 16 * 1024,
            max_commands_before_publish: 32,
            max_command_bytes_before_publish: 16 * 1024,
            max_command_bytes: 64 * 1024,
            max_audio_bytes: 64 * 1024,
            max_chunk_streams: 64,
            max_partial_messages: 8,
            max_outbound_bytes: 64 * 1024,
            max_pending_events: 8192,
            max_pending_audio_bytes: 1024 * 1024,
            max_bytes_per_second: 3_125_000,
            burst_bytes: 16 * 1024 * 1024,
            max_audio_bytes_per_second: 125_000,
            audio_burst_bytes: 4 * 1024 * 1024,
        }
    }
}
