//! What a session knows of its socket.

use tokio::sync::mpsc;

use crate::actor::{Frame, ToSocket};
use crate::faults::Break;

/// A socket, from its upgrade until its `Gone` has come through the queue of frames.
///
/// The way out of a socket breaks before the last frames that it read are through the queue. Whether these count is
/// known only with `Gone`: after a break the client sends them again, after a close for good it does not.
pub(crate) struct Connection {
    pub(crate) number: u64,
    writer: Option<mpsc::Sender<ToSocket>>,
    /// What came after the last answer that could be given; at most what the queue of frames holds.
    unanswered: Vec<Frame>,
}

impl Connection {
    pub(crate) fn new(number: u64, writer: mpsc::Sender<ToSocket>) -> Self {
        Self { number, writer: Some(writer), unanswered: Vec::new() }
    }

    /// Where its messages go; `None` once nothing can be told any more.
    pub(crate) fn writer(&self) -> Option<mpsc::Sender<ToSocket>> {
        self.writer.clone()
    }

    /// Nothing is told from now on; the socket ends when it notices.
    pub(crate) fn silence(&mut self) {
        self.writer = None;
    }

    /// The last word, if there is room for it.
    pub(crate) fn tell_now(&self, how: Break) {
        if let Some(writer) = &self.writer {
            let _ = writer.try_send(ToSocket::Break(how));
        }
    }

    /// Gives `frame` back when it is to be handled now.
    pub(crate) fn admit(&mut self, frame: Frame) -> Option<Frame> {
        if self.writer.is_some() || matches!(frame, Frame::Gone { .. }) {
            return Some(frame);
        }
        self.unanswered.push(frame);
        None
    }

    /// The frames that wait for the verdict, in order.
    pub(crate) fn unanswered(self) -> Vec<Frame> {
        self.unanswered
    }
}
