//! What the outputs meet, and what LiveKit does about it: reconnects, gives up, wedges. And UpdateStream.

use super::egress::{Phase, add_output, end_stream};
use super::{Core, Failure, Reply, Timer, nanos, seconds, url};
use livekit_protocol as proto;
use proto::EgressStatus as Status;
use proto::stream_info::Status as StreamStatus;
use std::time::Duration;

/// A drop within so long of the connection, without an Acknowledgement, is taken for a wrong URL.
const UNTRUSTED: Duration = Duration::from_secs(5);
/// Reconnects end so long after the first error.
const GIVE_UP: Duration = Duration::from_secs(30);
/// ListEgress and webhooks show retries no more often.
const SHOW_RETRIES: i64 = 60_000_000_000;
const WEDGE_NOTICED: f64 = 35.0;

/// What a feeder must do. Outputs are named by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedOrder {
    /// Connect, then send from this time of the recording.
    Begin {
        /// Number and URL of each output.
        outputs: Vec<(u64, String)>,
        /// Time of the recording.
        audio_at: Duration,
        /// So much audio comes at once.
        burst: Duration,
        /// One frame in so long is sent; zero: all.
        gap: Duration,
    },
    /// One UpdateStream: connect the new ones; when they are connected, or cannot be, close the old ones between two frames.
    Change {
        /// Number and URL of each new output.
        add: Vec<(u64, String)>,
        /// Numbers.
        remove: Vec<u64>,
    },
    /// Connect an output again.
    Retry(u64, String),
    /// Break the connections of all outputs.
    Drop,
    /// Send nothing more, close nothing.
    Wedge,
    /// The last open microphone closed, or the first one opened.
    Microphones {
        /// One is open.
        open: bool,
        /// RTMP stalls so long when none is.
        stall: Duration,
    },
    /// FCUnpublish, deleteStream, close.
    End,
    /// Close without a word.
    Cut,
}

/// What a feeder met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Egress.
    pub egress: String,
    /// Output.
    pub output: u64,
    /// What.
    pub kind: ReportKind,
}

/// See [`Report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// The server took the publish.
    Connected,
    /// It could not be reached, or refused the publish; LiveKit's text.
    Failed(&'static str),
    /// The connection broke.
    Dropped {
        /// The server had sent an Acknowledgement.
        acknowledged: bool,
    },
}

impl Core {
    /// A feeder's report.
    pub fn report(&mut self, report: &Report, now: Duration) {
        let Some(egress) = self.find(&report.egress).filter(|egress| egress.phase == Phase::Playing) else {
            return;
        };
        if egress.wedged || egress.vanished {
            return;
        }
        let Some(output) =
            egress.outputs.iter_mut().find(|output| output.number == report.output && !output.over)
        else {
            return;
        };
        let since_last = now.saturating_sub(std::mem::replace(&mut output.last_report, now));
        match report.kind {
            ReportKind::Connected => {
                output.connects += 1;
                output.connected_at = Some(now);
                output.failing_since = None;
                let stream = &mut egress.info.stream_results[output.slot];
                if stream.started_at == 0 {
                    stream.started_at = nanos(now);
                }
            }
            ReportKind::Dropped { acknowledged } => {
                let age = now.saturating_sub(output.connected_at.take().unwrap_or(now));
                if age < UNTRUSTED && !acknowledged && output.connects < 2 {
                    return self.output_failed(report, "Connection error", now);
                }
                output.failing_since = Some(now);
                let chance = self.faults.wedge_per_drop;
                self.retry_or_wedge(report, chance, now);
            }
            ReportKind::Failed(text) => {
                let Some(since) = output.failing_since else { return self.output_failed(report, text, now) };
                if now.saturating_sub(since) >= GIVE_UP {
                    return self.output_failed(report, text, now);
                }
                let chance = 1.0 - (-self.faults.wedge_per_refused_second * since_last.as_secs_f64()).exp();
                self.retry_or_wedge(report, chance, now);
            }
        }
    }

    fn retry_or_wedge(&mut self, report: &Report, chance: f64, now: Duration) {
        if self.chance(chance) {
            self.wedge(&report.egress, now);
            return;
        }
        let Some(egress) = self.find(&report.egress) else { return };
        let Some(output) = egress.outputs.iter_mut().find(|output| output.number == report.output) else {
            return;
        };
        output.retries += 1;
        let order = FeedOrder::Retry(output.number, output.url.clone());
        let stream = &mut egress.info.stream_results[output.slot];
        let shows = nanos(now) - stream.last_retry_at >= SHOW_RETRIES;
        if shows {
            stream.last_retry_at = nanos(now);
            stream.retries = output.retries;
        }
        self.feed(&report.egress, order);
        if shows {
            self.egress_event("egress_updated", &report.egress, now);
        }
    }

    /// One output is lost; with the last one the egress fails.
    fn output_failed(&mut self, report: &Report, text: &str, now: Duration) {
        let Some(egress) = self.find(&report.egress) else { return };
        if let Some(output) = egress.outputs.iter_mut().find(|output| output.number == report.output) {
            output.over = true;
            end_stream(&mut egress.info.stream_results[output.slot], StreamStatus::Failed, text, now);
        }
        if egress.outputs.iter().all(|output| output.over) {
            self.finish(&report.egress, Status::EgressFailed, text, 503, "Failure", now);
        } else {
            self.egress_event("egress_updated", &report.egress, now);
        }
    }

    /// Every output of the egress is silent for ever; LiveKit says ACTIVE. `false`: it does not play.
    pub fn wedge(&mut self, id: &str, now: Duration) -> bool {
        let Some(egress) = self.find(id).filter(|egress| egress.phase == Phase::Playing) else {
            return false;
        };
        egress.wedged = true;
        let alive = egress.outputs.iter().filter(|output| !output.over).count();
        self.feed(id, FeedOrder::Wedge);
        if alive > 1 {
            self.at(now + seconds(WEDGE_NOTICED), Timer::WedgeNoticed(id.to_owned()));
        }
        true
    }

    /// LiveKit marks the outputs that had no trouble of their own.
    pub(super) fn wedge_noticed(&mut self, id: &str, now: Duration) {
        let Some(egress) = self.find(id).filter(|egress| egress.phase == Phase::Playing) else { return };
        let healthy =
            egress.outputs.iter_mut().filter(|output| !output.over && output.failing_since.is_none());
        for output in healthy {
            output.over = true;
            end_stream(
                &mut egress.info.stream_results[output.slot],
                StreamStatus::Failed,
                "stream wedged",
                now,
            );
        }
        self.egress_event("egress_updated", id, now);
    }

    /// The connections of an egress break. `false`: it does not play.
    pub fn drop_connections(&mut self, id: &str) -> bool {
        let playing = self.find(id).is_some_and(|egress| egress.phase == Phase::Playing);
        if playing {
            self.feed(id, FeedOrder::Drop);
        }
        playing
    }

    /// The egress worker's machine dies: no media, no ending, ACTIVE for ever. `false`: it does not run.
    pub fn vanish(&mut self, id: &str) -> bool {
        let Some(egress) = self.find(id).filter(|egress| egress.is_running()) else { return false };
        egress.vanished = true;
        self.feed(id, FeedOrder::Cut);
        true
    }

    /// The handler process crashes. `false`: it does not run.
    pub fn crash(&mut self, id: &str, now: Duration) -> bool {
        let runs = self.find(id).is_some_and(|egress| egress.is_running());
        self.finish(id, Status::EgressFailed, "exit status 2", 500, "Failure", now);
        runs
    }

    /// Egress/UpdateStream.
    pub fn update_stream(
        &mut self,
        request: &proto::UpdateStreamRequest,
        now: Duration,
    ) -> Reply<proto::EgressInfo> {
        let id = &request.egress_id;
        let egress = match self.running_egress(id) {
            Ok(egress) => egress,
            Err(failure) => return Reply::fail(failure).after(seconds(3.0)),
        };
        if egress.wedged {
            return Reply::ok(egress.info.clone());
        }
        if let Some(bad) = request.add_output_urls.iter().find(|url| !url::is_rtmp(url)) {
            return Reply::fail(Failure::new("invalid_argument", format!("invalid rtmp url {bad}")));
        }
        let mut removed = Vec::new();
        for url in &request.remove_output_urls {
            let Some(output) = egress.outputs.iter().find(|output| !output.over && output.url == *url) else {
                return Reply::fail(Failure::new("not_found", "stream not found"));
            };
            removed.push((output.number, output.failing_since.is_some()));
        }
        let is_refused = !request.add_output_urls.is_empty() && removed.iter().any(|(_, failing)| *failing);
        if is_refused && self.chance(self.faults.kill_on_update_while_refused) {
            self.finish(id, Status::EgressFailed, "internal error", 500, "Failure", now);
            return self.shown(id);
        }
        self.change_outputs(id, &request.add_output_urls, &removed, now);
        self.shown(id)
    }

    fn change_outputs(&mut self, id: &str, add: &[String], removed: &[(u64, bool)], now: Duration) {
        let add: Vec<(u64, String)> = add.iter().map(|url| (self.next(), url.clone())).collect();
        let remove: Vec<u64> = removed.iter().map(|(number, _)| *number).collect();
        let Some(egress) = self.find(id) else { return };
        for (number, url) in &add {
            add_output(egress, *number, url.clone(), now);
        }
        for output in egress.outputs.iter_mut().filter(|output| remove.contains(&output.number)) {
            output.over = true;
            end_stream(&mut egress.info.stream_results[output.slot], StreamStatus::Finished, "", now);
        }
        let is_last = egress.outputs.iter().all(|output| output.over);
        match egress.phase {
            Phase::Playing if is_last => {
                self.finish(id, Status::EgressComplete, "", 0, "All streams stopped", now)
            }
            Phase::Playing => {
                self.feed(id, FeedOrder::Change { add, remove });
                self.egress_event("egress_updated", id, now);
            }
            _ => egress.outputs.retain(|output| !output.over),
        }
    }

    fn shown(&mut self, id: &str) -> Reply<proto::EgressInfo> {
        let info = self.find(id).map(|egress| egress.info.clone());
        info.map_or_else(|| Reply::fail(Failure::no_egress()), Reply::ok)
    }
}
