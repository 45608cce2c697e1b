//! How many viewers there are, by process, address and token, and how fast they come.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bucket::Bucket;
use crate::config::GatewayLimits;

/// Counts viewers. A [`Place`] gives its count back when it is dropped.
#[derive(Debug)]
pub(crate) struct Viewers {
    limits: GatewayLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
    by_token: HashMap<String, usize>,
    handshakes: Bucket,
}

/// One viewer's place.
#[derive(Debug)]
pub(crate) struct Place {
    viewers: Arc<Viewers>,
    ip: IpAddr,
    token: Option<String>,
}

impl Viewers {
    pub(crate) fn new(limits: GatewayLimits) -> Arc<Self> {
        let handshakes = Bucket::new(limits.handshakes_per_second, Duration::ZERO);
        let counts = Counts { all: 0, by_ip: HashMap::new(), by_token: HashMap::new(), handshakes };
        Arc::new(Self { limits, counts: Mutex::new(counts) })
    }

    /// A place, or the name of the limit that is reached.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, now: Duration) -> Result<Place, &'static str> {
        let ip = network(ip);
        let mut counts = self.counts();
        if !counts.handshakes.take(now) {
            return Err("handshakes");
        }
        if counts.all >= self.limits.viewers {
            return Err("viewers");
        }
        if !add(&mut counts.by_ip, ip, self.limits.viewers_per_ip) {
            return Err("viewers_per_ip");
        }
        counts.all += 1;
        Ok(Place { viewers: Arc::clone(self), ip, token: None })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the place for whoever's token it is, once that is known; false when they have too many.
    pub(crate) fn belongs_to(&mut self, subject: &str) -> bool {
        let mut counts = self.viewers.counts();
        let room = add(&mut counts.by_token, subject.to_owned(), self.viewers.limits.viewers_per_token);
        if room {
            self.token = Some(subject.to_owned());
        }
        room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.viewers.counts();
        counts.all -= 1;
        take_back(&mut counts.by_ip, &self.ip);
        if let Some(token) = &self.token {
            take_back(&mut counts.by_token, token);
        }
    }
}

fn add<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, max: usize) -> bool {
    if max == 0 {
        return false;
    }
    let count = counts.entry(key).or_default();
    let room = *count < max;
    *count += usize::from(room);
    room
}

fn take_back<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Whom an address stands for: with IPv6 one customer has a /64 at least, and so as many addresses as it likes.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn each_limit_counts_for_itself_and_places_come_back() {
        let limits = GatewayLimits { viewers: 3, viewers_per_ip: 2, ..GatewayLimits::default() };
        let viewers = Viewers::new(limits);
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = viewers.enter(a, NOW).unwrap();
        let _second = viewers.enter(a, NOW).unwrap();
        assert_eq!(viewers.enter(a, NOW).unwrap_err(), "viewers_per_ip");
        let third = viewers.enter(b, NOW).unwrap();
        assert_eq!(viewers.enter(b, NOW).unwrap_err(), "viewers");
        drop(first);
        let _fourth = viewers.enter(a, NOW).unwrap();
        drop(third);
        assert_eq!(viewers.counts().by_ip.len(), 1);
    }

    #[test]
    fn a_tokens_viewers_are_counted_over_all_addresses() {
        let viewers = Viewers::new(GatewayLimits { viewers_per_token: 1, ..GatewayLimits::default() });
        let mut first = viewers.enter([10, 0, 0, 1].into(), NOW).unwrap();
        let mut second = viewers.enter([10, 0, 0, 2].into(), NOW).unwrap();
        assert!(first.belongs_to("viewer:eve"));
        assert!(!second.belongs_to("viewer:eve"));
        assert!(second.belongs_to("viewer:bob"));
        drop(first);
        assert!(viewers.enter([10, 0, 0, 3].into(), NOW).unwrap().belongs_to("viewer:eve"));
        drop(second);
        assert!(viewers.counts().by_token.is_empty());
    }

    #[test]
    fn handshakes_are_refused_over_the_rate_and_taken_again_later() {
        let viewers = Viewers::new(GatewayLimits { handshakes_per_second: 1, ..GatewayLimits::default() });
        let ip: IpAddr = [10, 0, 0, 1].into();
        drop(viewers.enter(ip, NOW).unwrap());
        assert_eq!(viewers.enter(ip, NOW).unwrap_err(), "handshakes");
        drop(viewers.enter(ip, NOW * 2).unwrap());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_ipv4_as_itself() {
        let table = [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
        ];
        for (ip, expected) in table {
            assert_eq!(network(ip.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
