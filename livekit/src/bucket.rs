//! One token bucket per LiveKit project: calls wait their turn instead of being refused with 429.

use std::time::Duration;

/// Design §5: 10 calls a second, 50 at once.
pub const DEFAULT_RATE: f64 = 10.0;
/// See [`DEFAULT_RATE`].
pub const DEFAULT_BURST: f64 = 50.0;

/// Tokens and the time at which they were counted. Pure: the caller brings `now`, a monotonic time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    counted_at: Duration,
}

impl Bucket {
    /// A full bucket. `rate` in calls per second, `burst` in calls; both at least 1 of anything sensible.
    pub fn new(rate: f64, burst: f64, now: Duration) -> Self {
        let burst = burst.max(1.0);
        Self { rate: rate.max(0.01), burst, tokens: burst, counted_at: now }
    }

    /// Takes one token; the answer is how long the call must wait before it may be made. Waiting calls keep their order,
    /// because each takes its token when it asks.
    pub fn take(&mut self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.counted_at).as_secs_f64();
        self.counted_at = self.counted_at.max(now);
        self.tokens = (self.tokens + passed * self.rate).min(self.burst) - 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::new(10.0, 5.0, Duration::ZERO);
        let waits: Vec<u128> = (0..8).map(|_| bucket.take(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn tokens_come_back_with_time_up_to_the_burst() {
        let mut bucket = Bucket::new(10.0, 2.0, Duration::ZERO);
        for _ in 0..4 {
            bucket.take(Duration::ZERO);
        }
        assert_eq!(bucket.take(Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(bucket.take(Duration::from_secs(60)), Duration::ZERO);
        assert!(bucket.take(Duration::from_secs(60)) > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = Bucket::new(1.0, 1.0, Duration::from_secs(10));
        bucket.take(Duration::from_secs(10));
        assert!(bucket.take(Duration::from_secs(5)) > Duration::ZERO);
        assert!(bucket.take(Duration::from_secs(10)) > Duration::from_secs(1));
    }
}
