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
