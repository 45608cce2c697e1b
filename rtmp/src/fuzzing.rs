//! Entry points for the fuzz targets (`rtmp/fuzz`) and the seeded property tests (`rtmp/tests/seeded.rs`).
//!
//! Not an API. Each takes any bytes, asserts what must hold for all of them, and is quick.
#![allow(clippy::panic, clippy::missing_panics_doc, reason = "an assertion that fails is the finding")]

use std::time::Duration;

use crate::amf0::{Reader, Value, Writer};
use crate::chunk::{ChunkReader, Message, message_type, write_message};
use crate::handshake::Handshake;
use crate::outbox::Outbox;
use crate::{Event, Limits, Rejection, ServerSession, SessionError};

/// What one hostile connection may hold: 8 partial messages of 64 KiB in vectors that double, and spare bodies.
const MAX_HELD_BYTES: usize = 8 * 128 * 1024 + 16 * 4096 + 64 * 1024;

/// Any bytes in any cuts give the same messages, and hold no more memory than what arrived.
pub fn chunk_reader(data: &[u8]) {
    let (seed, input) = split_seed(data);
    let whole = read_chunks(&[input]);
    let cut: Vec<&[u8]> = Cuts { rest: input, seed }.collect();
    assert_eq!(read_chunks(&cut), whole, "cuts must not matter");
}

type ReadMessage = (u8, u32, Vec<u8>);

fn read_chunks(parts: &[&[u8]]) -> (Vec<ReadMessage>, Option<SessionError>) {
    let limits = Limits::default();
    let mut reader = ChunkReader::new(&limits);
    let mut messages = Vec::new();
    let mut received = 0;
    for part in parts {
        received += part.len();
        let mut input = *part;
        while !input.is_empty() {
            match reader.read(&mut input).and_then(|message| obey(&mut reader, message)) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => {}
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(reader.held_bytes() <= 2 * received + 64 * 8, "{} held of {received}", reader.held_bytes());
        assert!(reader.held_bytes() <= MAX_HELD_BYTES);
    }
    (messages, None)
}

fn obey(reader: &mut ChunkReader, message: Option<Message>) -> Result<Option<ReadMessage>, SessionError> {
    let Some(Message { type_id, timestamp, body }) = message else { return Ok(None) };
    let number = body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    match (type_id, number) {
        (message_type::SET_CHUNK_SIZE, Some(size)) => reader.set_chunk_size(size)?,
        (message_type::ABORT, Some(csid)) => reader.abort(csid),
        _ => {}
    }
    let kept = (type_id, timestamp, body.clone());
    reader.recycle(body);
    Ok(Some(kept))
}

/// Any bytes as AMF0 give bounded values or an error.
pub fn amf0(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut values = 0;
    let mut text_bytes = 0;
    while !reader.is_empty() {
        let Ok(value) = reader.value() else { break };
        measure(&value, 0, &mut values, &mut text_bytes);
    }
    assert!(values <= 256, "{values} values");
    // An invalid byte becomes a three-byte replacement character.
    assert!(text_bytes <= 3 * data.len(), "{text_bytes} bytes of text from {}", data.len());
}

fn measure(value: &Value, depth: usize, values: &mut usize, text_bytes: &mut usize) {
    assert!(depth <= 16, "depth {depth}");
    *values += 1;
    match value {
        Value::String(text) => *text_bytes += text.len(),
        Value::Object(properties) => {
            for (name, value) in properties {
                *text_bytes += name.len();
                measure(value, depth + 1, values, text_bytes);
            }
        }
        Value::StrictArray(elements) => {
            elements.iter().for_each(|value| measure(value, depth + 1, values, text_bytes));
        }
        _ => {}
    }
}

/// Any bytes in any cuts give the same handshake: an answer after 1537 bytes, the end after 3073.
pub fn handshake(data: &[u8]) {
    let (seed, input) = split_seed(data);
    let run = |parts: &[&[u8]]| -> (Vec<u8>, usize, Option<SessionError>) {
        let mut handshake = Handshake::new([3; 32]);
        let (mut answer, mut taken) = (Vec::new(), 0);
        for part in parts {
            let mut rest = *part;
            match handshake.receive(&mut rest) {
                Ok(bytes) => answer.extend(bytes.unwrap_or_default()),
                Err(error) => return (answer, taken, Some(error)),
            }
            taken += part.len() - rest.len();
            assert_eq!(handshake.is_done(), taken == 3073);
            assert_eq!(answer.len(), if taken >= 1537 { 3073 } else { 0 });
        }
        (answer, taken, None)
    };
    let whole = run(&[input]);
    assert!(whole.1 <= 3073);
    let cut: Vec<&[u8]> = Cuts { rest: input, seed }.collect();
    assert_eq!(run(&cut), whole, "cuts must not matter");
}

/// A whole connection: the third byte chooses how far it has come, what the server does, and whether time passes.
pub fn session(data: &[u8]) {
    let (seed, rest) = split_seed(data);
    let Some((start, input)) = rest.split_first() else { return };
    let bytes = match start % 3 {
        0 => input.to_vec(),
        1 => [client_handshake(), input.to_vec()].concat(),
        _ => [client_handshake(), client_setup(), input.to_vec()].concat(),
    };
    let rejects = start & 0x40 != 0;
    let cuts: Vec<&[u8]> = Cuts { rest: &bytes, seed }.collect();
    if start & 0x80 != 0 {
        run_session(&cuts, rejects, Duration::from_millis(u64::from(seed % 4096)));
        return;
    }
    let whole = run_session(&[&bytes], rejects, Duration::ZERO);
    let cut = run_session(&cuts, rejects, Duration::ZERO);
    let depends_on_reads = |error| {
        matches!(error, Some(SessionError::EventsNotDrained { .. } | SessionError::OutboundOverflow { .. }))
    };
    // A rejection comes between two reads, so it depends on the cuts by its nature.
    if !rejects && !depends_on_reads(whole.1) && !depends_on_reads(cut.1) {
        assert_eq!(cut, whole, "cuts must not matter");
    }
}

fn run_session(parts: &[&[u8]], rejects: bool, step: Duration) -> (Vec<Event>, Option<SessionError>) {
    let mut now = Duration::ZERO;
    let mut session = ServerSession::new(Limits::default(), [3; 32], now);
    let mut events = Vec::new();
    for part in parts {
        now += step;
        let timeout = session.handle_timeout(now);
        let result = timeout.and_then(|()| session.receive(part, now));
        while let Some(event) = session.poll_event() {
            check_event(&event, &events);
            if matches!(event, Event::Publish { .. }) {
                if rejects { session.reject_publish(Rejection::Denied) } else { session.accept_publish(now) }
            }
            if let Event::Audio { body, .. } = &event {
                session.recycle(body.clone());
            }
            events.push(event);
        }
        assert!(session.held_bytes() <= MAX_HELD_BYTES, "{} bytes held", session.held_bytes());
        assert!(session.outbound().len() <= Limits::default().max_outbound_bytes);
        session.sent(session.outbound().len());
        if let Err(error) = result {
            assert_eq!(session.receive(part, now), Err(error), "a dead session stays dead");
            assert!(session.poll_event().is_none() && session.next_deadline().is_none());
            return (events, Some(error));
        }
        assert!(session.next_deadline().is_some_and(|deadline| deadline > now));
    }
    (events, None)
}

fn check_event(event: &Event, earlier: &[Event]) {
    let is_publish = |event: &Event| matches!(event, Event::Publish { .. });
    match event {
        Event::Publish { app, stream_key, .. } => {
            assert!(earlier.is_empty(), "one publish, first of all");
            assert!(!stream_key.expose().is_empty() && !app.starts_with('/') && !app.ends_with('/'));
        }
        Event::Audio { body, .. } => {
            assert!(earlier.first().is_some_and(is_publish));
            assert!((1..=65536).contains(&body.len()));
        }
        Event::Metadata(_) | Event::Unpublished => assert!(earlier.first().is_some_and(is_publish)),
    }
    assert_ne!(earlier.last(), Some(&Event::Unpublished), "nothing comes after the end");
}

/// C0 to C2 of the simple handshake.
pub fn client_handshake() -> Vec<u8> {
    let mut bytes = vec![0; 3073];
    bytes[0] = 3;
    bytes
}

/// connect, createStream and publish.
pub fn client_setup() -> Vec<u8> {
    let command = |name: &str| Writer::default().string(name).number(1.0);
    let commands = [
        command("connect").object(&[("app", "live"), ("tcUrl", "rtmp://h/live")], &[]),
        command("createStream").null(),
        command("publish").null().string("key").string("live"),
    ];
    let mut bytes = Outbox::new(4096);
    for body in commands {
        let written = write_message(&mut bytes, 3, message_type::COMMAND_AMF0, 1, &body.finish());
        assert_eq!(written, Ok(()), "these are short");
    }
    bytes.pending().to_vec()
}

fn split_seed(data: &[u8]) -> (u32, &[u8]) {
    data.split_first_chunk::<2>()
        .map_or((0, data), |(seed, rest)| (u32::from(u16::from_le_bytes(*seed)), rest))
}

/// Cuts bytes into reads of 1 to 512 that a linear congruential generator chooses.
struct Cuts<'a> {
    rest: &'a [u8],
    seed: u32,
}

impl<'a> Iterator for Cuts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The upper bits choose the scale, so that single bytes and long reads are both common.
        let scale = self.seed >> 28;
        let length = 1 + (self.seed >> 8) as usize % (1 << (scale.min(9)));
        let (head, tail) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = tail;
        Some(head)
    }
}
