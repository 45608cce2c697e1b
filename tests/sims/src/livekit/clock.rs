//! The simulated clock: real time from the start on, times `speed`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    begun: Instant,
    begun_at: Duration,
    pub(super) speed: f64,
}

impl Clock {
    pub(super) fn start(speed: f64) -> Self {
        let begun_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { begun: Instant::now(), begun_at, speed }
    }

    /// Since 1970.
    pub(super) fn now(&self) -> Duration {
        self.begun_at + self.begun.elapsed().mul_f64(self.speed)
    }

    /// When the simulated clock shows `time`.
    pub(super) fn instant(&self, time: Duration) -> Instant {
        self.begun + self.real(time.saturating_sub(self.begun_at))
    }

    /// How long a simulated time really takes.
    pub(super) fn real(&self, time: Duration) -> Duration {
        time.div_f64(self.speed)
    }
}
