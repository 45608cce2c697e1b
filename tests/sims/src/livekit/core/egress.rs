//! The egress calls and the life of an egress.

use super::rooms::stub;
use super::{Core, Failure, FeedOrder, Reply, ReplyKind, Timer, nanos, seconds, url};
use livekit_protocol as proto;
use proto::EgressStatus as Status;
use proto::participant_info::Kind;
use proto::room_composite_egress_request::Output as CompositeOutput;
use serde::Serialize;
use std::time::Duration;

/// A call without an egress worker to take it fails after so long (observed 22–23 s).
const NO_CAPACITY_AFTER: f64 = 22.4;
/// Calls about an unknown, ended or vanished egress fail after so long.
const NOBODY_AFTER: f64 = 3.0;
const DRAIN: f64 = 0.3;
const DRAIN_WEDGED: f64 = 30.0;
/// Ended egresses stay in the list so long.
const LISTED: Duration = Duration::from_secs(24 * 3600);

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

    fn status(&self) -> Status {
        Status::try_from(self.info.status).unwrap_or(Status::EgressStarting)
    }

    fn truth(&self) -> Truth {
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

    pub(super) fn pipeline_built(&mut self, id: &str, now: Duration) {
        if self.faults.abort_starts {
            return self.finish(id, Status::EgressAborted, "Start signal not received", 412, "Failure", now);
        }
        let Some(egress) = self.find(id).filter(|egress| egress.phase == Phase::Building) else { return };
        egress.phase = Phase::Waiting;
        let room = egress.info.room_name.clone();
        let mut person = self.participant(id, Kind::Egress, now);
        person.permission =
            Some(proto::ParticipantPermission { can_subscribe: true, hidden: true, ..Default::default() });
        self.enter(&room, person, now);
        if self.rooms.get(&room).is_some_and(super::rooms::Room::has_open_microphone) {
            self.play_waiting(&room, now);
        }
    }

    /// The first media packet: pipelines run, RTMP connects.
    pub(super) fn play_waiting(&mut self, room: &str, now: Duration) {
        if self.faults.never_active {
            return;
        }
        let waiting =
            self.egresses.values().filter(|egress| egress.phase == Phase::Waiting && !egress.vanished);
        let ids: Vec<String> = waiting
            .filter(|egress| egress.info.room_name == room)
            .map(|egress| egress.info.egress_id.clone())
            .collect();
        for id in ids {
            let audio_at = self.audio_position(room, now);
            let burst = seconds(self.faults.start_burst_s);
            let Some(egress) = self.find(&id) else { continue };
            egress.phase = Phase::Playing;
            egress.info.status = Status::EgressActive as i32;
            let outputs = egress.outputs.iter().map(|output| (output.number, output.url.clone())).collect();
            self.egress_event("egress_updated", &id, now);
            self.feed(&id, FeedOrder::Begin { outputs, audio_at, burst });
        }
    }

    pub(super) fn drained(&mut self, id: &str, now: Duration) {
        if self.find(id).is_some_and(|egress| egress.phase == Phase::Ending) {
            self.finish(id, Status::EgressComplete, "", 0, "StopEgress API", now);
        }
    }

    pub(super) fn limit_reached(&mut self, id: &str, now: Duration) {
        let text = "Session limit reached";
        match self.find(id).map(|egress| (egress.phase, egress.vanished)) {
            Some((Phase::Building | Phase::Waiting, false)) => {
                self.finish(
                    id,
                    Status::EgressAborted,
                    "Session limit reached before start signal",
                    412,
                    text,
                    now,
                );
            }
            Some((Phase::Playing, false)) => {
                self.finish(id, Status::EgressLimitReached, text, 413, text, now)
            }
            _ => {}
        }
    }

    /// The room is gone: playing egresses complete, waiting ones never could start.
    pub(super) fn source_closed(&mut self, room: &str, now: Duration) {
        let here = self.egresses.values().filter(|egress| egress.info.room_name == room && !egress.vanished);
        let ids: Vec<(String, Phase)> =
            here.map(|egress| (egress.info.egress_id.clone(), egress.phase)).collect();
        for (id, phase) in ids {
            match phase {
                Phase::Building | Phase::Waiting => {
                    self.finish(
                        &id,
                        Status::EgressAborted,
                        "Start signal not received",
                        412,
                        "Source closed",
                        now,
                    );
                }
                Phase::Playing => self.finish(&id, Status::EgressComplete, "", 0, "Source closed", now),
                Phase::Ending | Phase::Ended => {}
            }
        }
    }

    /// The end of an egress. Details are LiveKit's "End reason: …".
    pub(super) fn finish(
        &mut self,
        id: &str,
        status: Status,
        error: &str,
        code: i32,
        reason: &str,
        now: Duration,
    ) {
        let Some(egress) = self.find(id).filter(|egress| egress.is_running()) else { return };
        let played = matches!(egress.phase, Phase::Playing | Phase::Ending);
        egress.phase = Phase::Ended;
        egress.info.status = status as i32;
        egress.info.ended_at = nanos(now);
        egress.info.error = error.to_owned();
        egress.info.error_code = code;
        egress.info.details = format!("End reason: {reason}");
        let Egress { outputs, info, .. } = egress;
        for output in outputs.iter_mut().filter(|output| !output.over) {
            output.over = true;
            end_stream(&mut info.stream_results[output.slot], proto::stream_info::Status::Finished, "", now);
        }
        let room = egress.info.room_name.clone();
        let is_clean = status == Status::EgressComplete || status == Status::EgressLimitReached;
        if played {
            self.feed(id, if is_clean { FeedOrder::End } else { FeedOrder::Cut });
        }
        self.leave(&room, id, now);
        self.egress_event("egress_ended", id, now);
    }

    pub(super) fn egress_event(&mut self, event: &str, id: &str, now: Duration) {
        let Some(egress) = self.find(id) else { return };
        egress.info.updated_at = nanos(now);
        let info = egress.info.clone();
        let room = Some(stub(&info.room_id, &info.room_name));
        let event = proto::WebhookEvent {
            event: event.to_owned(),
            room,
            egress_info: Some(info),
            ..Default::default()
        };
        self.webhook(event, now);
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
