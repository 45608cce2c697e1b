//! A small, hardened, ingest-only RTMP protocol core: bytes and now in, events and bytes out.
//!
//! One [`ServerSession`] is one TCP connection of a publisher. It owns no socket and no clock: the caller gives
//! received bytes and `now` (a [`Duration`](std::time::Duration) since any fixed monotonic start), writes
//! [`ServerSession::outbound`] to the socket and drains [`ServerSession::poll_event`].
//!
//! ```
//! # use std::time::Duration;
//! use roomscribe_rtmp::{Limits, ServerSession};
//! let mut session = ServerSession::new(Limits::default(), [7; 32], Duration::ZERO);
//! assert!(session.receive(b"GET / HTTP/1.1\r\n", Duration::ZERO).is_err(), "only RTMP version 3 is spoken");
//! ```
//!
//! # The loop around it
//!
//! 1. Wait for bytes or [`ServerSession::next_deadline`]; give them to [`ServerSession::receive`] (at most 64 KiB at a
//!    time) or call [`ServerSession::handle_timeout`]. Set `TCP_QUICKACK` before each read: publishers write small
//!    pieces and wait for their acknowledgement, 40 ms each (measured: 90 ms less from connect to publish).
//! 2. Drain [`ServerSession::poll_event`], also when `receive` gave an error; answer [`Event::Publish`].
//! 3. Write [`ServerSession::outbound`], with a send timeout, and report [`ServerSession::sent`].
//! 4. After an error or a rejection: write what is outbound, shut down the write side, read on for a moment, close. A
//!    close with unread bytes is a reset, and the publisher may never see why it was refused.
//!
//! `tests/common/mod.rs` is such a loop in 80 lines.
//!
//! # Memory
//!
//! Grows with the bytes that arrived, never with what a header declares. With the default [`Limits`] one connection
//! holds at most about 1 MiB of unfinished messages and 1 MiB of waiting audio; a usual publisher holds a few KiB.
//!
//! # Sources
//!
//! Protocol source: Adobe's "Real Time Messaging Protocol" 1.0 (2012) and "Action Message Format AMF 0" (2007).
//! What publishers really send was measured with ffmpeg 5.1, GStreamer 1.22 and 1.26, librtmp and LiveKit egress 1.14;
//! the tests name each habit. What hostile peers may send, and what each limit answers, is in [`Limits`] and
//! [`SessionError`].

mod amf0;
mod chunk;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod limits;
mod outbox;
mod session;
mod time;

pub use amf0::Amf0Error;
pub use error::SessionError;
pub use event::{AudioCodec, Event, Metadata, Rejection, StreamKey};
pub use limits::Limits;
pub use session::{ServerSession, Stats};
pub use time::UnwrappedTime;
