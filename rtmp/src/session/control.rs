//! Protocol control messages (RTMP 1.0 §5.4, §7.1.7) and acknowledgements.

use std::time::Duration;

use super::{Phase, STREAM_ID, ServerSession};
use crate::SessionError;
use crate::chunk::{message_type, write_message};

const CONTROL_CSID: u8 = 2;
/// Smaller windows would buy an answer per few bytes.
const MIN_ACK_WINDOW: u64 = 64 * 1024;
/// A quiet stream is acknowledged too: LiveKit's egress judges progress by acknowledged bytes, every 5 s.
const ACK_INTERVAL: Duration = Duration::from_secs(1);

const STREAM_BEGIN: u16 = 0;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// Counts bytes after the handshake and says when the peer must hear of them.
///
/// LiveKit's egress gives up for good when it is dropped in its first 5 s without any acknowledgement, so the first one
/// follows the first bytes after `publish`.
#[derive(Debug)]
pub(super) struct Acknowledger {
    total: u64,
    acknowledged: u64,
    window: u64,
    /// Bytes up to and including `publish`.
    before_media: Option<u64>,
    last: Option<Duration>,
}

impl Default for Acknowledger {
    fn default() -> Self {
        Self { total: 0, acknowledged: 0, window: MIN_ACK_WINDOW, before_media: None, last: None }
    }
}

impl Acknowledger {
    pub(super) fn received(&mut self, bytes: usize) {
        self.total += bytes as u64;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn publish_began(&mut self) {
        self.before_media = Some(self.total);
    }

    fn set_window(&mut self, window: u32) {
        // 0 means unset; dividing by it has crashed another server.
        self.window = u64::from(window).max(MIN_ACK_WINDOW);
    }

    /// The running total to send, when it is due.
    fn due(&mut self, now: Duration) -> Option<u32> {
        let unacknowledged = self.total - self.acknowledged;
        let media = self.before_media.is_some_and(|before| self.total > before);
        let late = match self.last {
            None => true,
            Some(last) => now.saturating_sub(last) >= ACK_INTERVAL,
        };
        if !media || unacknowledged == 0 || !(late || unacknowledged >= self.window) {
            return None;
        }
        self.acknowledged = self.total;
        self.last = Some(now);
        // The field is the total modulo 2^32 (RTMP 1.0 §5.4.3).
        Some((self.total & u64::from(u32::MAX)) as u32)
    }
}

impl ServerSession {
    pub(super) fn acknowledge_if_due(&mut self) -> Result<(), SessionError> {
        if let Some(total) = self.acknowledger.due(self.now) {
            self.stats.acknowledgements += 1;
            self.send_control(message_type::ACKNOWLEDGEMENT, &total.to_be_bytes())?;
        }
        Ok(())
    }

    pub(super) fn control(&mut self, type_id: u8, body: &[u8]) -> Result<(), SessionError> {
        match type_id {
            message_type::SET_CHUNK_SIZE => self.reader.set_chunk_size(number(type_id, body)?),
            message_type::ABORT => {
                self.reader.abort(number(type_id, body)?);
                Ok(())
            }
            message_type::WINDOW_ACK_SIZE => {
                self.acknowledger.set_window(number(type_id, body)?);
                Ok(())
            }
            message_type::USER_CONTROL => self.user_control(body),
            // Acknowledgement and SetPeerBandwidth: we send too little for either to matter.
            _ => number(type_id, body).map(|_| ()),
        }
    }

    fn user_control(&mut self, body: &[u8]) -> Result<(), SessionError> {
        let short =
            SessionError::ShortControlMessage { type_id: message_type::USER_CONTROL, length: body.len() };
        let (kind, data) = body.split_first_chunk::<2>().ok_or(short)?;
        if u16::from_be_bytes(*kind) == PING_REQUEST {
            let time = data.first_chunk::<4>().ok_or(short)?;
            self.send_control(
                message_type::USER_CONTROL,
                &[&PING_RESPONSE.to_be_bytes()[..], time].concat(),
            )?;
        }
        Ok(())
    }

    pub(super) fn send_stream_begin(&mut self) -> Result<(), SessionError> {
        let body = [&STREAM_BEGIN.to_be_bytes()[..], &STREAM_ID.to_be_bytes()].concat();
        self.send_control(message_type::USER_CONTROL, &body)
    }

    pub(super) fn send_control(&mut self, type_id: u8, body: &[u8]) -> Result<(), SessionError> {
        write_message(&mut self.outbox, CONTROL_CSID, type_id, 0, body)
    }

    pub(super) fn begin_publishing(&mut self) {
        self.acknowledger.publish_began();
        self.reader.set_max_command_bytes(self.limits.max_command_bytes);
        self.phase = Phase::Publishing { accepted: false };
    }
}

fn number(type_id: u8, body: &[u8]) -> Result<u32, SessionError> {
    let short = SessionError::ShortControlMessage { type_id, length: body.len() };
    body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(short)
}
