//! One token bucket per LiveKit project: calls wait their turn instead of being refused with 429.

use std::time::Duration;

/// Design §5: 10 calls a second, 50 at once.
pub const DEFAULT_RATE: f64 = 10.0;
/// See [`DEFAULT_RATE`].
pub const DEFAULT_BURST: f64 = 50.0;

/// Who waits for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A question: waits behind everything that was asked before it.
    Question,
    /// A start, stop or move: an egress costs money and somebody waits for it. It waits behind its like only.
    Act,
}

/// Tokens and the time at which they were counted. Pure: the caller brings `now`, a monotonic time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    /// Of all calls.
    tokens: f64,
    /// Of acts alone: what questions have taken does not delay an act, what acts take delays questions.
    acts: f64,
    counted_at: Duration,
}

impl Bucket {
    /// A full bucket. `rate` in calls per second, `burst` in calls; both at least 1 of anything sensible.
    pub fn new(rate: f64, burst: f64, now: Duration) -> Self {
        let burst = burst.max(1.0);
        Self { rate: rate.max(0.01), burst, tokens: burst, acts: burst, counted_at: now }
    }

    /// Takes one token; the answer is how long the call must wait before it may be made. Waiting calls of a lane keep their
    /// order, because each takes its token when it asks. In the long run all calls together keep to the rate; for as long as
    /// questions wait whose turn was told before, acts come on top, at the same rate at most.
    pub fn take(&mut self, lane: Lane, now: Duration) -> Duration {
        let new = now.saturating_sub(self.counted_at).as_secs_f64() * self.rate;
        self.counted_at = self.counted_at.max(now);
        self.tokens = (self.tokens + new).min(self.burst) - 1.0;
        self.acts = (self.acts + new).min(self.burst);
        let left = match lane {
            Lane::Question => self.tokens,
            Lane::Act => {
                self.acts -= 1.0;
                self.acts
            }
        };
        if left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-left / self.rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Lane::{Act, Question};

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::new(10.0, 5.0, Duration::ZERO);
        let waits: Vec<u128> = (0..8).map(|_| bucket.take(Question, Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn tokens_come_back_with_time_up_to_the_burst() {
        let mut bucket = Bucket::new(10.0, 2.0, Duration::ZERO);
        for _ in 0..4 {
            bucket.take(Question, Duration::ZERO);
        }
        assert_eq!(bucket.take(Question, Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(bucket.take(Question, Duration::from_secs(60)), Duration::ZERO);
        assert!(bucket.take(Question, Duration::from_secs(60)) > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = Bucket::new(1.0, 1.0, Duration::from_secs(10));
        bucket.take(Question, Duration::from_secs(10));
        assert!(bucket.take(Question, Duration::from_secs(5)) > Duration::ZERO);
        assert!(bucket.take(Question, Duration::from_secs(10)) > Duration::from_secs(1));
    }

    #[test]
    fn a_stop_does_not_wait_behind_questions_and_questions_wait_behind_it() {
        let mut bucket = Bucket::new(10.0, 5.0, Duration::ZERO);
        for _ in 0..105 {
            bucket.take(Question, Duration::ZERO);
        }
        assert_eq!(bucket.take(Act, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.take(Question, Duration::ZERO), Duration::from_millis(10_200));
    }

    #[test]
    fn stops_alone_keep_to_the_rate() {
        let mut bucket = Bucket::new(10.0, 5.0, Duration::ZERO);
        let waits: Vec<u128> = (0..8).map(|_| bucket.take(Act, Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 300]);
    }
}
