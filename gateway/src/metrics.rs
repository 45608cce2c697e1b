//! What the gateway counts. No label holds a session, a name or an address.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Label: HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Status {
    pub(crate) status: u16,
}

/// Label: WebSocket close code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Code {
    pub(crate) code: u16,
}

/// Label: which limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Limit {
    pub(crate) limit: &'static str,
}

/// All of them.
pub(crate) struct Metrics {
    registry: Registry,
    /// WebSockets open now.
    pub(crate) viewers: Gauge,
    /// TCP connections open now.
    pub(crate) connections: Gauge,
    /// Sessions subscribed to now.
    pub(crate) rooms: Gauge,
    /// Bytes of frames held for viewers.
    pub(crate) held: Gauge,
    /// Frames given to sockets.
    pub(crate) delivered: Counter,
    /// Partials replaced by newer ones before a viewer took them.
    pub(crate) skipped: Counter,
    /// Bytes that viewers had yet to take, at each ping.
    pub(crate) backlog: Histogram,
    /// Offsets between the head and what a viewer acknowledged, at each ack.
    pub(crate) ack_lag: Histogram,
    /// Sockets closed, by code.
    pub(crate) closed: Family<Code, Counter>,
    /// HTTP answers, by status.
    pub(crate) answers: Family<Status, Counter>,
    /// Refusals, by limit.
    pub(crate) refused: Family<Limit, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut new = Self {
            registry: Registry::with_prefix("roomscribe_gateway"),
            viewers: Gauge::default(),
            connections: Gauge::default(),
            rooms: Gauge::default(),
            held: Gauge::default(),
            delivered: Counter::default(),
            skipped: Counter::default(),
            backlog: Histogram::new(exponential_buckets(1024.0, 4.0, 6)),
            ack_lag: Histogram::new(exponential_buckets(1.0, 4.0, 6)),
            closed: Family::default(),
            answers: Family::default(),
            refused: Family::default(),
        };
        new.register();
        new
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("viewers", "WebSockets open now", self.viewers.clone());
        to.register("connections", "TCP connections open now", self.connections.clone());
        to.register("watched_sessions", "Sessions subscribed to now", self.rooms.clone());
        to.register("held_bytes", "Bytes of frames held for viewers", self.held.clone());
        to.register("frames_delivered", "Frames given to sockets", self.delivered.clone());
        to.register("partials_skipped", "Partials replaced before a viewer took them", self.skipped.clone());
        to.register(
            "viewer_backlog_bytes",
            "Bytes a viewer had yet to take, at each ping",
            self.backlog.clone(),
        );
        to.register(
            "viewer_ack_lag_offsets",
            "Offsets not yet acknowledged, at each ack",
            self.ack_lag.clone(),
        );
        to.register("viewers_closed", "Sockets closed, by code", self.closed.clone());
        to.register("http_answers", "HTTP answers, by status", self.answers.clone());
        to.register("refused", "Refusals, by limit", self.refused.clone());
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn refuse(&self, limit: &'static str) {
        self.refused.get_or_create(&Limit { limit }).inc();
    }
}
