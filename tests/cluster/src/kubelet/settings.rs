//! How the played cluster behaves: delays, and what goes wrong.

use serde::{Deserialize, Serialize};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Seconds, from least to most; which one an object gets is the seed's choice.
pub type Range = [f64; 2];

/// Switches. The default is a fast cluster without faults. Shares are from 0 to 1 of the objects, by seed and name; times
/// are seconds. A change is for pods and Services that begin after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Behaviour {
    /// From the pod's creation to its node.
    pub schedule_s: Range,
    /// From the node to the running container.
    pub start_s: Range,
    /// From the running container to Ready.
    pub ready_s: Range,
    /// From the end of a container to the next one.
    pub restart_s: Range,
    /// From a pod's deletion to the end of its worker; at most its grace.
    pub drain_s: Range,
    /// Share of pods that no node takes for a while.
    pub unschedulable: f64,
    /// That while.
    pub unschedulable_s: f64,
    /// Share of pods whose image cannot be pulled for a while.
    pub pull_fails: f64,
    /// That while.
    pub pull_fails_s: f64,
    /// How long a pod of a lost node stays after its deletion.
    pub lost_node_s: f64,
    /// From a Service's creation to its load balancer's address.
    pub address_s: Range,
    /// Share of Services that never get an address.
    pub no_address: f64,
    /// Share of Services whose address is a name (that resolves to their IP).
    pub hostname: f64,
    /// Share of Services whose address changes once.
    pub address_changes: f64,
    /// So long after they got it.
    pub address_changes_s: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            schedule_s: [0.0, 0.1],
            start_s: [0.05, 0.3],
            ready_s: [0.0, 0.0],
            restart_s: [1.0, 1.0],
            drain_s: [0.05, 0.3],
            unschedulable: 0.0,
            unschedulable_s: 5.0,
            pull_fails: 0.0,
            pull_fails_s: 5.0,
            lost_node_s: 10.0,
            address_s: [0.05, 0.3],
            no_address: 0.0,
            hostname: 0.0,
            address_changes: 0.0,
            address_changes_s: 5.0,
        }
    }
}

/// How to start it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Seed of every choice.
    pub seed: u64,
    /// Switches.
    pub behaviour: Behaviour,
    /// Part of the sessions that this one plays, and of how many parts: several processes share the work, and the limit of
    /// open files (4 for each session).
    pub shard: (u32, u32),
    /// Only in this namespace; `None`: in all.
    pub namespace: Option<String>,
    /// Pods at a time; further ones are unschedulable.
    pub max_pods: usize,
    /// Port of the control API on 127.0.0.1; 0 is any free one.
    pub control_port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            behaviour: Behaviour::default(),
            shard: (0, 1),
            namespace: None,
            max_pods: 10_000,
            control_port: 0,
        }
    }
}

impl Settings {
    /// A session is played here. Pods and Services of one session belong together.
    pub(super) fn is_mine(&self, session: &str) -> bool {
        let (part, parts) = self.shard;
        hash(&session) % u64::from(parts.max(1)) == u64::from(part)
    }
}

/// The choices for one object: the same for the same seed and name, whatever else happens.
pub(super) struct Chooser {
    key: u64,
}

impl Chooser {
    pub(super) fn new(seed: u64, object: &str) -> Self {
        Self { key: hash(&(seed, object)) }
    }

    fn draw(&self, what: &str) -> f64 {
        fastrand::Rng::with_seed(hash(&(self.key, what))).f64()
    }

    /// Belongs to the share.
    pub(super) fn is(&self, what: &str, share: f64) -> bool {
        self.draw(what) < share
    }

    /// Seconds.
    pub(super) fn within(&self, what: &str, [least, most]: Range) -> f64 {
        least + self.draw(what) * (most - least).max(0.0)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_of_seed_and_name_and_follow_the_share() {
        let unlucky = |seed, share| {
            (0..1000)
                .filter(|n| Chooser::new(seed, &format!("pod-{n}")).is("pull", share))
                .collect::<Vec<_>>()
        };
        assert_eq!(unlucky(3, 0.2), unlucky(3, 0.2));
        assert_ne!(unlucky(3, 0.2), unlucky(4, 0.2));
        assert!((150..250).contains(&unlucky(3, 0.2).len()));
        assert!(unlucky(3, 0.0).is_empty());
        assert_eq!(Chooser::new(1, "a").within("start", [2.0, 2.0]), 2.0);
    }

    #[test]
    fn every_session_has_one_shard() {
        let shards = [0, 1, 2].map(|part| Settings { shard: (part, 3), ..Settings::default() });
        for n in 0..100 {
            let session = format!("session-{n}");
            assert_eq!(shards.iter().filter(|shard| shard.is_mine(&session)).count(), 1);
        }
    }
}
