//! Rooms and people. The test, not a WebRTC stack, says who is there and whose microphone is open.

use super::{AtEnd, Core, Failure, FeedOrder, Reply, Timer, seconds};
use livekit_protocol as proto;
use proto::participant_info::{Kind, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// livekit-server's defaults, seconds.
const EMPTY_TIMEOUT: u32 = 300;
const DEPARTURE_TIMEOUT: u32 = 20;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) info: proto::Room,
    pub(super) people: BTreeMap<String, proto::ParticipantInfo>,
    /// When the first egress began to play: the recording begins then, so nothing of it is lost.
    pub(super) audio_from: Option<Duration>,
    changes: u64,
}

/// A person's microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Microphone {
    /// Published, not muted.
    Open,
    /// Published, muted.
    Muted,
    /// Not published.
    #[default]
    None,
}

/// Somebody who joins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    /// Unique in the room.
    pub identity: String,
    /// Shown.
    pub name: String,
    /// Their microphone.
    pub microphone: Microphone,
    /// Not announced to others.
    pub hidden: bool,
    /// An agent: does not keep the room open.
    pub agent: bool,
}

impl Person {
    /// Somebody with an open microphone.
    pub fn speaking(identity: &str) -> Self {
        Self { identity: identity.to_owned(), microphone: Microphone::Open, ..Self::default() }
    }
}

impl Room {
    pub(super) fn has_open_microphone(&self) -> bool {
        let of_people = self.people.values().filter(|person| person.kind != Kind::Egress as i32);
        of_people.flat_map(|person| &person.tracks).any(|track| is_microphone(track) && !track.muted)
    }

    fn has_people(&self) -> bool {
        self.people.values().any(|person| ![Kind::Egress as i32, Kind::Agent as i32].contains(&person.kind))
    }

    fn shown(&self) -> proto::Room {
        let counted = self.people.values().filter(|person| person.kind != Kind::Egress as i32);
        let publishers = counted.clone().filter(|person| person.is_publisher).count();
        proto::Room {
            num_participants: counted.count() as u32,
            num_publishers: publishers as u32,
            active_recording: self.people.values().any(|person| person.kind == Kind::Egress as i32),
            ..self.info.clone()
        }
    }
}

fn is_microphone(track: &proto::TrackInfo) -> bool {
    track.r#type == proto::TrackType::Audio as i32
}

impl Core {
    /// RoomService/CreateRoom: makes the room or finds it.
    pub fn create_room(&mut self, request: &proto::CreateRoomRequest, now: Duration) -> Reply<proto::Room> {
        if request.name.is_empty() {
            return Reply::fail(Failure::new("invalid_argument", "room name cannot be empty"));
        }
        if let Some(room) = self.rooms.get(&request.name) {
            return Reply::ok(room.shown());
        }
        let or = |given: u32, default: u32| if given == 0 { default } else { given };
        let info = proto::Room {
            sid: self.id("RM"),
            name: request.name.clone(),
            empty_timeout: or(request.empty_timeout, EMPTY_TIMEOUT),
            departure_timeout: or(request.departure_timeout, DEPARTURE_TIMEOUT),
            max_participants: request.max_participants,
            metadata: request.metadata.clone(),
            creation_time: now.as_secs() as i64,
            creation_time_ms: now.as_millis() as i64,
            ..Default::default()
        };
        let changes = self.next();
        let room = Room { info, people: BTreeMap::new(), audio_from: None, changes };
        let shown = room.shown();
        let empty = Duration::from_secs(room.info.empty_timeout.into());
        self.rooms.insert(request.name.clone(), room);
        self.room_event("room_started", &request.name, None, None, now);
        self.at(now + empty, Timer::RoomEmpty(request.name.clone(), changes));
        Reply::ok(shown)
    }

    /// RoomService/ListRooms.
    pub fn list_rooms(&mut self, request: &proto::ListRoomsRequest) -> Reply<proto::ListRoomsResponse> {
        if self.faults.forgotten_rooms > 0 {
            self.faults.forgotten_rooms -= 1;
            return Reply::ok(proto::ListRoomsResponse::default());
        }
        let wanted = |name: &String| request.names.is_empty() || request.names.contains(name);
        let rooms =
            self.rooms.iter().filter(|(name, _)| wanted(name)).map(|(_, room)| room.shown()).collect();
        Reply::ok(proto::ListRoomsResponse { rooms })
    }

    /// RoomService/DeleteRoom.
    pub fn delete_room(
        &mut self,
        request: &proto::DeleteRoomRequest,
        now: Duration,
    ) -> Reply<proto::DeleteRoomResponse> {
        if !self.rooms.contains_key(&request.room) {
            return Reply::fail(Failure::no_room());
        }
        self.close_room(&request.room, now);
        Reply::ok(proto::DeleteRoomResponse {})
    }

    /// RoomService/ListParticipants. Egresses are in it.
    pub fn list_participants(
        &self,
        request: &proto::ListParticipantsRequest,
    ) -> Reply<proto::ListParticipantsResponse> {
        // livekit-server answers an empty list for a room that it does not know.
        let people = self.rooms.get(&request.room).map(|room| room.people.values().cloned().collect());
        Reply::ok(proto::ListParticipantsResponse { participants: people.unwrap_or_default() })
    }

    /// RoomService/GetParticipant.
    pub fn get_participant(&self, request: &proto::RoomParticipantIdentity) -> Reply<proto::ParticipantInfo> {
        let found = self.rooms.get(&request.room).and_then(|room| room.people.get(&request.identity));
        match found {
            Some(person) => Reply::ok(person.clone()),
            None => Reply::fail(Failure::new("not_found", "participant does not exist")),
        }
    }

    /// People in a room, egresses not counted; 0 also when there is no such room.
    pub fn people(&self, room: &str) -> usize {
        let people = self.rooms.get(room).into_iter().flat_map(|room| room.people.values());
        people.filter(|person| person.kind != Kind::Egress as i32).count()
    }

    /// Somebody joins; the room is made when it is not there.
    pub fn join(&mut self, room: &str, person: &Person, now: Duration) {
        self.create_room(&proto::CreateRoomRequest { name: room.to_owned(), ..Default::default() }, now);
        let kind = if person.agent { Kind::Agent } else { Kind::Standard };
        let mut info = self.participant(&person.identity, kind, now);
        info.name.clone_from(&person.name);
        info.permission = Some(proto::ParticipantPermission {
            can_subscribe: true,
            can_publish: true,
            hidden: person.hidden,
            ..Default::default()
        });
        self.enter(room, info, now);
        if person.microphone != Microphone::None {
            self.set_microphone(room, &person.identity, person.microphone, now);
        }
    }

    /// Somebody publishes, mutes, unmutes or unpublishes. `false`: nobody of that name is there. There is no webhook for mute.
    pub fn set_microphone(
        &mut self,
        room: &str,
        identity: &str,
        microphone: Microphone,
        now: Duration,
    ) -> bool {
        let sid = self.id("TR");
        let Some(entry) = self.rooms.get_mut(room) else { return false };
        let was_open = entry.has_open_microphone();
        let Some(person) = entry.people.get_mut(identity) else { return false };
        let at = person.tracks.iter().position(is_microphone);
        let event = match (at, microphone) {
            (Some(at), Microphone::None) => Some(("track_unpublished", person.tracks.remove(at))),
            (Some(at), _) => {
                person.tracks[at].muted = microphone == Microphone::Muted;
                None
            }
            (None, Microphone::None) => None,
            (None, _) => {
                let track = microphone_track(sid, microphone == Microphone::Muted);
                person.tracks.push(track.clone());
                Some(("track_published", track))
            }
        };
        person.is_publisher = !person.tracks.is_empty();
        let person = person.clone();
        let is_open = entry.has_open_microphone();
        if let Some((name, track)) = event {
            self.room_event(name, room, Some(person), Some(track), now);
        }
        self.microphones_changed(room, was_open, is_open, now);
        true
    }

    /// Somebody leaves. `false`: nobody of that name is there.
    pub fn leave(&mut self, room: &str, identity: &str, now: Duration) -> bool {
        let changes = self.next();
        let Some(entry) = self.rooms.get_mut(room) else { return false };
        let was_open = entry.has_open_microphone();
        let Some(mut person) = entry.people.remove(identity) else { return false };
        person.state = State::Disconnected as i32;
        entry.changes = changes;
        let is_open = entry.has_open_microphone();
        let timeout = Duration::from_secs(entry.info.departure_timeout.into());
        let is_empty = !entry.has_people();
        self.room_event("participant_left", room, Some(person), None, now);
        self.microphones_changed(room, was_open, is_open, now);
        if is_empty {
            self.at(now + timeout, Timer::RoomEmpty(room.to_owned(), changes));
        }
        true
    }

    pub(super) fn enter(&mut self, room: &str, info: proto::ParticipantInfo, now: Duration) {
        let changes = self.next();
        let Some(entry) = self.rooms.get_mut(room) else { return };
        if info.kind != Kind::Egress as i32 {
            entry.changes = changes;
        }
        entry.people.insert(info.identity.clone(), info.clone());
        self.room_event("participant_joined", room, Some(info), None, now);
    }

    pub(super) fn participant(
        &mut self,
        identity: &str,
        kind: Kind,
        now: Duration,
    ) -> proto::ParticipantInfo {
        proto::ParticipantInfo {
            sid: self.id("PA"),
            identity: identity.to_owned(),
            state: State::Active as i32,
            joined_at: now.as_secs() as i64,
            joined_at_ms: now.as_millis() as i64,
            kind: kind as i32,
            ..Default::default()
        }
    }

    fn microphones_changed(&mut self, room: &str, was_open: bool, is_open: bool, now: Duration) {
        if was_open == is_open {
            return;
        }
        for id in self.playing_in(room) {
            let stall = seconds(self.faults.mute_stall_s);
            self.feed(&id, FeedOrder::Microphones { open: is_open, stall });
        }
        if is_open {
            self.play_waiting(room, now);
        }
    }

    pub(super) fn room_stayed_empty(&mut self, name: &str, changes: u64, now: Duration) {
        let closes = self.rooms.get(name).is_some_and(|room| room.changes == changes && !room.has_people());
        if closes {
            self.close_room(name, now);
        }
    }

    pub(super) fn audio_ended(&mut self, name: &str, now: Duration) {
        let length = self.settings.audio_length;
        let room =
            self.rooms.get(name).filter(|room| room.audio_from.is_some_and(|from| from + length <= now));
        let (AtEnd::Leave, Some(room)) = (self.settings.at_end, room) else { return };
        let people = room.people.clone();
        for (identity, _) in people.iter().filter(|(_, person)| person.kind == Kind::Standard as i32) {
            self.leave(name, identity, now);
        }
    }

    fn close_room(&mut self, name: &str, now: Duration) {
        self.source_closed(name, now);
        let people: Vec<String> =
            self.rooms.get(name).map(|r| r.people.keys().cloned().collect()).unwrap_or_default();
        for identity in people {
            self.leave(name, &identity, now);
        }
        self.room_event("room_finished", name, None, None, now);
        self.rooms.remove(name);
    }

    fn room_event(
        &mut self,
        event: &str,
        room: &str,
        participant: Option<proto::ParticipantInfo>,
        track: Option<proto::TrackInfo>,
        now: Duration,
    ) {
        let room = self.rooms.get(room).map(Room::shown);
        let event =
            proto::WebhookEvent { event: event.to_owned(), room, participant, track, ..Default::default() };
        self.webhook(event, now);
    }

    /// Time of the recording that a room hears now; the first call begins it.
    pub(super) fn audio_position(&mut self, name: &str, now: Duration) -> Duration {
        let length = self.settings.audio_length;
        let Some(room) = self.rooms.get_mut(name) else { return Duration::ZERO };
        let from = *room.audio_from.get_or_insert(now);
        if from == now {
            self.at(now + length + Duration::from_secs(1), Timer::AudioEnd(name.to_owned()));
        }
        now.saturating_sub(from)
    }
}

fn microphone_track(sid: String, muted: bool) -> proto::TrackInfo {
    proto::TrackInfo {
        sid,
        r#type: proto::TrackType::Audio as i32,
        source: proto::TrackSource::Microphone as i32,
        name: "microphone".into(),
        mime_type: "audio/opus".into(),
        muted,
        ..Default::default()
    }
}

/// For webhooks about egresses, whose room may be gone.
pub(super) fn stub(sid: &str, name: &str) -> proto::Room {
    proto::Room { sid: sid.to_owned(), name: name.to_owned(), ..Default::default() }
}
