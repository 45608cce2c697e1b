//! RTMP time as the clock (contract §4): decides where the next frame stands, and what stands before it.

use std::time::Duration;

/// Closer than this to where it was expected, a frame follows the last one: RTMP time is whole milliseconds, and
/// encoders round. Stalls and bursts with continuous timestamps never come near it.
const TOLERANCE: i64 = 16_000 / 8;
/// A longer hole is not filled: the map jumps.
pub(crate) const MAX_FILL: u64 = 60 * 16_000;
const SAMPLES_PER_MS: i64 = 16;

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Right after the last sample.
    Follows,
    /// After a hole of so many samples.
    After { hole: u64, new_publish: bool },
}

#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// (unwrapped RTMP ms, media sample) of this publish.
    anchor: Option<(i64, u64)>,
    last_raw: u32,
    unwrapped: i64,
    /// When the last audio came, if some publish came before.
    last_audio: Option<Duration>,
    /// Idle time that a restarted worker was told.
    restored_idle: Option<Duration>,
    restored_at: Option<Duration>,
}

impl Clock {
    pub(crate) fn restored(idle: Duration) -> Self {
        Self { restored_idle: Some(idle), ..Self::default() }
    }

    /// A new publish: its first audio frame anchors RTMP time, whatever the header's timestamp was.
    pub(crate) fn publish(&mut self, now: Duration) {
        self.anchor = None;
        self.restored_at.get_or_insert(now);
    }

    /// `next` is the media position right after everything produced or held so far.
    pub(crate) fn place(&mut self, raw: u32, next: u64, now: Duration) -> Place {
        let time = self.unwrap(raw);
        let away = match (self.last_audio.replace(now), self.restored_idle.take()) {
            (Some(last), _) => Some(now.saturating_sub(last)),
            (None, Some(idle)) => Some(idle + now.saturating_sub(self.restored_at.unwrap_or(now))),
            (None, None) => None,
        };
        let Some((anchor_time, anchor_media)) = self.anchor else {
            let hole = away.map_or(0, |away| away.as_millis() as u64 * SAMPLES_PER_MS as u64);
            let hole = if hole > TOLERANCE as u64 { hole } else { 0 };
            self.anchor = Some((time, next + hole));
            return if hole == 0 { Place::Follows } else { Place::After { hole, new_publish: true } };
        };
        let expected = anchor_media as i64 + (time - anchor_time) * SAMPLES_PER_MS;
        let ahead = expected - next as i64;
        if ahead.abs() <= TOLERANCE {
            return Place::Follows;
        }
        if ahead < 0 {
            // RTMP time jumped backwards: the frame follows, and its time is the new anchor.
            self.anchor = Some((time, next));
            return Place::Follows;
        }
        Place::After { hole: ahead as u64, new_publish: false }
    }

    /// RTMP time is 32 bits; ffmpeg masks it to 31. Both wraps are steps of less than half the range.
    fn unwrap(&mut self, raw: u32) -> i64 {
        let modulus: i64 = if self.last_raw < 1 << 31 && raw < 1 << 31 { 1 << 31 } else { 1 << 32 };
        let step = (i64::from(raw) - i64::from(self.last_raw)).rem_euclid(modulus);
        let step = if step > modulus / 2 { step - modulus } else { step };
        if self.anchor.is_none() {
            self.unwrapped = i64::from(raw);
        } else {
            self.unwrapped += step;
        }
        self.last_raw = raw;
        self.unwrapped
    }
}
