//! The life of an egress between its calls: it plays, ends, and tells.

use super::egress::{Egress, Phase, end_stream};
use super::rooms::{Room, stub};
use super::{Core, FeedOrder, nanos, seconds};
use livekit_protocol as proto;
use proto::EgressStatus as Status;
use proto::participant_info::Kind;
use std::time::Duration;

impl Core {
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
        if self.rooms.get(&room).is_some_and(Room::has_open_microphone) {
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
            let (burst, gap) = (seconds(self.faults.start_burst_s), seconds(self.faults.frame_gap_s));
            let Some(egress) = self.find(&id) else { continue };
            egress.phase = Phase::Playing;
            egress.info.status = Status::EgressActive as i32;
            let outputs = egress.outputs.iter().map(|output| (output.number, output.url.clone())).collect();
            self.egress_event("egress_updated", &id, now);
            self.feed(&id, FeedOrder::Begin { outputs, audio_at, burst, gap });
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
