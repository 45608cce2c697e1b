//! Bounds log lines that a stranger can cause: whoever reaches the port must not fill the disk with our log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lines at once …
const BURST: u32 = 20;
/// … and then one in so long.
const REFILL: Duration = Duration::from_secs(5);

/// A bucket of log lines, cheap to clone; all clones share it.
#[derive(Debug, Clone, Default)]
pub struct LogBudget(Arc<Mutex<Bucket>>);

#[derive(Debug, Default)]
struct Bucket {
    used: u32,
    refilled: Duration,
    withheld: u64,
}

impl LogBudget {
    /// May a line be written at `now`? With the number of lines withheld before it.
    pub fn allow(&self, now: Duration) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).allow(now)
    }
}

impl Bucket {
    fn allow(&mut self, now: Duration) -> Option<u64> {
        let refills = now.saturating_sub(self.refilled).as_secs() / REFILL.as_secs();
        if refills > 0 {
            self.used = self.used.saturating_sub(u32::try_from(refills).unwrap_or(u32::MAX));
            self.refilled = now;
        }
        if self.used >= BURST {
            self.withheld += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gives_a_burst_of_lines_then_one_every_five_seconds_that_tells_how_many_were_withheld() {
        let budget = LogBudget::default();
        let at = |seconds: u64| Duration::from_secs(100 + seconds);
        let written = (0..1000).filter(|_| budget.allow(at(0)).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(budget.allow(at(4)), None);
        assert_eq!(budget.allow(at(5)), Some(981));
        assert_eq!(budget.allow(at(6)), None);
    }
}
