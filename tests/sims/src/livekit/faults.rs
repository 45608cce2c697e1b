//! What a LiveKit does wrong on demand. Times are seconds of the simulated clock, chances are from 0 to 1 and come from the
//! simulator's seed. Sources: facts of livekit-server 1.13.5 and egress 1.14.0, read and observed.

use serde::{Deserialize, Serialize};

/// How an answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostAnswer {
    /// Nothing comes until the caller gives up.
    #[default]
    Hang,
    /// The connection breaks.
    Close,
}

/// Switches. The default is a LiveKit without faults; [`Faults::observed`] is one as it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The next so many calls are answered by a proxy: 502, HTML.
    pub proxy_errors: u32,
    /// The next so many ListRooms know no room, as right after a restart of LiveKit, before its clients are back.
    pub forgotten_rooms: u32,
    /// The next so many starts work, but their answers are lost.
    pub lost_start_answers: u32,
    /// See [`LostAnswer`].
    pub lost_answer: LostAnswer,
    /// No egress worker: starts get 503 after 22.4 s.
    pub no_worker: bool,
    /// Room for so many running egresses; further starts get 503 after 22.4 s.
    pub capacity: Option<usize>,
    /// No redis: egress calls get 500.
    pub no_redis: bool,
    /// The start call answers after so long.
    pub start_answer_s: f64,
    /// From the start call to the pipeline, when there is media.
    pub start_latency_s: f64,
    /// Egresses stay STARTING for ever.
    pub never_active: bool,
    /// Egresses abort with 412 "Start signal not received".
    pub abort_starts: bool,
    /// Egresses end with LIMIT_REACHED after so long.
    pub session_limit_s: Option<f64>,
    /// The room is rendered in Chrome (egress before 1.13).
    pub web_source: bool,
    /// StartEgress exists (server 1.13, egress 1.14).
    pub unified_start: bool,
    /// The first audio that comes at once.
    pub start_burst_s: f64,
    /// Only one audio frame in so long is sent, so that a small machine carries a thousand egresses; 0 sends all.
    pub frame_gap_s: f64,
    /// RTMP stalls so long when the last open microphone closes.
    pub mute_stall_s: f64,
    /// A dropped connection stops every output for ever.
    pub wedge_per_drop: f64,
    /// The same, for each second in which a server refuses a reconnect.
    pub wedge_per_refused_second: f64,
    /// UpdateStream (add and remove) on an output that is being refused kills the egress.
    pub kill_on_update_while_refused: f64,
    /// A webhook is sent twice.
    pub duplicate_webhooks: f64,
    /// A webhook is never sent.
    pub lost_webhooks: f64,
    /// A webhook is sent after the one that follows it.
    pub late_webhooks: f64,
    /// ListEgress answers in pages of so many.
    pub list_page: Option<usize>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            proxy_errors: 0,
            forgotten_rooms: 0,
            lost_start_answers: 0,
            lost_answer: LostAnswer::Hang,
            no_worker: false,
            capacity: None,
            no_redis: false,
            start_answer_s: 0.0,
            start_latency_s: 0.5,
            never_active: false,
            abort_starts: false,
            session_limit_s: None,
            web_source: false,
            unified_start: false,
            start_burst_s: 0.0,
            frame_gap_s: 0.0,
            mute_stall_s: 0.0,
            wedge_per_drop: 0.0,
            wedge_per_refused_second: 0.0,
            kill_on_update_while_refused: 0.0,
            duplicate_webhooks: 0.0,
            lost_webhooks: 0.0,
            late_webhooks: 0.0,
            list_page: None,
        }
    }
}

impl Faults {
    /// As observed on egress 1.14: 6 of 160 drops and 6 of 16 refusals of 4 s wedged, 7 of 8 updates while refused killed.
    pub fn observed() -> Self {
        Self {
            start_answer_s: 0.3,
            start_latency_s: 0.6,
            start_burst_s: 0.4,
            mute_stall_s: 2.8,
            wedge_per_drop: 0.045,
            wedge_per_refused_second: 0.11,
            kill_on_update_while_refused: 0.875,
            ..Self::default()
        }
    }
}
