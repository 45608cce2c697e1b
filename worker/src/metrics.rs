//! Every counter of the worker, by one name each. Session ids are never labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex};

/// Why something was refused, ended or failed: a fixed set of words.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Why {
    /// `metric_label()` of the error, or a word of the code.
    pub reason: &'static str,
}

/// The worker's metrics, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// TCP connections accepted on the RTMP port.
    pub connections: Counter,
    /// TCP connections open now.
    pub connections_open: Gauge,
    /// Connections refused or ended by us.
    pub connections_refused: Family<Why, Counter>,
    /// Publishers live now.
    pub publishers: Gauge,
    /// Publishers replaced by a reconnect or a newer attempt.
    pub takeovers: Counter,
    /// RTMP bytes read.
    pub rtmp_bytes: Counter,
    /// Audio messages handed to pipelines.
    pub audio_messages: Counter,
    /// Panics of a pipeline caught while the socket stayed open.
    pub pipeline_panics: Counter,
    /// Events appended to the log.
    pub appended: Counter,
    /// Appends that the log refused or that failed.
    pub append_errors: Family<Why, Counter>,
    /// Requests to the speech service by outcome.
    pub speech_requests: Family<Why, Counter>,
    /// Speech sockets that ended, by outcome.
    pub speech_closes: Family<Why, Counter>,
    /// Audio bytes sent to the speech service.
    pub speech_bytes: Counter,
    /// Writes of the spool that failed.
    pub spool_errors: Counter,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// All metrics, registered as `roomscribe_worker_*`.
    pub fn new() -> Self {
        let metrics = Self::default();
        let mut registry = Registry::with_prefix("roomscribe_worker");
        registry.register(
            "rtmp_connections",
            "TCP connections accepted on the RTMP port",
            metrics.connections.clone(),
        );
        registry.register(
            "rtmp_open_connections",
            "RTMP connections open now",
            metrics.connections_open.clone(),
        );
        registry.register(
            "rtmp_refused",
            "Connections refused or ended by us",
            metrics.connections_refused.clone(),
        );
        registry.register("publishers", "Publishers live now", metrics.publishers.clone());
        registry.register(
            "takeovers",
            "Publishers replaced by a newer connection",
            metrics.takeovers.clone(),
        );
        registry.register("rtmp_bytes", "RTMP bytes read", metrics.rtmp_bytes.clone());
        registry.register("audio_messages", "Audio messages decoded", metrics.audio_messages.clone());
        registry.register("pipeline_panics", "Pipeline panics caught", metrics.pipeline_panics.clone());
        registry.register("log_appends", "Events appended to the log", metrics.appended.clone());
        registry.register("log_append_errors", "Appends refused or failed", metrics.append_errors.clone());
        registry.register(
            "speech_requests",
            "Requests to the speech service",
            metrics.speech_requests.clone(),
        );
        registry.register("speech_closes", "Speech sockets ended", metrics.speech_closes.clone());
        registry.register(
            "speech_bytes",
            "Audio bytes sent to the speech service",
            metrics.speech_bytes.clone(),
        );
        registry.register("spool_errors", "Spool writes that failed", metrics.spool_errors.clone());
        *metrics.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = registry;
        metrics
    }

    /// The OpenMetrics text of `/metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
