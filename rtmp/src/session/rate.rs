use std::time::Duration;

/// A token bucket in bytes: a burst at once, then a sustained rate.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    capacity: u64,
    available: u64,
    refilled: Duration,
}

impl Bucket {
    pub(super) fn new(bytes_per_second: u32, burst: u32, now: Duration) -> Self {
        let capacity = u64::from(burst);
        Self { bytes_per_second: u64::from(bytes_per_second), capacity, available: capacity, refilled: now }
    }

    /// False when the peer has sent more than it may.
    pub(super) fn spend(&mut self, bytes: usize, now: Duration) -> bool {
        let elapsed = u64::try_from(now.saturating_sub(self.refilled).as_millis()).unwrap_or(u64::MAX);
        // A thousandth of a second's worth may be below one byte: time that buys nothing is kept for the next call.
        let gained = self.bytes_per_second.saturating_mul(elapsed) / 1000;
        if gained > 0 {
            self.available = self.available.saturating_add(gained).min(self.capacity);
            self.refilled = now;
        }
        match self.available.checked_sub(bytes as u64) {
            Some(rest) => {
                self.available = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rate_refills_it() {
        let mut bucket = Bucket::new(1000, 500, Duration::ZERO);
        assert!(bucket.spend(500, Duration::ZERO));
        assert!(!bucket.spend(1, Duration::ZERO));
        assert!(bucket.spend(100, Duration::from_millis(100)));
        assert!(!bucket.spend(501, Duration::from_secs(60)), "no more than the burst is saved up");
    }
}
