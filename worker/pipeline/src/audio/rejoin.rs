//! The first moments of a publish that follows another: how much of its audio is a start burst, heard before it connected?
//!
//! Media time advances by the time between the last byte and the first *less the start burst* (contract §4). A real egress
//! sends 0.2–0.8 s at once, within milliseconds, and only what follows shows how much that was: so frames wait here for a
//! fraction of a second. A reconnect in the same timeline needs none of this (`Clock::continues`).

use std::collections::VecDeque;
use std::time::Duration;

/// The burst of a real egress came within 20 ms; reads are coalesced to 100 ms.
const WINDOW: Duration = Duration::from_millis(250);
/// Bounds of what waits: over them the decision is made with what is known.
const MAX_FRAMES: usize = 512;
const MAX_BYTES: usize = 256 * 1024;

/// A frame that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) frame: Vec<u8>,
    pub(crate) raw: u32,
    pub(crate) now: Duration,
}

/// Frames of a publish whose place is not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Rejoin {
    frames: VecDeque<Waiting>,
    bytes: usize,
    /// The most that the stream was ahead of the wall, in ms.
    burst_ms: i64,
}

impl Rejoin {
    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes a frame of so many ms; `true` when the decision is due.
    pub(crate) fn push(&mut self, frame: &[u8], frame_ms: i64, raw: u32, now: Duration) -> bool {
        self.bytes += frame.len();
        self.frames.push_back(Waiting { frame: frame.to_vec(), raw, now });
        let Some(first) = self.frames.front() else { return true };
        let stream = i64::from(raw.wrapping_sub(first.raw).cast_signed());
        let wall = now.saturating_sub(first.now);
        self.burst_ms = self.burst_ms.max(stream + frame_ms - wall.as_millis() as i64);
        wall >= WINDOW || self.frames.len() >= MAX_FRAMES || self.bytes >= MAX_BYTES
    }

    /// RTMP time and arrival of the first frame, and how much audio came at once, in ms.
    pub(crate) fn decide(&self) -> Option<(u32, Duration, i64)> {
        self.frames.front().map(|first| (first.raw, first.now, self.burst_ms))
    }

    /// The frames, in order; nothing waits afterwards.
    pub(crate) fn take(&mut self) -> VecDeque<Waiting> {
        std::mem::take(self).frames
    }
}
