//! A TCP relay that stamps when the first audio frame of a WebSocket client came by. It is outside of the processes that
//! are measured, so it costs them nothing.

use anyhow::Result;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

/// A relay and what it saw.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    /// When a WebSocket client's first binary frame of each connection came by.
    pub first_binary: Receiver<Instant>,
}

impl Relay {
    /// Relays connections to a loopback port until the process ends.
    pub fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let own = listener.local_addr()?.port();
        let (binary, first_binary) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let binary = binary.clone();
                std::thread::spawn(move || connect(client, port, binary));
            }
        });
        Ok(Self { port: own, first_binary })
    }
}

fn connect(client: TcpStream, port: u16, binary: Sender<Instant>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let (Ok(client_writer), Ok(server_writer)) = (client.try_clone(), server.try_clone()) else { return };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
    }
    std::thread::spawn(move || pump(server, client_writer, |_| {}));
    let mut watch = Watch::default();
    pump(client, server_writer, |bytes| {
        if watch.binary_begins(bytes) {
            let _ = binary.send(Instant::now());
        }
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0u8; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        see(&buffer[..count]);
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Finds the first binary frame after an upgrade request's head.
#[derive(Debug, Default)]
struct Watch {
    bytes: Vec<u8>,
    done: bool,
}

impl Watch {
    fn binary_begins(&mut self, bytes: &[u8]) -> bool {
        if self.done {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        if !self.bytes.starts_with(b"GET ") {
            self.done = true;
            return false;
        }
        self.done = first_opcodes(&self.bytes[end + 4..]).any(|opcode| opcode == 2);
        self.done
    }
}

/// Opcodes of masked client frames, as far as they are there (RFC 6455 §5.2).
fn first_opcodes(mut rest: &[u8]) -> impl Iterator<Item = u8> + '_ {
    std::iter::from_fn(move || {
        let [first, second, ..] = *rest else { return None };
        let short = usize::from(second & 0x7f);
        let (head, length) = match short {
            126 => (8, usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]))),
            127 => (14, u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?) as usize),
            short => (6, short),
        };
        rest = rest.get(head + length..).unwrap_or_default();
        Some(first & 0x0f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /v2/live?token=x HTTP/1.1\r\nupgrade: websocket\r\n\r\n";

    #[test]
    fn a_text_frame_before_the_audio_is_not_audio() {
        let mut watch = Watch::default();
        assert!(!watch.binary_begins(HEAD));
        assert!(!watch.binary_begins(&[0x81, 0x82, 0, 0, 0, 0, b'{', b'}']));
        assert!(watch.binary_begins(&[0x82, 0xfe, 0x0c, 0x80, 0, 0, 0, 0]));
        assert!(!watch.binary_begins(&[0x82, 0x80, 0, 0, 0, 0]), "only the first counts");
    }

    #[test]
    fn a_request_with_a_body_is_not_a_socket() {
        let mut watch = Watch::default();
        assert!(!watch.binary_begins(b"POST /v2/live HTTP/1.1\r\n\r\n\x82\x80\0\0\0\0"));
        assert!(!watch.binary_begins(&[0x82, 0x80, 0, 0, 0, 0]));
    }
}
