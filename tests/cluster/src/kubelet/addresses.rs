//! Addresses of pods, load balancers and nodes: a loopback network of this process' own, so that every pod can have the
//! same port.

use anyhow::bail;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// One `127.n.0.0/16`: pods below 127.n.128.0, load balancers from there on, nodes at the end.
pub(super) struct Addresses {
    network: u8,
    pods: Mutex<Pool>,
    balancers: Mutex<Pool>,
    /// Nobody else takes this network while it listens.
    _claim: TcpListener,
}

struct Pool {
    first: u16,
    size: u16,
    next: u16,
    taken: HashSet<u16>,
}

impl Pool {
    fn new(first: u16) -> Self {
        Self { first, size: 0x7e00, next: 0, taken: HashSet::new() }
    }

    fn take(&mut self) -> Option<u16> {
        // The one that was given back last is the last to be given again: nothing of its past may be on its way.
        (0..self.size).find_map(|_| {
            let place = self.first + self.next;
            self.next = (self.next + 1) % self.size;
            self.taken.insert(place).then_some(place)
        })
    }
}

impl Addresses {
    pub(super) fn claim() -> anyhow::Result<Self> {
        for _ in 0..50 {
            let network = fastrand::u8(1..=189);
            if let Ok(claim) = TcpListener::bind((Ipv4Addr::new(127, network, 255, 254), super::page::PORT)) {
                let (pods, balancers) = (Mutex::new(Pool::new(1)), Mutex::new(Pool::new(0x8001)));
                return Ok(Self { network, pods, balancers, _claim: claim });
            }
        }
        bail!("no free loopback network for pods");
    }

    fn address(&self, place: u16) -> Ipv4Addr {
        let [high, low] = place.to_be_bytes();
        Ipv4Addr::new(127, self.network, high, low)
    }

    fn take(&self, pool: &Mutex<Pool>) -> Option<Ipv4Addr> {
        pool.lock().unwrap_or_else(PoisonError::into_inner).take().map(|place| self.address(place))
    }

    pub(super) fn take_pod(&self) -> Option<Ipv4Addr> {
        self.take(&self.pods)
    }

    pub(super) fn take_balancer(&self) -> Option<Ipv4Addr> {
        self.take(&self.balancers)
    }

    pub(super) fn node(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network, 255, number)
    }

    /// Of a pod or a load balancer that is gone.
    pub(super) fn give_back(&self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        let place = u16::from_be_bytes([high, low]);
        let pool = if place < 0x8000 { &self.pods } else { &self.balancers };
        pool.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&place);
    }
}

/// A name that resolves to this address wherever names are looked up with getaddrinfo, and that Kubernetes takes for a name:
/// the last three bytes in one number.
pub(super) fn name_of(address: Ipv4Addr) -> String {
    let [first, rest @ ..] = address.octets();
    let [a, b, c] = rest.map(u32::from);
    format!("{first}.{}", a << 16 | b << 8 | c)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test support")]
mod tests {
    use super::*;
    use std::net::ToSocketAddrs;

    #[test]
    fn a_name_leads_to_its_address() {
        let address = Ipv4Addr::new(127, 9, 128, 3);
        let name = name_of(address);
        assert!(name.parse::<Ipv4Addr>().is_err());
        assert_eq!((name.as_str(), 1935).to_socket_addrs().unwrap().next().unwrap().ip(), address);
    }

    #[test]
    fn two_networks_and_two_pods_never_meet() {
        let (one, two) = (Addresses::claim().unwrap(), Addresses::claim().unwrap());
        assert_ne!(one.network, two.network);
        let first = one.take_pod().unwrap();
        assert_ne!(first, one.take_pod().unwrap());
        one.give_back(first);
        assert_ne!(first, one.take_pod().unwrap(), "an address rests before it is used again");
    }
}
