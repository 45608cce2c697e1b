//! What a publisher writes, made by hand and with no code of the crate under test.

use std::time::Duration;

use roomscribe_rtmp::{Event, Limits, ServerSession, SessionError};

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;
pub(crate) const COMMAND: u8 = 20;

/// C0, C1 and C2 of the simple handshake.
pub(crate) fn handshake() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend([0; 8]);
    bytes.extend([0x5a; 1528 + 1536]);
    bytes
}

/// Basic header for any chunk stream id.
pub(crate) fn basic(fmt: u8, csid: u32) -> Vec<u8> {
    match csid {
        2..=63 => vec![fmt << 6 | csid as u8],
        64..=319 => vec![fmt << 6, (csid - 64) as u8],
        _ => vec![fmt << 6 | 1, ((csid - 64) % 256) as u8, ((csid - 64) / 256) as u8],
    }
}

/// Basic header, 11 bytes, extended timestamp when needed; no payload.
pub(crate) fn head0(csid: u32, time: u32, length: u32, kind: u8, stream: u32) -> Vec<u8> {
    let mut bytes = basic(0, csid);
    bytes.extend(&time.min(0xFF_FFFF).to_be_bytes()[1..]);
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(stream.to_le_bytes());
    bytes.extend(extended(time));
    bytes
}

pub(crate) fn head1(csid: u32, delta: u32, length: u32, kind: u8) -> Vec<u8> {
    let mut bytes = basic(1, csid);
    bytes.extend(&delta.min(0xFF_FFFF).to_be_bytes()[1..]);
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(extended(delta));
    bytes
}

pub(crate) fn head2(csid: u32, delta: u32) -> Vec<u8> {
    let mut bytes = basic(2, csid);
    bytes.extend(&delta.min(0xFF_FFFF).to_be_bytes()[1..]);
    bytes.extend(extended(delta));
    bytes
}

fn extended(time: u32) -> Vec<u8> {
    if time >= 0xFF_FFFF { time.to_be_bytes().to_vec() } else { Vec::new() }
}

/// A whole message: a type 0 chunk, then type 3 chunks.
pub(crate) fn message(csid: u32, time: u32, kind: u8, body: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes = head0(csid, time, body.len() as u32, kind, 1);
    for (i, part) in body.chunks(chunk).enumerate() {
        if i > 0 {
            bytes.extend(basic(3, csid));
            bytes.extend(extended(time));
        }
        bytes.extend(part);
    }
    bytes
}

pub(crate) fn set_chunk_size(size: u32) -> Vec<u8> {
    message(2, 0, 1, &size.to_be_bytes(), 128)
}

pub(crate) fn text(s: &str) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend((s.len() as u16).to_be_bytes());
    bytes.extend(s.as_bytes());
    bytes
}

pub(crate) fn number(n: f64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(n.to_be_bytes());
    bytes
}

pub(crate) fn property(name: &str, value: &[u8]) -> Vec<u8> {
    [&text(name)[1..], value].concat()
}

pub(crate) fn object(properties: &[Vec<u8>]) -> Vec<u8> {
    [&[3][..], &properties.concat(), &[0, 0, 9]].concat()
}

pub(crate) fn command(name: &str, transaction: f64, arguments: &[Vec<u8>]) -> Vec<u8> {
    let body = [text(name), number(transaction), arguments.concat()].concat();
    message(3, 0, COMMAND, &body, 128)
}

pub(crate) fn connect(app: &str) -> Vec<u8> {
    let tc_url = format!("rtmp://127.0.0.1/{app}");
    let info = object(&[property("app", &text(app)), property("tcUrl", &text(&tc_url))]);
    command("connect", 1.0, &[info])
}

pub(crate) fn create_stream() -> Vec<u8> {
    command("createStream", 2.0, &[vec![5]])
}

pub(crate) fn publish(key: &str) -> Vec<u8> {
    command("publish", 3.0, &[vec![5], text(key), text("live")])
}

/// Everything up to and including `publish`.
pub(crate) fn setup() -> Vec<u8> {
    [handshake(), connect("live"), create_stream(), publish("key")].concat()
}

pub(crate) fn audio(time: u32, body: &[u8]) -> Vec<u8> {
    message(4, time, AUDIO, body, 128)
}

/// The core with a publisher beside it, at a time of its own.
pub(crate) struct Peer {
    pub(crate) session: ServerSession,
    pub(crate) now: Duration,
}

impl Peer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { session: ServerSession::new(limits, [9; 32], Duration::ZERO), now: Duration::ZERO }
    }

    /// A session whose handshake is done.
    pub(crate) fn connected() -> Self {
        let mut peer = Self::new(Limits::default());
        peer.send(&handshake()).expect("handshake");
        peer.answers();
        peer
    }

    /// A session that has accepted a publisher.
    pub(crate) fn publishing() -> Self {
        let mut peer = Self::new(Limits::default());
        let events = peer.send(&setup()).expect("setup");
        assert!(matches!(events[..], [Event::Publish { .. }]), "{events:?}");
        peer.session.accept_publish(peer.now);
        peer.answers();
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SessionError> {
        self.session.receive(bytes, self.now)?;
        Ok(std::iter::from_fn(|| self.session.poll_event()).collect())
    }

    /// Takes the server's bytes.
    pub(crate) fn answers(&mut self) -> Vec<u8> {
        let bytes = self.session.outbound().to_vec();
        self.session.sent(bytes.len());
        bytes
    }

    pub(crate) fn wait(&mut self, millis: u64) -> Result<(), SessionError> {
        self.now += Duration::from_millis(millis);
        self.session.handle_timeout(self.now)
    }
}

/// The server's messages (type, stream, body), read by the plain rules: it only writes type 0 chunks.
pub(crate) fn server_messages(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 12 && bytes[0] >> 6 == 0, "a type 0 header");
        let length = u32::from_be_bytes([0, bytes[4], bytes[5], bytes[6]]) as usize;
        let stream = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        messages.push((bytes[7], stream, bytes[12..12 + length].to_vec()));
        bytes = &bytes[12 + length..];
    }
    messages
}

pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The audio of events, for comparisons.
pub(crate) fn audio_of(events: &[Event]) -> Vec<(u32, Vec<u8>)> {
    let audio = |event: &Event| match event {
        Event::Audio { timestamp_ms, body } => Some((*timestamp_ms, body.clone())),
        _ => None,
    };
    events.iter().filter_map(audio).collect()
}
