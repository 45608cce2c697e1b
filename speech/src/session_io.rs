//! What goes into a session and what comes out.

use std::time::Duration;

use bytes::Bytes;

use crate::faults::Break;
use crate::pool::{Heard, Job};

/// The present: monotonic time since the session's start, and wall time as RFC 3339.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    pub(crate) now: Duration,
    pub(crate) wall: String,
}

pub(crate) enum Input {
    /// A socket is connected.
    Attached,
    /// The socket is gone; `for_good` = by close code 1000, which ends the session.
    Detached {
        for_good: bool,
    },
    Audio(Bytes),
    Text(String),
    Heard(Heard),
    /// [`Session::wake_at`] has come.
    Wake,
}

/// What kind of message it is, for what happens when the client reads slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Ack,
    Partial,
    Final,
    Other,
}

pub(crate) enum Output {
    Send(Class, String),
    Recognise(Job),
    /// Audio that is now part of the session.
    Store(Bytes),
    /// The connection must end.
    Break(Break),
    /// The socket must not be read for so long.
    Stall(Duration),
    /// All is said; the result is ready.
    Finished,
}
