use super::header::{Fields, PartialHeader};
use super::message_type;
use crate::{Limits, SessionError};

const DEFAULT_CHUNK_SIZE: u32 = 128;
const MAX_MESSAGE_LENGTH: u32 = 0xFF_FFFF;
const MAX_CONTROL_BYTES: usize = 64;
/// Bodies that are kept for the next messages, and the longest worth keeping.
const SPARE_BODIES: usize = 16;
const SPARE_BODY_BYTES: usize = 4096;

/// A whole message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) type_id: u8,
    pub(crate) timestamp: u32,
    pub(crate) body: Vec<u8>,
}

/// Puts messages together from chunks, whatever the cuts and the interleaving.
///
/// Memory follows the bytes that arrived, never what a header declares; video and unknown types are not kept at all.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunk_size: u32,
    header: PartialHeader,
    streams: Vec<ChunkStream>,
    /// The stream (index) whose chunk is being read, and the payload bytes missing of that chunk.
    in_chunk: Option<(usize, u32)>,
    spares: Vec<Vec<u8>>,
    max_streams: usize,
    max_partial: usize,
    limits: MessageLimits,
    discarded_bytes: u64,
    chunks: u64,
}

/// The longest message, in bytes, by kind.
#[derive(Debug, Clone, Copy)]
struct MessageLimits {
    command: usize,
    audio: usize,
}

impl MessageLimits {
    /// `None` for types that are not kept: video, and what an ingest server has no use for.
    fn of(self, type_id: u8) -> Option<usize> {
        match type_id {
            message_type::AUDIO => Some(self.audio),
            message_type::SET_CHUNK_SIZE..=message_type::SET_PEER_BANDWIDTH => Some(MAX_CONTROL_BYTES),
            message_type::DATA_AMF3
            | message_type::COMMAND_AMF3
            | message_type::DATA_AMF0
            | message_type::COMMAND_AMF0 => Some(self.command),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    timestamp: u32,
    delta: u32,
    extended: bool,
    length: u32,
    type_id: u8,
    /// Bytes of the message that have not arrived; 0 between messages.
    missing: u32,
    discard: bool,
    body: Vec<u8>,
}

impl ChunkReader {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            header: PartialHeader::default(),
            streams: Vec::new(),
            in_chunk: None,
            spares: Vec::new(),
            max_streams: limits.max_chunk_streams,
            max_partial: limits.max_partial_messages,
            limits: MessageLimits {
                command: limits.max_command_bytes_before_publish,
                audio: limits.max_audio_bytes,
            },
            discarded_bytes: 0,
            chunks: 0,
        }
    }

    /// For messages whose header comes from now on.
    pub(crate) fn set_max_command_bytes(&mut self, limit: usize) {
        self.limits.command = limit;
    }

    /// Honours the peer's SetChunkSize for chunks that begin from now on.
    ///
    /// Sizes below 128 buy processing time with headers. Large ones cost nothing here, because nothing is reserved by
    /// them, and must be followed exactly (a 100 KB video message is then one chunk): only what exceeds the longest
    /// possible message is cut to it.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), SessionError> {
        if !(DEFAULT_CHUNK_SIZE..=0x7FFF_FFFF).contains(&size) {
            return Err(SessionError::ChunkSizeTooSmall { size });
        }
        self.chunk_size = size.min(MAX_MESSAGE_LENGTH);
        Ok(())
    }

    /// Honours the peer's Abort: forgets what arrived of that chunk stream's message.
    pub(crate) fn abort(&mut self, csid: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.csid == csid) {
            stream.missing = 0;
            stream.body.clear();
        }
    }

    /// Gives a body back, so that its memory serves the next message.
    pub(crate) fn recycle(&mut self, mut body: Vec<u8>) {
        if self.spares.len() < SPARE_BODIES && (1..=SPARE_BODY_BYTES).contains(&body.capacity()) {
            body.clear();
            self.spares.push(body);
        }
    }

    /// Payload bytes of video and unknown messages that were dropped while reading.
    pub(crate) fn discarded_bytes(&self) -> u64 {
        self.discarded_bytes
    }

    /// Chunks so far: each is work, however small.
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Bytes held for unfinished messages and for reuse (capacity, not length).
    pub(crate) fn held_bytes(&self) -> usize {
        let partial = self.streams.iter().map(|stream| stream.body.capacity());
        partial.chain(self.spares.iter().map(Vec::capacity)).sum()
    }

    /// Takes bytes from the front of `input` until a message is whole or the input is used up.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, SessionError> {
        loop {
            if let Some((index, missing)) = self.in_chunk {
                match self.read_payload(input, index, missing) {
                    Some(message) => return Ok(Some(message)),
                    None if input.is_empty() => return Ok(None),
                    None => {}
                }
            } else {
                let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                *input = rest;
                self.header.push(*byte);
                if let Some(message) = self.read_header()? {
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Begins a chunk when the header is complete. Returns a message only when it is empty.
    fn read_header(&mut self) -> Result<Option<Message>, SessionError> {
        let Some((fmt, csid)) = self.header.basic() else { return Ok(None) };
        let known = self.streams.iter().position(|stream| stream.csid == csid);
        let inherited = known.and_then(|index| self.streams.get(index)).is_some_and(|stream| stream.extended);
        let Some(fields) = self.header.complete(fmt, inherited) else { return Ok(None) };
        self.header.clear();
        self.chunks += 1;
        let index = match known {
            Some(index) => index,
            None => self.open(csid, fmt)?,
        };
        self.begin_chunk(index, fields)
    }

    fn open(&mut self, csid: u32, fmt: u8) -> Result<usize, SessionError> {
        // librtmp begins a chunk stream with type 1: the message stream id is then 0.
        if fmt > 1 {
            return Err(SessionError::HeaderWithoutPrevious { fmt });
        }
        if self.streams.len() >= self.max_streams {
            return Err(SessionError::TooManyChunkStreams { limit: self.max_streams });
        }
        self.streams.push(ChunkStream::new(csid));
        Ok(self.streams.len() - 1)
    }

    fn begin_chunk(&mut self, index: usize, fields: Fields) -> Result<Option<Message>, SessionError> {
        let partial = self.streams.iter().filter(|stream| stream.missing > 0).count();
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        if stream.missing == 0 {
            stream.apply(fields);
            stream.begin_message(self.limits.of(stream.type_id))?;
            if stream.length == 0 {
                return Ok((!stream.discard).then(|| stream.message(Vec::new())));
            }
            if partial >= self.max_partial {
                return Err(SessionError::TooManyPartialMessages { limit: self.max_partial });
            }
        } else if fields.fmt != 3 {
            return Err(SessionError::HeaderInsideMessage { fmt: fields.fmt });
        }
        self.in_chunk = Some((index, self.chunk_size.min(stream.missing)));
        Ok(None)
    }

    fn read_payload(&mut self, input: &mut &[u8], index: usize, missing: u32) -> Option<Message> {
        let n = input.len().min(missing as usize);
        let (payload, rest) = input.split_at(n);
        *input = rest;
        // At most `missing`, so it fits.
        let read = n as u32;
        self.in_chunk = (read < missing).then_some((index, missing - read));
        let stream = self.streams.get_mut(index)?;
        stream.missing = stream.missing.saturating_sub(read);
        if stream.discard {
            self.discarded_bytes += u64::from(read);
            return None;
        }
        if stream.body.capacity() == 0
            && let Some(spare) = self.spares.pop()
        {
            stream.body = spare;
        }
        stream.body.extend_from_slice(payload);
        if stream.missing > 0 {
            return None;
        }
        let body = std::mem::take(&mut stream.body);
        Some(stream.message(body))
    }
}

impl ChunkStream {
    fn new(csid: u32) -> Self {
        Self {
            csid,
            timestamp: 0,
            delta: 0,
            extended: false,
            length: 0,
            type_id: 0,
            missing: 0,
            discard: false,
            body: Vec::new(),
        }
    }

    /// Takes over the header of a new message.
    fn apply(&mut self, fields: Fields) {
        self.extended = fields.extended;
        if let Some((length, type_id)) = fields.message {
            self.length = length;
            self.type_id = type_id;
        }
        // After a type 0 header, a type 3 one takes that header's time as its delta (RTMP 1.0 §5.3.1.2.4): ffmpeg
        // and LiveKit's GStreamer write it so.
        if let Some(time) = fields.time {
            self.delta = time;
        }
        self.timestamp = if fields.fmt == 0 { self.delta } else { self.timestamp.wrapping_add(self.delta) };
    }

    /// `limit` is absent for types that are not kept.
    fn begin_message(&mut self, limit: Option<usize>) -> Result<(), SessionError> {
        if let Some(limit) = limit
            && self.length as usize > limit
        {
            return Err(SessionError::MessageTooLong { type_id: self.type_id, length: self.length, limit });
        }
        self.discard = limit.is_none();
        self.missing = self.length;
        self.body.clear();
        Ok(())
    }

    fn message(&self, body: Vec<u8>) -> Message {
        Message { type_id: self.type_id, timestamp: self.timestamp, body }
    }
}
