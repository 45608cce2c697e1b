//! RTMP time as the clock (contract §4): decides where the next frame stands, and what stands before it.

use roomscribe_rtmp::UnwrappedTime;
use std::time::Duration;

/// Closer than this (60 ms) to where it was expected, a frame follows the last one: RTMP time is whole milliseconds, and
/// encoders round. A real egress stays within 1 ms; stalls and bursts with continuous timestamps never come near it.
pub(crate) const TOLERANCE: i64 = 60 * SAMPLES_PER_MS;
/// A longer hole is not filled: the map jumps.
pub(crate) const MAX_FILL: u64 = 60 * 16_000;
/// A step back beyond this begins a new timeline at once; a smaller one may be jitter, and is one if it does not stay.
const STEP_BACK: i64 = 1000 * SAMPLES_PER_MS;
/// About a second of frames, all late: then it was a step back.
const LATE_FRAMES: u32 = 48;
/// No true stream skips a day: such a step is a broken clock, and only begins a new timeline.
const LONGEST_JUMP: i64 = 24 * 3_600_000 * SAMPLES_PER_MS;
/// A real egress sends 0.2–0.8 s at once when it begins, so its stream time may be this much behind the wall.
const LONGEST_BURST: i64 = 1500 * SAMPLES_PER_MS;
/// … and this much before it, by jitter of arrival.
const ARRIVAL_JITTER: i64 = 250 * SAMPLES_PER_MS;
pub(crate) const SAMPLES_PER_MS: i64 = 16;

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Right after the last sample.
    Follows,
    /// After a hole of so many samples.
    After(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Clock {
    time: UnwrappedTime,
    /// (unwrapped RTMP ms, media sample).
    anchor: Option<(i64, i64)>,
    /// When the last audio came, on the caller's monotonic clock; before its start for audio of an earlier process.
    last_audio_ms: Option<i64>,
    /// Consecutive frames that stood before the last sample, and the least late of them.
    late: (u32, i64),
    /// Timelines that began within a publish.
    pub(crate) reanchors: u64,
}

impl Clock {
    /// A clock of a process that follows another, whose last audio came `idle` before `as_of`.
    pub(crate) fn restored(idle: Duration, as_of: Duration) -> Self {
        let last = as_of.as_millis() as i64 - idle.as_millis() as i64;
        Self { last_audio_ms: Some(last), ..Self::default() }
    }

    /// Audio came.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.last_audio_ms = Some(now.as_millis() as i64);
    }

    /// Monotonic time since the last audio of an earlier publish; `None` when there was none.
    pub(crate) fn away_ms(&self, now: Duration) -> Option<i64> {
        Some((now.as_millis() as i64 - self.last_audio_ms?).max(0))
    }

    /// First frame of another publish: does it go on in the timeline of the last one, as a reconnecting egress does?
    /// Then that timeline rules and says to the millisecond how long the hole is. It must agree with the wall.
    pub(crate) fn continues(&self, raw: u32, next: u64, now: Duration) -> bool {
        let Some(away) = self.away_ms(now) else { return false };
        let mut time = self.time;
        let Some(hole) = self.ahead(time.advance(raw), next) else { return false };
        let burst = away * SAMPLES_PER_MS - hole;
        raw != 0 && hole >= -TOLERANCE && (-ARRIVAL_JITTER..=LONGEST_BURST).contains(&burst)
    }

    /// Begins a timeline: the frame of this RTMP time stands at media sample `at`.
    pub(crate) fn begin(&mut self, raw: u32, at: u64) {
        self.anchor = Some((self.time.advance(raw), at as i64));
        self.late = (0, i64::MIN);
    }

    /// `next` is the media position right after everything produced or held so far.
    pub(crate) fn place(&mut self, raw: u32, next: u64) -> Place {
        let time = self.time.advance(raw);
        let Some(ahead) = self.ahead(time, next) else {
            self.anchor = Some((time, next as i64));
            return Place::Follows;
        };
        if !(-STEP_BACK..=LONGEST_JUMP).contains(&ahead) {
            self.reanchor((time, next as i64));
        } else if ahead < -TOLERANCE {
            self.is_late(time, next, ahead);
        } else {
            self.late = (0, i64::MIN);
            if ahead > TOLERANCE {
                return Place::After(ahead as u64);
            }
        }
        Place::Follows
    }

    /// Samples between `next` and where RTMP time wants the frame.
    fn ahead(&self, time: i64, next: u64) -> Option<i64> {
        let (anchor_time, anchor_media) = self.anchor?;
        let since = time.saturating_sub(anchor_time).saturating_mul(SAMPLES_PER_MS);
        Some(anchor_media.saturating_add(since).saturating_sub(next as i64))
    }

    /// Re-anchoring on every late frame would let jitter push media time ahead of the stream without end; never doing so
    /// would hide the next true hole.
    fn is_late(&mut self, time: i64, next: u64, ahead: i64) {
        self.late = (self.late.0 + 1, self.late.1.max(ahead));
        if self.late.0 >= LATE_FRAMES {
            let least = self.late.1 - ahead;
            self.reanchor((time, next as i64 - least));
        }
    }

    fn reanchor(&mut self, anchor: (i64, i64)) {
        self.anchor = Some(anchor);
        self.late = (0, i64::MIN);
        self.reanchors += 1;
    }
}
