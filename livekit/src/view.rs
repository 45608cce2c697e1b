//! LiveKit's messages as the operator reads them.

use crate::redact;
use crate::tag::{self, Tag};
use livekit_protocol as proto;

/// An egress of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressView {
    /// `EG_…`.
    pub id: String,
    /// Room.
    pub room: String,
    /// The newest attempt among its URLs.
    pub tag: Tag,
    /// LiveKit's word; a hint, never a proof.
    pub status: proto::EgressStatus,
    /// LiveKit's error text, without secrets.
    pub error: String,
    /// It renders the room in Chrome.
    pub uses_chrome: bool,
    /// When LiveKit took the request, nanoseconds since 1970; 0: unknown.
    pub started_at_ns: i64,
    /// When it ended, nanoseconds since 1970; 0: it has not.
    pub ended_at_ns: i64,
}

impl EgressView {
    /// `None` when no URL of it is one of ours.
    pub fn of(info: &proto::EgressInfo) -> Option<Self> {
        let results = info.stream_results.iter().map(|result| result.url.as_str());
        let tag = results.chain(requested(info)).filter_map(tag::parse).max_by_key(|tag| tag.attempt)?;
        let status =
            proto::EgressStatus::try_from(info.status).unwrap_or(proto::EgressStatus::EgressStarting);
        let error = if info.error.is_empty() { &info.details } else { &info.error };
        Some(Self {
            id: info.egress_id.clone(),
            room: info.room_name.clone(),
            tag,
            status,
            error: redact::text(error),
            // Only meaningful for a request that LiveKit has begun: 0 is also the absent value, so Chrome is suspected only
            // once the egress plays.
            uses_chrome: info.source_type == proto::EgressSourceType::Web as i32
                && status == proto::EgressStatus::EgressActive,
            started_at_ns: info.started_at,
            ended_at_ns: info.ended_at,
        })
    }
}

fn requested(info: &proto::EgressInfo) -> impl Iterator<Item = &str> {
    use proto::egress_info::Request;
    let outputs: &[proto::StreamOutput] = match &info.request {
        Some(Request::RoomComposite(request)) => &request.stream_outputs,
        _ => &[],
    };
    outputs.iter().flat_map(|output| output.urls.iter().map(String::as_str))
}

/// People in a room, and how many of their microphones are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomPeople {
    /// Participants that are neither egress, agent nor hidden.
    pub participants: u32,
    /// Unmuted audio tracks from microphones, of anybody but an egress.
    pub open_microphones: u32,
}

impl RoomPeople {
    /// Counts.
    pub fn of(participants: &[proto::ParticipantInfo]) -> Self {
        use proto::participant_info::Kind;
        let mut people = Self::default();
        for participant in participants {
            let hidden = participant.permission.as_ref().is_some_and(|permission| permission.hidden);
            let kind = Kind::try_from(participant.kind).unwrap_or(Kind::Standard);
            if hidden || kind == Kind::Egress {
                continue;
            }
            people.participants += u32::from(kind != Kind::Agent);
            people.open_microphones +=
                participant.tracks.iter().map(|track| u32::from(is_open(track))).sum::<u32>();
        }
        people
    }
}

fn is_open(track: &proto::TrackInfo) -> bool {
    track.r#type == proto::TrackType::Audio as i32 && !track.muted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composite(urls: &[&str]) -> proto::EgressInfo {
        let output =
            proto::StreamOutput { protocol: 1, urls: urls.iter().map(|url| (*url).to_owned()).collect() };
        let request =
            proto::RoomCompositeEgressRequest { stream_outputs: vec![output], ..Default::default() };
        proto::EgressInfo {
            egress_id: "EG_a".into(),
            room_name: "standup".into(),
            request: Some(proto::egress_info::Request::RoomComposite(request)),
            ..Default::default()
        }
    }

    #[test]
    fn an_egress_that_was_moved_has_its_newest_attempt() {
        let mut info = composite(&["rtmp://h/live/0a1b2c3d/s.1/{k}"]);
        assert_eq!(EgressView::of(&info).unwrap().tag.attempt, 1);
        for attempt in [1, 2] {
            info.stream_results.push(proto::StreamInfo {
                url: format!("rtmp://h/live/0a1b2c3d/s.{attempt}/{{k}}"),
                ..Default::default()
            });
        }
        assert_eq!(EgressView::of(&info).unwrap().tag.attempt, 2);
    }

    #[test]
    fn a_missing_status_is_starting() {
        assert_eq!(
            EgressView::of(&composite(&["rtmp://h/live/0a1b2c3d/s.1/k"])).unwrap().status,
            proto::EgressStatus::EgressStarting
        );
    }

    #[test]
    fn somebody_else_s_egress_is_not_seen() {
        assert_eq!(EgressView::of(&composite(&["rtmp://a.example.com/live2/key"])), None);
    }

    #[test]
    fn egresses_agents_and_hidden_observers_are_not_people() {
        use proto::participant_info::Kind;
        let microphone = |muted| proto::TrackInfo { r#type: 0, muted, ..Default::default() };
        let participant = |kind: Kind, hidden, tracks| proto::ParticipantInfo {
            kind: kind as i32,
            permission: Some(proto::ParticipantPermission { hidden, ..Default::default() }),
            tracks,
            ..Default::default()
        };
        let people = RoomPeople::of(&[
            participant(Kind::Standard, false, vec![microphone(false), microphone(true)]),
            participant(Kind::Sip, false, vec![microphone(true)]),
            participant(Kind::Agent, false, vec![microphone(false)]),
            participant(Kind::Standard, true, vec![microphone(false)]),
            participant(Kind::Egress, false, vec![microphone(false)]),
        ]);
        assert_eq!(people, RoomPeople { participants: 2, open_microphones: 2 });
    }
}
