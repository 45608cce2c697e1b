//! How many viewers there are, by process, address and session.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::GatewayLimits;

/// Counts viewers. A [`Place`] gives its count back when it is dropped.
#[derive(Debug)]
pub(crate) struct Viewers {
    limits: GatewayLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// One viewer's place.
#[derive(Debug)]
pub(crate) struct Place {
    viewers: Arc<Viewers>,
    ip: IpAddr,
}

impl Viewers {
    pub(crate) fn new(limits: GatewayLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A place, or the name of the limit that is reached.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, &'static str> {
        let mut counts = self.counts();
        if counts.all >= self.limits.viewers {
            return Err("viewers");
        }
        let of_ip = counts.by_ip.entry(ip).or_default();
        if *of_ip >= self.limits.viewers_per_ip {
            return Err("viewers_per_ip");
        }
        *of_ip += 1;
        counts.all += 1;
        Ok(Place { viewers: Arc::clone(self), ip })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.viewers.counts();
        counts.all -= 1;
        if let Some(of_ip) = counts.by_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_counts_for_itself_and_places_come_back() {
        let limits = GatewayLimits { viewers: 3, viewers_per_ip: 2, ..GatewayLimits::default() };
        let viewers = Viewers::new(limits);
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = viewers.enter(a).unwrap();
        let _second = viewers.enter(a).unwrap();
        assert_eq!(viewers.enter(a).unwrap_err(), "viewers_per_ip");
        let third = viewers.enter(b).unwrap();
        assert_eq!(viewers.enter(b).unwrap_err(), "viewers");
        drop(first);
        let _fourth = viewers.enter(a).unwrap();
        drop(third);
        assert_eq!(viewers.counts().by_ip.len(), 1);
    }
}
