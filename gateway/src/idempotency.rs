//! `Idempotency-Key` of `POST /v1/sessions` (contract §3). Pure: bounded in number and in time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Who asked, and the key they chose.
pub(crate) type KeyOf = (String, String);

/// Requests that were made with a key.
#[derive(Debug)]
pub(crate) struct Remembered {
    max: usize,
    ttl: Duration,
    entries: HashMap<KeyOf, Entry>,
    order: VecDeque<(Duration, KeyOf)>,
}

#[derive(Debug)]
struct Entry {
    body: [u8; 32],
    since: Duration,
    /// `None` while the first request is still at work.
    session: Option<String>,
}

/// What a request with a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The first of its key: do it, then call `done` or `failed`.
    First,
    /// The same request again: answer with this session.
    Replay(String),
    /// The same request, while the first is still at work.
    AtWork,
    /// Another body under the same key.
    OtherBody,
}

impl Remembered {
    pub(crate) fn new(max: usize, ttl: Duration) -> Self {
        Self { max: max.max(1), ttl, entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn begin(&mut self, key: &KeyOf, body: [u8; 32], now: Duration) -> Seen {
        self.expire(now);
        match self.entries.get(key) {
            Some(entry) if entry.body != body => return Seen::OtherBody,
            Some(entry) => return entry.session.clone().map_or(Seen::AtWork, Seen::Replay),
            None => {}
        }
        while self.entries.len() >= self.max {
            let Some((since, oldest)) = self.order.pop_front() else { break };
            self.forget(&oldest, since);
        }
        self.entries.insert(key.clone(), Entry { body, since: now, session: None });
        self.order.push_back((now, key.clone()));
        Seen::First
    }

    pub(crate) fn done(&mut self, key: &KeyOf, session: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.session = Some(session.into());
        }
    }

    /// The request was refused: the key is free again.
    pub(crate) fn failed(&mut self, key: &KeyOf) {
        if self.entries.get(key).is_some_and(|entry| entry.session.is_none()) {
            self.entries.remove(key);
            self.order.retain(|(_, known)| known != key);
        }
    }

    fn expire(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(since, _)| now.saturating_sub(*since) >= self.ttl) {
            let Some((since, key)) = self.order.pop_front() else { break };
            self.forget(&key, since);
        }
    }

    fn forget(&mut self, key: &KeyOf, since: Duration) {
        if self.entries.get(key).is_some_and(|entry| entry.since == since) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(100);
    const A: [u8; 32] = [1; 32];
    const B: [u8; 32] = [2; 32];

    fn key(name: &str) -> KeyOf {
        ("me".into(), name.into())
    }

    #[test]
    fn a_key_means_one_request_until_it_expires() {
        let mut keys = Remembered::new(8, TTL);
        assert_eq!(keys.begin(&key("k"), A, Duration::ZERO), Seen::First);
        assert_eq!(keys.begin(&key("k"), A, Duration::ZERO), Seen::AtWork);
        keys.done(&key("k"), "s1");
        assert_eq!(keys.begin(&key("k"), A, TTL / 2), Seen::Replay("s1".into()));
        assert_eq!(keys.begin(&key("k"), B, TTL / 2), Seen::OtherBody);
        assert_eq!(keys.begin(&("you".into(), "k".into()), B, TTL / 2), Seen::First);
        assert_eq!(keys.begin(&key("k"), B, TTL), Seen::First);
    }

    #[test]
    fn a_refused_request_frees_its_key() {
        let mut keys = Remembered::new(8, TTL);
        keys.begin(&key("k"), A, Duration::ZERO);
        keys.failed(&key("k"));
        assert_eq!(keys.begin(&key("k"), B, Duration::ZERO), Seen::First);
        keys.done(&key("k"), "s1");
        keys.failed(&key("k"));
        assert_eq!(keys.begin(&key("k"), B, Duration::ZERO), Seen::Replay("s1".into()));
    }

    #[test]
    fn the_oldest_keys_make_room() {
        let mut keys = Remembered::new(3, TTL);
        for name in ["a", "b", "c", "d"] {
            keys.begin(&key(name), A, Duration::ZERO);
            keys.done(&key(name), name);
        }
        assert_eq!((keys.entries.len(), keys.order.len()), (3, 3));
        assert_eq!(keys.begin(&key("b"), A, Duration::ZERO), Seen::Replay("b".into()));
        assert_eq!(keys.begin(&key("a"), A, Duration::ZERO), Seen::First);
    }
}
