//! An egress: what LiveKit says of it, and what is so.

use super::{nanos, url};
use livekit_protocol as proto;
use proto::EgressStatus as Status;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Egress {
    pub(super) info: proto::EgressInfo,
    pub(super) outputs: Vec<Output>,
    pub(super) phase: Phase,
    pub(super) wedged: bool,
    pub(super) vanished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The pipeline is not built.
    Building,
    /// It is, and waits for media.
    Waiting,
    Playing,
    Ending,
    Ended,
}

#[derive(Debug)]
pub(super) struct Output {
    /// Unique in the project.
    pub(super) number: u64,
    pub(super) url: String,
    /// Its place in `stream_results`.
    pub(super) slot: usize,
    pub(super) connects: u32,
    pub(super) connected_at: Option<Duration>,
    pub(super) failing_since: Option<Duration>,
    pub(super) last_report: Duration,
    pub(super) retries: u32,
    pub(super) over: bool,
}

/// What is so, whatever ListEgress says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Truth {
    /// Egress.
    pub id: String,
    /// Room.
    pub room: String,
    /// LiveKit's word.
    pub status: &'static str,
    /// Frames go to at least one output.
    pub feeding: bool,
    /// It never sends again, though it is ACTIVE.
    pub wedged: bool,
    /// Its process is gone, though it is ACTIVE.
    pub vanished: bool,
    /// Its outputs.
    pub outputs: Vec<OutputTruth>,
}

impl Truth {
    /// It may still send.
    pub fn lives(&self) -> bool {
        matches!(self.status, "EGRESS_STARTING" | "EGRESS_ACTIVE" | "EGRESS_ENDING")
    }
}

/// An output of [`Truth`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputTruth {
    /// Number, unique in the project.
    pub number: u64,
    /// URL, key redacted.
    pub url: String,
    /// Connected and fed.
    pub feeding: bool,
    /// Connections that were accepted.
    pub connects: u32,
    /// Reconnects tried.
    pub retries: u32,
    /// Frames sent; the shell fills it.
    pub frames: u64,
}

impl Egress {
    pub(super) fn is_running(&self) -> bool {
        self.phase != Phase::Ended
    }

    pub(super) fn status(&self) -> Status {
        Status::try_from(self.info.status).unwrap_or(Status::EgressStarting)
    }

    pub(super) fn truth(&self) -> Truth {
        let dead = self.wedged || self.vanished || !matches!(self.phase, Phase::Playing | Phase::Ending);
        let outputs: Vec<OutputTruth> = self
            .outputs
            .iter()
            .map(|output| OutputTruth {
                number: output.number,
                url: url::redact(&output.url),
                feeding: !dead && !output.over && output.connected_at.is_some(),
                connects: output.connects,
                retries: output.retries,
                frames: 0,
            })
            .collect();
        Truth {
            id: self.info.egress_id.clone(),
            room: self.info.room_name.clone(),
            status: self.status().as_str_name(),
            feeding: outputs.iter().any(|output| output.feeding),
            wedged: self.wedged,
            vanished: self.vanished,
            outputs,
        }
    }
}

pub(super) fn add_output(egress: &mut Egress, number: u64, url: String, now: Duration) {
    let slot = egress.info.stream_results.len();
    egress.info.stream_results.push(proto::StreamInfo { url: url::redact(&url), ..Default::default() });
    egress.outputs.push(Output {
        number,
        url,
        slot,
        connects: 0,
        connected_at: None,
        failing_since: None,
        last_report: now,
        retries: 0,
        over: false,
    });
}

/// As observed: a stream that never ran has `started_at` equal to `ended_at`.
pub(super) fn end_stream(
    stream: &mut proto::StreamInfo,
    status: proto::stream_info::Status,
    error: &str,
    now: Duration,
) {
    stream.ended_at = nanos(now);
    if stream.started_at == 0 {
        stream.started_at = stream.ended_at;
    }
    stream.duration = stream.ended_at - stream.started_at;
    stream.status = status as i32;
    stream.error = error.to_owned();
}
