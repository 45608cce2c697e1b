//! A thousand WebSocket viewers on one thread: raw sockets, own handshake, own framing, so that the same generator
//! measures any server. Each message carries `@@<number>:<nanoseconds>`; every viewer must get every number once, in order.

use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// No message within this is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
const MARKER: &[u8] = b"@@";
const NUMBER: usize = 8;
const STAMP: usize = 20;
/// The server answers a handshake with less.
const HEAD_MAX: usize = 8 * 1024;

/// What all viewers of one run share.
#[derive(Debug)]
pub struct Audience {
    viewers: u32,
    begun: Instant,
    /// Viewers that have each message, by number.
    got: Vec<u32>,
    complete: usize,
    /// Seconds from publishing to each delivery, of the phase under way.
    latencies: Vec<f64>,
    /// Payload bytes of the newest message.
    payload: usize,
    failed: Option<String>,
    changed: Rc<Notify>,
}

impl Audience {
    /// Of so many viewers.
    pub fn new(viewers: u32) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            viewers,
            begun: Instant::now(),
            got: Vec::new(),
            complete: 0,
            latencies: Vec::new(),
            payload: 0,
            failed: None,
            changed: Rc::default(),
        }))
    }

    /// The marker of the next message.
    pub fn next_marker(&mut self) -> String {
        self.got.push(0);
        format!("@@{:08}:{:020}", self.got.len() - 1, self.begun.elapsed().as_nanos())
    }

    /// Messages published that not every viewer has.
    pub fn in_flight(&self) -> usize {
        self.got.len() - self.complete
    }

    /// Payload bytes of the newest message, as it arrived.
    pub fn payload(&self) -> usize {
        self.payload
    }

    /// Latencies since the last call.
    pub fn take_latencies(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.latencies)
    }

    fn deliver(&mut self, expected: usize, payload: &[u8]) -> Result<()> {
        let (number, nanoseconds) = stamp_of(payload).context("a message without a stamp")?;
        ensure!(number == expected, "a viewer got message {number}, not {expected}");
        let latency = self.begun.elapsed().saturating_sub(Duration::from_nanos(nanoseconds));
        self.latencies.push(latency.as_secs_f64());
        self.payload = payload.len();
        self.got[number] += 1;
        while self.got.get(self.complete).is_some_and(|got| *got == self.viewers) {
            self.complete += 1;
            self.changed.notify_one();
        }
        Ok(())
    }
}

/// Waits until fewer than `window` messages are in flight.
pub async fn until_below(audience: &Rc<RefCell<Audience>>, window: usize) -> Result<()> {
    loop {
        let changed = {
            let audience = audience.borrow();
            if let Some(failed) = &audience.failed {
                bail!("{failed}");
            }
            if audience.in_flight() < window {
                return Ok(());
            }
            Rc::clone(&audience.changed)
        };
        tokio::time::timeout(PATIENCE, changed.notified()).await.context("messages do not arrive")?;
    }
}

/// Connects one viewer, whose socket is then read by a task of its own until the run ends.
pub async fn connect(port: u16, path: &str, audience: &Rc<RefCell<Audience>>) -> Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let end = loop {
        ensure!(socket.read_buf(&mut head).await? > 0 && head.len() < HEAD_MAX, "no handshake");
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    ensure!(head.starts_with(b"HTTP/1.1 101"), "refused: {}", String::from_utf8_lossy(&head[..end]));
    let rest = head.split_off(end);
    let audience = Rc::clone(audience);
    tokio::task::spawn_local(async move {
        if let Err(error) = read(socket, rest, &audience).await {
            let mut audience = audience.borrow_mut();
            audience.failed.get_or_insert_with(|| format!("a viewer broke: {error:#}"));
            audience.changed.notify_one();
        }
    });
    Ok(())
}

async fn read(mut socket: TcpStream, mut waiting: Vec<u8>, audience: &RefCell<Audience>) -> Result<()> {
    let mut expected = 0;
    let mut buffer = [0u8; 8192];
    loop {
        let mut pings = 0;
        let used = take_frames(&waiting, |opcode, payload| match opcode {
            1 if payload.windows(2).any(|two| two == MARKER) => {
                expected += 1;
                audience.borrow_mut().deliver(expected - 1, payload)
            }
            1 => Ok(()),
            9 => {
                pings += 1;
                Ok(())
            }
            opcode => bail!("frame {opcode}"),
        })?;
        waiting.drain(..used);
        for _ in 0..pings {
            // An empty Pong under a mask of zeros.
            socket.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?;
        }
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => bail!("the server closed"),
            Ok(count) => waiting.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Hands over whole unmasked frames (RFC 6455 §5.2); answers how many bytes they were.
fn take_frames(bytes: &[u8], mut take: impl FnMut(u8, &[u8]) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let [first, second, ..] = *rest else { return Ok(used) };
        let (head, length) = match second {
            126 if rest.len() >= 4 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            0..=125 => (2, usize::from(second)),
            126 => return Ok(used),
            _ => bail!("a frame that is masked or longer than 64 KiB"),
        };
        let Some(payload) = rest.get(head..head + length) else { return Ok(used) };
        take(first & 0x0f, payload)?;
        used += head + length;
    }
}

/// Number and nanoseconds behind the marker.
fn stamp_of(payload: &[u8]) -> Option<(usize, u64)> {
    let at = payload.windows(2).position(|two| two == MARKER)? + MARKER.len();
    let number = std::str::from_utf8(payload.get(at..at + NUMBER)?).ok()?.parse().ok()?;
    let at = at + NUMBER + 1;
    let stamp = std::str::from_utf8(payload.get(at..at + STAMP)?).ok()?.parse().ok()?;
    Some((number, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_in_order() {
        let mut bytes = vec![0x81, 3, b'a', b'b', b'c', 0x89, 0, 0x81, 126, 0, 200];
        bytes.extend([b'x'; 200]);
        for cut in 0..=bytes.len() {
            let mut seen = Vec::new();
            let take = |opcode, payload: &[u8]| {
                seen.push((opcode, payload.len()));
                Ok(())
            };
            let used = take_frames(&bytes[..cut], take).unwrap();
            let whole = [(5, (1, 3)), (7, (9, 0)), (211, (1, 200))];
            let expected: Vec<_> = whole.iter().filter(|(end, _)| *end <= cut).collect();
            assert_eq!(seen, expected.iter().map(|(_, frame)| *frame).collect::<Vec<_>>(), "cut at {cut}");
            assert_eq!(used, expected.last().map_or(0, |(end, _)| *end));
        }
    }

    #[test]
    fn a_message_that_a_viewer_missed_is_found() {
        let audience = Audience::new(1);
        let mut audience = audience.borrow_mut();
        let (first, second) = (audience.next_marker(), audience.next_marker());
        audience.deliver(0, first.as_bytes()).unwrap();
        assert_eq!(audience.in_flight(), 1);
        assert!(audience.deliver(2, second.as_bytes()).is_err());
    }
}
