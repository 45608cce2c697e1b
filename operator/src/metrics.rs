//! Counters for a scraper; names as in the contract: `roomscribe_operator_<what>_<unit>`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};

/// One word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// How it went.
    pub result: &'static str,
}

/// A call to LiveKit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// LiveKit's name of the call.
    pub method: &'static str,
    /// `ok` or the kind of error.
    pub code: &'static str,
}

/// A step of a start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// Condition type that became true.
    pub step: &'static str,
}

/// Sessions as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    /// `status.summary`.
    pub state: String,
    /// `status.capture.mode`.
    pub mode: String,
}

/// Every metric of the operator; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Rounds by result: `ok`, `conflict`, `error`.
    pub reconciles: Family<ResultLabel, Counter>,
    /// Seconds of a round.
    pub reconcile_seconds: Histogram,
    /// Status writes.
    pub status_writes: Counter,
    /// Seconds from a session's creation to a condition's first True.
    pub start_seconds: Family<StepLabel, Histogram>,
    /// Starts by LiveKit's answer.
    pub egress_starts: Family<ResultLabel, Counter>,
    /// Egresses that had outlived their session.
    pub egress_strays_stopped: Counter,
    /// Cleanups that were given up: at the deadline, or by force.
    pub cleanup_abandoned: Counter,
    /// Calls to LiveKit.
    pub livekit_calls: Family<CallLabels, Counter>,
    /// 1 while this process is the leader.
    pub lease_held: Gauge,
    sessions: Family<StateLabels, Gauge>,
    registry: Arc<Mutex<Registry>>,
}

fn seconds() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            status_writes: Counter::default(),
            start_seconds: Family::new_with_constructor(seconds),
            egress_starts: Family::default(),
            egress_strays_stopped: Counter::default(),
            cleanup_abandoned: Counter::default(),
            livekit_calls: Family::default(),
            lease_held: Gauge::default(),
            sessions: Family::default(),
            registry: Arc::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registry.sub_registry_with_prefix("roomscribe_operator");
        registry.register("reconcile", "Rounds by result", self.reconciles.clone());
        registry.register("reconcile_duration_seconds", "Seconds of a round", self.reconcile_seconds.clone());
        registry.register("status_writes", "Writes of a session's status", self.status_writes.clone());
        registry.register(
            "session_start_seconds",
            "Seconds from creation to a condition's first True",
            self.start_seconds.clone(),
        );
        registry.register("egress_starts", "Starts by LiveKit's answer", self.egress_starts.clone());
        registry.register(
            "egress_strays_stopped",
            "Egresses stopped that had outlived their session",
            self.egress_strays_stopped.clone(),
        );
        registry.register(
            "cleanup_abandoned",
            "Cleanups given up at the deadline, or by force",
            self.cleanup_abandoned.clone(),
        );
        registry.register("livekit_api_requests", "Calls to LiveKit", self.livekit_calls.clone());
        registry.register("lease_held", "1 while this process is the leader", self.lease_held.clone());
        registry.register("sessions", "Sessions by state", self.sessions.clone());
    }

    /// As OpenMetrics text. `sessions` gives state and capture mode of every session.
    pub fn text(&self, sessions: Vec<(String, String)>) -> String {
        self.sessions.clear();
        for (state, mode) in sessions {
            self.sessions.get_or_create(&StateLabels { state, mode }).inc();
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_nobody_is_in_any_more_is_not_shown() {
        let metrics = Metrics::default();
        let live = ("Live".to_owned(), "RoomComposite".to_owned());
        assert!(metrics.text(vec![live.clone(), live]).contains("state=\"Live\",mode=\"RoomComposite\"} 2"));
        assert!(!metrics.text(vec![]).contains("state=\"Live\""));
    }
}
