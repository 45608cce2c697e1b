//! Prometheus metrics: `roomscribe_speech_…`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) sessions_started: Counter,
    pub(crate) sessions_refused: Counter,
    pub(crate) sessions_live: Gauge,
    pub(crate) connections: Counter,
    pub(crate) connections_live: Gauge,
    pub(crate) audio_seconds: Counter<f64, AtomicU64>,
    pub(crate) backlog_seconds: Gauge<f64, AtomicU64>,
    pub(crate) backlog_full: Counter,
    pub(crate) finals: Counter,
    pub(crate) partials: Counter,
    pub(crate) partials_dropped: Counter,
    pub(crate) recognised_seconds: Counter<f64, AtomicU64>,
    pub(crate) recognising_seconds: Counter<f64, AtomicU64>,
    pub(crate) recognition_errors: Counter,
    pub(crate) real_time_factor: Gauge<f64, AtomicU64>,
    pub(crate) outbox_overflows: Counter,
}

impl Metrics {
    /// An utterance of `audio` seconds took `took`.
    pub(crate) fn recognised(&self, audio: f64, took: Duration, well: bool) {
        self.recognised_seconds.inc_by(audio);
        self.recognising_seconds.inc_by(took.as_secs_f64());
        if audio > 0.0 {
            self.real_time_factor.set(took.as_secs_f64() / audio);
        }
        if !well {
            self.recognition_errors.inc();
        }
    }

    /// Text exposition.
    pub(crate) fn render(&self) -> String {
        let mut all = Registry::with_prefix("roomscribe_speech");
        let m = self;
        all.register("sessions_started", "Sessions created by POST", m.sessions_started.clone());
        all.register("sessions_refused", "POSTs refused with 429", m.sessions_refused.clone());
        all.register("sessions_live", "Sessions that have not ended", m.sessions_live.clone());
        all.register("connections", "WebSocket connections accepted", m.connections.clone());
        all.register("connections_live", "WebSocket connections open", m.connections_live.clone());
        all.register("audio_seconds", "Audio taken, per channel", m.audio_seconds.clone());
        all.register(
            "backlog_seconds",
            "Audio waiting for its final, all sessions",
            m.backlog_seconds.clone(),
        );
        all.register("backlog_full", "Times a session's backlog bound was reached", m.backlog_full.clone());
        all.register("finals", "Finals recognised", m.finals.clone());
        all.register("partials", "Partials recognised", m.partials.clone());
        all.register("partials_dropped", "Partials dropped in favour of finals", m.partials_dropped.clone());
        all.register(
            "recognised_seconds",
            "Audio recognised, partials included",
            m.recognised_seconds.clone(),
        );
        all.register("recognising_seconds", "Time spent in the recogniser", m.recognising_seconds.clone());
        all.register(
            "recognition_errors",
            "Utterances the recogniser failed on",
            m.recognition_errors.clone(),
        );
        all.register("real_time_factor", "Time per audio second, last utterance", m.real_time_factor.clone());
        all.register("outbox_overflows", "Connections cut: client did not read", m.outbox_overflows.clone());
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &all);
        text
    }
}
