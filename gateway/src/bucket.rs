//! A token bucket over a time that is passed in. Pure.

use std::time::Duration;

/// Allows `rate` per second, and as many at once.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: u32,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn new(rate: u32, now: Duration) -> Self {
        Self { rate, tokens: f64::from(rate), at: now }
    }

    /// Takes one; false when there is none.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let filled = now.saturating_sub(self.at).as_secs_f64() * f64::from(self.rate);
        self.tokens = (self.tokens + filled).min(f64::from(self.rate));
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_message_within_a_second_is_too_many_and_the_next_second_is_free_again() {
        let mut bucket = Bucket::new(10, Duration::ZERO);
        assert!((0..10).all(|_| bucket.take(Duration::from_millis(5))));
        assert!(!bucket.take(Duration::from_millis(5)));
        assert!(bucket.take(Duration::from_millis(120)));
        assert!(!bucket.take(Duration::from_millis(120)));
        assert!((0..10).all(|_| bucket.take(Duration::from_secs(5))));
    }
}
