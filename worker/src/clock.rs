//! The only clock of a worker: monotonic time since the process started, and the wall time of that start.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Monotonic time since the first call in this process: what the pure crates call `now`.
pub fn now() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}

/// Wall time in milliseconds since 1970, UTC.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The tokio instant at which [`now`] will be `at`.
pub fn instant(at: Duration) -> tokio::time::Instant {
    (*START.get_or_init(Instant::now) + at).into()
}

/// The lowest level of tokio's timer wheel. A timer that is due beyond it wakes the process at the slot's begin and once
/// more when it is due, unless the two are the same; and timers of many sessions that share a slot share a wake-up.
pub const SLOT: Duration = Duration::from_millis(64);

/// The first instant at or after `at` (on [`now`]'s clock) at which a slot begins. It fits tokio's wheel when the clock
/// was read right before the runtime was built; else it is an instant like any other.
pub fn slot_after(at: Duration) -> tokio::time::Instant {
    let slots = at.as_nanos().div_ceil(SLOT.as_nanos());
    instant(SLOT * u32::try_from(slots).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_slot_begins_at_or_after_the_instant_asked_for() {
        for (at_ms, slot_ms) in [(0, 0), (1, 64), (64, 64), (65, 128), (6_399, 6_400)] {
            assert_eq!(
                slot_after(Duration::from_millis(at_ms)),
                instant(Duration::from_millis(slot_ms)),
                "{at_ms} ms"
            );
        }
    }
}
