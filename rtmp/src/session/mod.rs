//! One publisher's connection, from C0 to the close.

mod command;
mod control;
mod rate;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::chunk::{ChunkReader, Message, message_type};
use crate::event::{Event, Rejection};
use crate::handshake::Handshake;
use crate::outbox::Outbox;
use crate::{Limits, SessionError};
use control::Acknowledger;
use rate::Bucket;

/// The message stream that `createStream` answers with; there is one per connection.
const STREAM_ID: u32 = 1;
/// What an audio message costs of the audio rate at least: a flood of tiny ones is work too.
const MIN_AUDIO_COST: usize = 64;
/// What a chunk costs of the whole rate beside its bytes: chunks can be a byte long. A quarter more at 128 bytes.
const CHUNK_COST: u64 = 32;

/// One TCP connection of a publisher. See the crate's own page for the loop around it.
pub struct ServerSession {
    limits: Limits,
    handshake: Handshake,
    reader: ChunkReader,
    outbox: Outbox,
    events: VecDeque<Event>,
    pending_audio_bytes: usize,
    phase: Phase,
    /// The latest `now` that the caller gave.
    now: Duration,
    last_byte: Duration,
    app: Option<(String, String)>,
    stream_created: bool,
    commands_before_publish: usize,
    acknowledger: Acknowledger,
    rate: Bucket,
    audio_rate: Bucket,
    stats: Stats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake { until: Duration },
    BeforePublish { until: Duration },
    Publishing { accepted: bool },
    Unpublished { until: Duration },
    Rejected { until: Duration },
    Failed(SessionError),
}

/// What happened on a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes from the peer, handshake included.
    pub bytes_received: u64,
    /// Audio messages given as events.
    pub audio_messages: u64,
    /// Audio messages dropped: before `publish`, after the end, or empty.
    pub audio_messages_dropped: u64,
    /// Payload bytes of video and unknown messages, dropped while reading.
    pub discarded_bytes: u64,
    /// `onMetaData` messages that could not be read.
    pub metadata_dropped: u64,
    /// Commands that an ingest server has no answer to.
    pub unknown_commands: u64,
    /// Acknowledgements sent.
    pub acknowledgements: u64,
}

/// Shows no message content: a partial `publish` holds a stream key.
impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSession")
            .field("phase", &self.phase)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl ServerSession {
    /// A connection that was accepted at `now`. `entropy` fills the handshake's random bytes.
    pub fn new(limits: Limits, entropy: [u8; 32], now: Duration) -> Self {
        Self {
            handshake: Handshake::new(entropy),
            reader: ChunkReader::new(&limits),
            outbox: Outbox::new(limits.max_outbound_bytes),
            events: VecDeque::new(),
            pending_audio_bytes: 0,
            phase: Phase::Handshake { until: now + limits.handshake_timeout },
            now,
            last_byte: now,
            app: None,
            stream_created: false,
            commands_before_publish: 0,
            acknowledger: Acknowledger::default(),
            rate: Bucket::new(limits.max_bytes_per_second, limits.burst_bytes, now),
            audio_rate: Bucket::new(limits.max_audio_bytes_per_second, limits.audio_burst_bytes, now),
            stats: Stats::default(),
            limits,
        }
    }

    /// Takes bytes from the socket, cut anywhere. Drain [`poll_event`](Self::poll_event) and write
    /// [`outbound`](Self::outbound) afterwards, and give at most 64 KiB at a time.
    ///
    /// # Errors
    /// The connection must be closed, after `outbound` was written; every later call gives the same error.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> Result<(), SessionError> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        let result = self.try_receive(bytes, now);
        if let Err(error) = result {
            self.phase = Phase::Failed(error);
        }
        result
    }

    /// The next thing that the publisher did.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Audio { body, .. } = &event {
            self.pending_audio_bytes = self.pending_audio_bytes.saturating_sub(body.len());
        }
        Some(event)
    }

    /// Gives the body of an audio event back, so that steady audio needs no allocation. Optional.
    pub fn recycle(&mut self, body: Vec<u8>) {
        self.reader.recycle(body);
    }

    /// Bytes to write to the socket.
    pub fn outbound(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// The first `n` bytes of [`outbound`](Self::outbound) were written.
    pub fn sent(&mut self, n: usize) {
        self.outbox.sent(n);
    }

    /// Answers [`Event::Publish`] with NetStream.Publish.Start. Without such an event it does nothing.
    pub fn accept_publish(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.phase != (Phase::Publishing { accepted: false }) {
            return;
        }
        self.phase = match self.send_publish_start() {
            Ok(()) => Phase::Publishing { accepted: true },
            Err(error) => Phase::Failed(error),
        };
    }

    /// Answers [`Event::Publish`] with an error on the message stream; what the peer sends from now on is ignored.
    ///
    /// Write `outbound`, then close: GStreamer's rtmp2sink and ffmpeg leave by themselves, librtmp waits for the close.
    pub fn reject_publish(&mut self, rejection: Rejection) {
        if !matches!(self.phase, Phase::Publishing { .. }) {
            return;
        }
        self.phase = match self.send_rejection(rejection) {
            Ok(()) => Phase::Rejected { until: self.now + self.limits.rejected_timeout },
            Err(error) => Phase::Failed(error),
        };
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called. `None` once the session has failed.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Handshake { until }
            | Phase::BeforePublish { until }
            | Phase::Unpublished { until }
            | Phase::Rejected { until } => Some(until),
            Phase::Publishing { .. } => Some(self.last_byte + self.limits.idle_timeout),
            Phase::Failed(_) => None,
        }
    }

    /// Says whether the peer has been too slow; does nothing before [`next_deadline`](Self::next_deadline).
    ///
    /// # Errors
    /// The connection must be closed.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), SessionError> {
        self.now = self.now.max(now);
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let error = match self.phase {
            Phase::Handshake { .. } => {
                SessionError::HandshakeTimeout { millis: millis(self.limits.handshake_timeout) }
            }
            Phase::BeforePublish { .. } => {
                SessionError::PublishTimeout { millis: millis(self.limits.publish_timeout) }
            }
            Phase::Rejected { .. } => SessionError::Rejected,
            Phase::Unpublished { .. } => SessionError::Lingering { millis: millis(self.limits.idle_timeout) },
            _ => SessionError::Idle { millis: millis(self.limits.idle_timeout) },
        };
        self.phase = Phase::Failed(error);
        Err(error)
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Stats {
        Stats { discarded_bytes: self.reader.discarded_bytes(), ..self.stats }
    }

    /// When the last byte came.
    pub fn last_byte_at(&self) -> Duration {
        self.last_byte
    }

    /// Bytes of memory held for this connection beyond its fixed size: partial messages, waiting audio, spare bodies.
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes() + self.pending_audio_bytes + self.outbox.pending().len()
    }

    fn try_receive(&mut self, bytes: &[u8], now: Duration) -> Result<(), SessionError> {
        self.now = self.now.max(now);
        if bytes.is_empty() {
            return Ok(());
        }
        self.last_byte = self.now;
        self.stats.bytes_received += bytes.len() as u64;
        self.spend(bytes.len())?;
        let mut input = bytes;
        if let Phase::Handshake { .. } = self.phase {
            if let Some(answer) = self.handshake.receive(&mut input)? {
                self.outbox.push(&answer)?;
            }
            if !self.handshake.is_done() {
                return Ok(());
            }
            self.phase = Phase::BeforePublish { until: self.now + self.limits.publish_timeout };
        }
        let chunks = self.reader.chunks();
        self.read_messages(input)?;
        self.spend(usize::try_from((self.reader.chunks() - chunks) * CHUNK_COST).unwrap_or(usize::MAX))?;
        self.acknowledge_if_due()
    }

    fn spend(&mut self, cost: usize) -> Result<(), SessionError> {
        if self.rate.spend(cost, self.now) {
            return Ok(());
        }
        Err(SessionError::RateExceeded { bytes_per_second: self.limits.max_bytes_per_second })
    }

    fn read_messages(&mut self, mut input: &[u8]) -> Result<(), SessionError> {
        while !input.is_empty() && !matches!(self.phase, Phase::Rejected { .. }) {
            let before = input.len();
            let message = self.reader.read(&mut input)?;
            self.acknowledger.received(before - input.len());
            let limit = self.limits.max_bytes_before_publish;
            if matches!(self.phase, Phase::BeforePublish { .. }) && self.acknowledger.total() > limit as u64 {
                return Err(SessionError::TooManyBytesBeforePublish { limit });
            }
            if let Some(message) = message {
                self.handle(message)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), SessionError> {
        match message.type_id {
            message_type::AUDIO => return self.audio(message),
            message_type::DATA_AMF0 => self.data(&message.body)?,
            message_type::COMMAND_AMF0 => self.command(&message.body)?,
            // AMF3 messages of publishers begin with a format byte 0 and go on in AMF0.
            message_type::DATA_AMF3 => self.data(message.body.get(1..).unwrap_or_default())?,
            message_type::COMMAND_AMF3 => self.command(message.body.get(1..).unwrap_or_default())?,
            _ => self.control(message.type_id, &message.body)?,
        }
        self.reader.recycle(message.body);
        Ok(())
    }

    fn audio(&mut self, message: Message) -> Result<(), SessionError> {
        let Message { timestamp, body, .. } = message;
        if body.is_empty() || !matches!(self.phase, Phase::Publishing { .. }) {
            self.stats.audio_messages_dropped += 1;
            self.reader.recycle(body);
            return Ok(());
        }
        if !self.audio_rate.spend(body.len().max(MIN_AUDIO_COST), self.now) {
            return Err(SessionError::AudioRateExceeded {
                bytes_per_second: self.limits.max_audio_bytes_per_second,
            });
        }
        self.pending_audio_bytes += body.len();
        self.stats.audio_messages += 1;
        self.emit(Event::Audio { timestamp_ms: timestamp, body })
    }

    fn emit(&mut self, event: Event) -> Result<(), SessionError> {
        let limit = self.limits.max_pending_events;
        if self.events.len() >= limit || self.pending_audio_bytes > self.limits.max_pending_audio_bytes {
            return Err(SessionError::EventsNotDrained { limit });
        }
        self.events.push_back(event);
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
