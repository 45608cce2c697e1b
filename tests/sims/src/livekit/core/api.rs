//! The egress calls: start, stop, list. UpdateStream is in [`super::media`].

use super::egress::{Egress, Phase, Truth, add_output};
use super::{Core, Failure, Reply, ReplyKind, Timer, nanos, seconds, url};
use livekit_protocol as proto;
use proto::EgressStatus as Status;
use proto::room_composite_egress_request::Output as CompositeOutput;
use std::time::Duration;

/// A call without an egress worker to take it fails after so long (observed 22–23 s).
const NO_CAPACITY_AFTER: f64 = 22.4;
/// Calls about an unknown, ended or vanished egress fail after so long.
const NOBODY_AFTER: f64 = 3.0;
const DRAIN: f64 = 0.3;
const DRAIN_WEDGED: f64 = 30.0;
/// Ended egresses stay in the list so long.
const LISTED: Duration = Duration::from_secs(24 * 3600);

impl Core {
    /// Egress/StartRoomCompositeEgress.
    pub fn start_room_composite(
        &mut self,
        request: proto::RoomCompositeEgressRequest,
        now: Duration,
    ) -> Reply<proto::EgressInfo> {
        let urls = composite_urls(&request);
        if let Some(refused) = self.refuse_start(&request.room_name, &urls) {
            return refused;
        }
        let chrome = self.faults.web_source
            || !request.layout.is_empty()
            || !request.custom_base_url.is_empty()
            || !request.audio_only;
        let shown = redact_request(request);
        let room_name = shown.room_name.clone();
        let source = if chrome { proto::EgressSourceType::Web } else { proto::EgressSourceType::Sdk };
        let info = proto::EgressInfo {
            egress_id: self.id("EG"),
            room_id: self.rooms.get(&room_name).map(|room| room.info.sid.clone()).unwrap_or_default(),
            room_name,
            source_type: source as i32,
            started_at: nanos(now),
            updated_at: nanos(now),
            request: Some(proto::egress_info::Request::RoomComposite(shown)),
            ..Default::default()
        };
        self.begin(info, urls, now)
    }

    fn refuse_start(&mut self, room: &str, urls: &[String]) -> Option<Reply<proto::EgressInfo>> {
        let failure = if self.faults.no_redis {
            Failure::new("internal", "egress not connected (redis required)")
        } else if !self.rooms.contains_key(room) {
            Failure::no_room()
        } else if self.faults.no_worker
            || self.faults.capacity.is_some_and(|room_for| self.running() >= room_for)
        {
            let failure = Failure::new("unavailable", "no response from servers");
            return Some(Reply::fail(failure).after(seconds(NO_CAPACITY_AFTER)));
        } else if let Some(bad) = urls.iter().find(|url| !url::is_rtmp(url)) {
            let form = "rtmp urls must be of format rtmp(s)://{host}(/{path})/{app}/{stream_key}( live=1)";
            Failure::new("invalid_argument", format!("invalid rtmp url {bad}: {form}"))
        } else if urls.is_empty() {
            Failure::new("invalid_argument", "request has missing or invalid field: output")
        } else {
            return None;
        };
        Some(Reply::fail(failure))
    }

    fn begin(
        &mut self,
        info: proto::EgressInfo,
        urls: Vec<String>,
        now: Duration,
    ) -> Reply<proto::EgressInfo> {
        let id = info.egress_id.clone();
        let mut egress =
            Egress { info, outputs: Vec::new(), phase: Phase::Building, wedged: false, vanished: false };
        for url in urls {
            let number = self.next();
            add_output(&mut egress, number, url, now);
        }
        let started = egress.info.clone();
        let number = self.next();
        self.egresses.insert(number, egress);
        self.egress_event("egress_started", &id, now);
        let latency = seconds(self.faults.start_latency_s.max(self.faults.start_answer_s));
        self.at(now + latency, Timer::Pipeline(id.clone()));
        if let Some(limit) = self.faults.session_limit_s {
            self.at(now + seconds(limit), Timer::Limit(id));
        }
        let reply = Reply::ok(started).after(seconds(self.faults.start_answer_s));
        if self.faults.lost_start_answers > 0 {
            self.faults.lost_start_answers -= 1;
            return Reply { kind: ReplyKind::Lost, ..reply };
        }
        reply
    }

    /// Egress/StopEgress.
    pub fn stop_egress(&mut self, id: &str, now: Duration) -> Reply<proto::EgressInfo> {
        let egress = match self.running_egress(id) {
            Ok(egress) => egress,
            Err(failure) => return Reply::fail(failure).after(seconds(NOBODY_AFTER)),
        };
        match egress.phase {
            Phase::Building | Phase::Waiting => {
                let text = "Stop called before pipeline could start";
                self.finish(id, Status::EgressAborted, text, 412, "StopEgress API", now);
            }
            _ => {
                let drain = seconds(if egress.wedged { DRAIN_WEDGED } else { DRAIN });
                egress.phase = Phase::Ending;
                egress.info.status = Status::EgressEnding as i32;
                egress.info.details = "End reason: StopEgress API".into();
                self.egress_event("egress_updated", id, now);
                self.at(now + drain, Timer::Drained(id.to_owned()));
            }
        }
        let info = self.find(id).map(|egress| egress.info.clone());
        info.map_or_else(|| Reply::fail(Failure::no_egress()), Reply::ok)
    }

    /// The egress, when somebody would answer for it.
    pub(super) fn running_egress(&mut self, id: &str) -> Result<&mut Egress, Failure> {
        if self.faults.no_redis {
            return Err(Failure::new("internal", "egress not connected (redis required)"));
        }
        let egress = self.find(id).ok_or_else(Failure::no_egress)?;
        let status = egress.status();
        if egress.vanished {
            return Err(Failure::new("deadline_exceeded", "request timed out"));
        }
        if !matches!(status, Status::EgressStarting | Status::EgressActive) {
            let text = format!("egress with status {} cannot be stopped", status.as_str_name());
            return Err(Failure::new("failed_precondition", text));
        }
        Ok(egress)
    }

    /// Egress/ListEgress: running ones, and ended ones for a day.
    pub fn list_egress(
        &mut self,
        request: &proto::ListEgressRequest,
        now: Duration,
    ) -> Reply<proto::ListEgressResponse> {
        if self.faults.no_redis {
            return Reply::fail(Failure::new("internal", "egress not connected (redis required)"));
        }
        let oldest = nanos(now.saturating_sub(LISTED));
        self.egresses.retain(|_, egress| egress.info.ended_at == 0 || egress.info.ended_at >= oldest);
        if !request.egress_id.is_empty() && self.find(&request.egress_id).is_none() {
            return Reply::fail(Failure::no_egress());
        }
        let wanted = |info: &&proto::EgressInfo| {
            (request.room_name.is_empty() || info.room_name == request.room_name)
                && (request.egress_id.is_empty() || info.egress_id == request.egress_id)
                && (!request.active || info.status < Status::EgressComplete as i32)
        };
        let skip = request.page_token.as_ref().and_then(|token| token.token.parse().ok()).unwrap_or(0);
        let found = self.egresses.values().map(|egress| &egress.info).filter(wanted).skip(skip);
        let page = self.faults.list_page.unwrap_or(usize::MAX).max(1);
        let mut items: Vec<_> = found.take(page.saturating_add(1)).cloned().collect();
        let more = items.len() > page;
        items.truncate(page);
        let next_page_token = more.then(|| proto::TokenPagination { token: (skip + page).to_string() });
        Reply::ok(proto::ListEgressResponse { items, next_page_token })
    }

    /// What is so.
    pub fn truths(&self) -> Vec<Truth> {
        self.egresses.values().map(Egress::truth).collect()
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Egress> {
        self.egresses.values_mut().find(|egress| egress.info.egress_id == id)
    }

    fn running(&self) -> usize {
        self.egresses.values().filter(|egress| egress.is_running() && !egress.vanished).count()
    }

    pub(super) fn playing_in(&self, room: &str) -> Vec<String> {
        let playing =
            self.egresses.values().filter(|egress| egress.phase == Phase::Playing && !egress.vanished);
        playing
            .filter(|egress| egress.info.room_name == room)
            .map(|egress| egress.info.egress_id.clone())
            .collect()
    }
}

fn composite_urls(request: &proto::RoomCompositeEgressRequest) -> Vec<String> {
    #[allow(deprecated)]
    let old = match &request.output {
        Some(CompositeOutput::Stream(stream)) => stream.urls.clone(),
        _ => Vec::new(),
    };
    request.stream_outputs.iter().flat_map(|output| output.urls.clone()).chain(old).collect()
}

fn redact_request(mut request: proto::RoomCompositeEgressRequest) -> proto::RoomCompositeEgressRequest {
    let redact = |urls: &mut Vec<String>| urls.iter_mut().for_each(|url| *url = url::redact(url));
    request.stream_outputs.iter_mut().for_each(|output| redact(&mut output.urls));
    #[allow(deprecated)]
    if let Some(CompositeOutput::Stream(stream)) = &mut request.output {
        redact(&mut stream.urls);
    }
    request
}
