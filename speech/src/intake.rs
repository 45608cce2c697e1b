//! The bytes of a session: counted over all its connections, acknowledged, and only then heard.
//!
//! `byte_range` is half-open and relative to the whole session: Gladia's SDKs drop exactly
//! `byte_range[1] - already_acknowledged` bytes of their resend buffer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::faults::{AckFaults, Unacked};

/// What became due: audio to hear, in order, and a range to acknowledge.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub(crate) audio: Vec<Bytes>,
    pub(crate) ack: Option<(u64, u64)>,
}

/// Byte accounting of one session.
pub(crate) struct Intake {
    frame_bytes: usize,
    faults: AckFaults,
    unacked: Unacked,
    received: u64,
    acked: u64,
    chunks: u32,
    /// Received and not yet heard.
    pending: VecDeque<Bytes>,
    /// When to acknowledge up to which byte.
    due: VecDeque<(Duration, u64)>,
}

impl Intake {
    pub(crate) fn new(frame_bytes: usize, faults: AckFaults, unacked: Unacked) -> Self {
        let (pending, due) = (VecDeque::new(), VecDeque::new());
        Self { frame_bytes, faults, unacked, received: 0, acked: 0, chunks: 0, pending, due }
    }

    /// Bytes received, in session offsets.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Takes a chunk; the error is the text of its refusal.
    pub(crate) fn chunk(&mut self, bytes: Bytes, now: Duration) -> Result<Taken, String> {
        if !bytes.len().is_multiple_of(self.frame_bytes) {
            return Err(format!(
                "The chunk must contain complete frames of {} bytes; it has {} bytes",
                self.frame_bytes,
                bytes.len()
            ));
        }
        self.chunks += 1;
        if self.faults.refuse_every > 0 && self.chunks.is_multiple_of(self.faults.refuse_every) {
            return Err("The chunk was refused on purpose".into());
        }
        self.received += bytes.len() as u64;
        self.pending.push_back(bytes);
        if !self.faults.withhold && self.chunks.is_multiple_of(self.faults.coalesce.max(1)) {
            self.due.push_back((now + Duration::from_millis(self.faults.delay_ms), self.received));
        }
        Ok(self.due(now))
    }

    /// What is due at `now`.
    pub(crate) fn due(&mut self, now: Duration) -> Taken {
        let mut taken = Taken::default();
        while let Some((_, end)) = self.due.front().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_front();
            taken.ack = Some((taken.ack.map_or(self.acked, |(from, _)| from), end));
        }
        if let Some((_, end)) = taken.ack {
            self.acked = end;
        }
        let heard_up_to = if self.unacked == Unacked::Keep { self.received } else { self.acked };
        taken.audio = self.hear(heard_up_to);
        taken
    }

    /// When [`Intake::due`] has something again.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.due.front().map(|(at, _)| *at)
    }

    /// The recording stops: everything received is heard and, unless withheld, acknowledged.
    pub(crate) fn flush(&mut self) -> Taken {
        self.due.clear();
        let ack =
            (!self.faults.withhold && self.acked < self.received).then_some((self.acked, self.received));
        if ack.is_some() {
            self.acked = self.received;
        }
        Taken { audio: self.hear(self.received), ack }
    }

    /// The connection broke.
    pub(crate) fn broken(&mut self) {
        self.due.clear();
        if self.unacked == Unacked::Drop {
            self.pending.clear();
            self.received = self.acked;
        }
    }

    fn hear(&mut self, up_to: u64) -> Vec<Bytes> {
        let waiting: u64 = self.pending.iter().map(|b| b.len() as u64).sum();
        let mut at = self.received - waiting;
        let mut audio = Vec::new();
        while self.pending.front().is_some_and(|b| at + b.len() as u64 <= up_to) {
            let Some(bytes) = self.pending.pop_front() else { break };
            at += bytes.len() as u64;
            audio.push(bytes);
        }
        audio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn intake(faults: AckFaults, unacked: Unacked) -> Intake {
        Intake::new(2, faults, unacked)
    }

    fn bytes(n: usize) -> Bytes {
        Bytes::from(vec![0; n])
    }

    #[test]
    fn ranges_are_half_open_and_go_on_over_a_break() {
        let mut intake = intake(AckFaults::default(), Unacked::Drop);
        assert_eq!(intake.chunk(bytes(3200), NOW).unwrap().ack, Some((0, 3200)));
        intake.broken();
        assert_eq!(intake.chunk(bytes(100), NOW).unwrap().ack, Some((3200, 3300)));
        assert_eq!(intake.chunk(bytes(0), NOW).unwrap().ack, Some((3300, 3300)));
    }

    #[test]
    fn unacknowledged_audio_is_heard_once_when_dropped_and_twice_when_kept() {
        for (unacked, heard) in [(Unacked::Drop, 200), (Unacked::Keep, 300)] {
            let mut intake = intake(AckFaults { withhold: true, ..AckFaults::default() }, unacked);
            let mut audio = intake.chunk(bytes(100), NOW).unwrap().audio;
            intake.broken();
            audio.extend(intake.chunk(bytes(100), NOW).unwrap().audio);
            audio.extend(intake.chunk(bytes(100), NOW).unwrap().audio);
            audio.extend(intake.flush().audio);
            assert_eq!(audio.iter().map(Bytes::len).sum::<usize>(), heard, "{unacked:?}");
        }
    }

    #[test]
    fn acks_are_delayed_and_coalesced_as_told() {
        let mut intake =
            intake(AckFaults { delay_ms: 500, coalesce: 2, ..AckFaults::default() }, Unacked::Drop);
        for _ in 0..4 {
            assert_eq!(intake.chunk(bytes(10), NOW).unwrap(), Taken::default());
        }
        let at = intake.next_due().unwrap();
        assert_eq!(at, Duration::from_millis(500));
        let taken = intake.due(at);
        assert_eq!((taken.ack, taken.audio.len()), (Some((0, 40)), 4));
    }

    #[test]
    fn a_split_sample_is_refused_and_not_counted() {
        let mut intake = intake(AckFaults::default(), Unacked::Drop);
        assert!(intake.chunk(bytes(3), NOW).unwrap_err().contains("complete frames"));
        assert_eq!(intake.received(), 0);
    }
}
