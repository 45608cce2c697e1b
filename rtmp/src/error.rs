use crate::amf0::Amf0Error;

/// Why a connection must be closed. The peer is at fault in every case but [`EventsNotDrained`](Self::EventsNotDrained).
///
/// Nothing here holds what the peer sent beyond a number, so it is safe to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// C0 is not 3. 0x16 is a TLS hello on the plain port, `G` and `P` are HTTP.
    #[error("first byte is {byte:#04x}, expected RTMP version 3{}", version_hint(*byte))]
    WrongVersion {
        /// What came instead.
        byte: u8,
    },
    /// C0 to C2 did not arrive in time.
    #[error("handshake not complete after {millis} ms")]
    HandshakeTimeout {
        /// The limit.
        millis: u64,
    },
    /// No `publish` command in time after the handshake.
    #[error("no publish command within {millis} ms of the handshake")]
    PublishTimeout {
        /// The limit.
        millis: u64,
    },
    /// The peer went silent.
    #[error("no byte for {millis} ms")]
    Idle {
        /// The limit.
        millis: u64,
    },
    /// The publisher ended its stream and kept the connection.
    #[error("connection still open {millis} ms after the end of its stream")]
    Lingering {
        /// The limit.
        millis: u64,
    },
    /// The publisher was rejected and has had time to read why.
    #[error("publish was rejected")]
    Rejected,
    /// The stream key of `publish` is empty; the publisher has been told.
    #[error("publish came with an empty stream key; the publisher's URL must end in /APP/KEY")]
    EmptyStreamKey,
    /// Too many bytes before `publish`.
    #[error("more than {limit} bytes before publish")]
    TooManyBytesBeforePublish {
        /// The limit, bytes.
        limit: usize,
    },
    /// Too many commands before `publish`.
    #[error("more than {limit} commands before publish")]
    TooManyCommandsBeforePublish {
        /// The limit.
        limit: usize,
    },
    /// A command that may come once came again (connect, createStream, publish).
    #[error("command {command} sent twice")]
    RepeatedCommand {
        /// Which one.
        command: &'static str,
    },
    /// A command came before the one it needs.
    #[error("command {command} came too early")]
    CommandTooEarly {
        /// Which one.
        command: &'static str,
    },
    /// A command whose AMF0 cannot be read.
    #[error("unreadable command: {0}")]
    Amf0(#[from] Amf0Error),
    /// SetChunkSize below 128 (or with its sign bit set): a processing-time attack, or a broken peer.
    #[error("chunk size {size} refused, at least 128 expected")]
    ChunkSizeTooSmall {
        /// What was asked for.
        size: u32,
    },
    /// A message that declares more bytes than its kind may have.
    #[error("message of type {type_id} declares {length} bytes, at most {limit} allowed")]
    MessageTooLong {
        /// RTMP message type.
        type_id: u8,
        /// Declared length.
        length: u32,
        /// The limit for this type in this phase, bytes.
        limit: usize,
    },
    /// More chunk streams than are remembered.
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// More messages in pieces at once than are kept.
    #[error("more than {limit} unfinished messages")]
    TooManyPartialMessages {
        /// The limit.
        limit: usize,
    },
    /// A chunk of type 0, 1 or 2 inside an unfinished message of the same chunk stream.
    #[error("new message header (type {fmt}) inside an unfinished message")]
    HeaderInsideMessage {
        /// Chunk type.
        fmt: u8,
    },
    /// A chunk of type 2 or 3 on a chunk stream that has no header yet.
    #[error("chunk of type {fmt} without an earlier header to refer to")]
    HeaderWithoutPrevious {
        /// Chunk type.
        fmt: u8,
    },
    /// A protocol control message that is too short for its type.
    #[error("control message of type {type_id} has {length} bytes")]
    ShortControlMessage {
        /// RTMP message type.
        type_id: u8,
        /// Its length.
        length: usize,
    },
    /// The connection as a whole sends too fast.
    #[error("more than {bytes_per_second} bytes per second")]
    RateExceeded {
        /// The sustained limit.
        bytes_per_second: u32,
    },
    /// Audio comes too fast.
    #[error("more than {bytes_per_second} bytes of audio per second")]
    AudioRateExceeded {
        /// The sustained limit.
        bytes_per_second: u32,
    },
    /// The peer does not read its answers.
    #[error("more than {limit} bytes wait to be written")]
    OutboundOverflow {
        /// The limit, bytes.
        limit: usize,
    },
    /// Too many events wait. The caller must drain `poll_event` after every `receive`, and give small reads.
    #[error("more than {limit} events (or their audio bytes) wait for poll_event")]
    EventsNotDrained {
        /// The limit, events.
        limit: usize,
    },
}

impl SessionError {
    /// A short constant name for a metric label.
    pub fn metric_label(&self) -> &'static str {
        match self {
            Self::WrongVersion { .. } => "wrong_version",
            Self::HandshakeTimeout { .. } => "handshake_timeout",
            Self::PublishTimeout { .. } => "publish_timeout",
            Self::Idle { .. } => "idle",
            Self::Lingering { .. } => "lingering",
            Self::Rejected => "rejected",
            Self::EmptyStreamKey => "empty_stream_key",
            Self::TooManyBytesBeforePublish { .. } => "bytes_before_publish",
            Self::TooManyCommandsBeforePublish { .. } => "commands_before_publish",
            Self::RepeatedCommand { .. } => "repeated_command",
            Self::CommandTooEarly { .. } => "command_too_early",
            Self::Amf0(_) => "amf0",
            Self::ChunkSizeTooSmall { .. } => "chunk_size",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::TooManyChunkStreams { .. } => "chunk_streams",
            Self::TooManyPartialMessages { .. } => "partial_messages",
            Self::HeaderInsideMessage { .. } => "header_inside_message",
            Self::HeaderWithoutPrevious { .. } => "header_without_previous",
            Self::ShortControlMessage { .. } => "short_control_message",
            Self::RateExceeded { .. } => "rate",
            Self::AudioRateExceeded { .. } => "audio_rate",
            Self::OutboundOverflow { .. } => "outbound_overflow",
            Self::EventsNotDrained { .. } => "events_not_drained",
        }
    }
}

fn version_hint(byte: u8) -> &'static str {
    match byte {
        0x16 => " (this looks like TLS: use rtmp://, or rtmps:// on the TLS port)",
        b'G' | b'P' | b'H' => " (this looks like HTTP)",
        _ => "",
    }
}
