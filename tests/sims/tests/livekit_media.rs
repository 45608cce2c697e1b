//! The simulated LiveKit publishes real RTMP to a real server, with the habits and faults that were observed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use livekit_protocol as proto;
use proto::EgressStatus as Status;
use roomscribe_sims::livekit::core::{Reply, ReplyKind};
use roomscribe_sims::livekit::{Config, Faults, Keys, Microphone, Person, Simulator};
use roomscribe_sims::meeting::MEETING_AAC;
use roomscribe_sims::rtmp_sink::{Behaviour, Publish, RtmpSink};
use std::time::Duration;

const SPEED: f64 = 10.0;

struct World {
    livekit: Simulator,
    sink: RtmpSink,
}

impl World {
    async fn new(faults: Faults, behaviour: Behaviour) -> Self {
        let livekit = Simulator::start(Config {
            speed: SPEED,
            faults,
            ..Config::repeating(Keys {
                api_key: "key".into(),
                api_secret: "a-secret-of-thirty-two-characters".into(),
            })
        });
        let livekit = livekit.await.unwrap();
        let ada = Person::speaking("ada");
        livekit.join("standup", &ada);
        Self { livekit, sink: RtmpSink::start(behaviour).await.unwrap() }
    }

    fn url(&self, attempt: u32) -> String {
        self.sink.url(&format!("live/0a1b2c3d/s.{attempt}"), "abcdef123456")
    }

    fn start(&self, urls: &[String]) -> String {
        let request = proto::RoomCompositeEgressRequest {
            room_name: "standup".into(),
            audio_only: true,
            stream_outputs: vec![proto::StreamOutput { protocol: 1, urls: urls.to_vec() }],
            ..Default::default()
        };
        message(self.livekit.with_core(|core, now| core.start_room_composite(request, now))).egress_id
    }

    fn update(&self, id: &str, add: &str, remove: &str) {
        let request = proto::UpdateStreamRequest {
            egress_id: id.into(),
            add_output_urls: vec![add.into()],
            remove_output_urls: vec![remove.into()],
        };
        message(self.livekit.with_core(|core, now| core.update_stream(&request, now)));
    }

    fn info(&self, id: &str) -> proto::EgressInfo {
        let request = proto::ListEgressRequest { egress_id: id.into(), ..Default::default() };
        message(self.livekit.with_core(|core, now| core.list_egress(&request, now))).items[0].clone()
    }

    fn frames(&self, publish: usize) -> usize {
        self.sink.publishes().get(publish).map_or(0, |publish| publish.frames.len())
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let looking = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), looking).await;
        assert!(seen.is_ok(), "never: {what}; {:?}", self.livekit.egresses());
    }

    async fn until_status(&self, id: &str, status: Status) {
        self.until(status.as_str_name(), |world| world.info(id).status == status as i32).await;
    }
}

fn message<M: std::fmt::Debug>(reply: Reply<M>) -> M {
    match reply.kind {
        ReplyKind::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

fn timestamps(publish: &Publish) -> Vec<u32> {
    publish.frames.iter().map(|(at, _)| *at).collect()
}

#[tokio::test]
async fn one_frame_in_so_long_keeps_its_place_in_time() {
    let world = World::new(Faults { frame_gap_s: 2.0, ..Faults::default() }, Behaviour::Take).await;
    world.start(&[world.url(1)]);
    world.until("5 frames", |world| world.frames(0) >= 5).await;
    let publish = world.sink.publishes()[0].clone();
    assert!(timestamps(&publish).windows(2).all(|pair| (1900..=2100).contains(&(pair[1] - pair[0]))));
    let recording = roomscribe_sims::adts::parse(MEETING_AAC).unwrap();
    let place = |frame: &[u8]| recording.frames.iter().position(|other| other == frame);
    let (first, fifth) = (place(&publish.frames[0].1).unwrap(), place(&publish.frames[4].1).unwrap());
    let expected = 4.0 * 2.0 * f64::from(recording.rate) / 1024.0;
    assert!(((fifth - first) as f64 - expected).abs() < 5.0, "{first} to {fifth}");
}

#[tokio::test]
async fn the_recording_arrives_frame_by_frame_and_ends_with_a_goodbye() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let id = world.start(&[world.url(1)]);
    world.until("200 frames", |world| world.frames(0) >= 200).await;
    message(world.livekit.with_core(|core, now| core.stop_egress(&id, now)));
    world.until_status(&id, Status::EgressComplete).await;
    world.until("goodbye", |world| world.sink.publishes()[0].goodbye).await;
    let publish = world.sink.publishes()[0].clone();
    assert_eq!((publish.app.as_str(), publish.headers), ("live/0a1b2c3d/s.1", 1));
    let recording = roomscribe_sims::adts::parse(MEETING_AAC).unwrap();
    let first = recording.frames.iter().position(|frame| *frame == publish.frames[0].1).unwrap();
    for (index, (at, frame)) in publish.frames.iter().enumerate() {
        assert_eq!(*frame, recording.frames[first + index], "frame {index}");
        assert_eq!(u64::from(*at), index as u64 * 1024 * 1000 / 48_000);
    }
    assert!(world.livekit.egresses()[0].outputs[0].frames >= 200);
}

#[tokio::test]
async fn nothing_connects_while_every_microphone_is_closed() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    world.livekit.set_microphone("standup", "ada", Microphone::Muted);
    let id = world.start(&[world.url(1)]);
    world
        .until("the egress is in the room", |world| {
            let request = proto::ListParticipantsRequest { room: "standup".into() };
            message(world.livekit.with_core(|core, _| core.list_participants(&request))).participants.len()
                == 2
        })
        .await;
    assert_eq!((world.sink.attempts(), world.info(&id).status), (0, Status::EgressStarting as i32));
    world.livekit.set_microphone("standup", "ada", Microphone::Open);
    world.until("audio", |world| world.frames(0) > 0).await;
}

#[tokio::test]
async fn a_refused_port_and_a_refused_publish_fail_the_egress_at_once() {
    let mut world = World::new(Faults::default(), Behaviour::Refuse).await;
    let id = world.start(&[world.url(1)]);
    world.until_status(&id, Status::EgressFailed).await;
    assert_eq!((world.info(&id).error.as_str(), world.sink.attempts()), ("Failed to connect", 1));
    world.sink.close().await;
    let id = world.start(&[world.url(2)]);
    world.until_status(&id, Status::EgressFailed).await;
    assert_eq!(world.info(&id).error, "Could not connect");
}

#[tokio::test]
async fn a_handshake_that_is_never_answered_fails_the_egress() {
    let world = World::new(Faults::default(), Behaviour::Hang).await;
    let id = world.start(&[world.url(1)]);
    world.until_status(&id, Status::EgressFailed).await;
    assert_eq!((world.info(&id).error.as_str(), world.sink.attempts()), ("Failed to connect", 1));
}

#[tokio::test]
async fn one_of_two_refused_outputs_is_survived() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let mut closed = RtmpSink::start(Behaviour::Take).await.unwrap();
    let refused = closed.url("live/0a1b2c3d/s.2", "abcdef123456");
    closed.close().await;
    let id = world.start(&[world.url(1), refused]);
    world.until("audio", |world| world.frames(0) > 50).await;
    let info = world.info(&id);
    let statuses: Vec<i32> = info.stream_results.iter().map(|stream| stream.status).collect();
    assert_eq!((info.status, statuses), (Status::EgressActive as i32, vec![0, 2]));
}

#[tokio::test]
async fn an_acknowledged_connection_is_made_again_and_stream_time_goes_on() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let id = world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 40).await;
    world.sink.kick();
    world.until("a second publish with audio", |world| world.frames(1) > 10).await;
    let publishes = world.sink.publishes();
    assert_eq!(publishes[1].headers, 1, "metadata and header come again");
    assert!(timestamps(&publishes[1])[0] > *timestamps(&publishes[0]).last().unwrap());
    assert_eq!(world.info(&id).status, Status::EgressActive as i32);
}

#[tokio::test]
async fn an_early_drop_without_acknowledgement_fails_the_egress() {
    let faults = Faults { start_latency_s: 0.1, ..Faults::default() };
    let world = World::new(faults, Behaviour::TakeSilently).await;
    let id = world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 0).await;
    world.sink.kick();
    world.until_status(&id, Status::EgressFailed).await;
    assert_eq!(world.info(&id).error, "Connection error");
}

#[tokio::test]
async fn a_server_that_refuses_meets_a_storm_of_retries_and_is_given_up_after_half_a_minute() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let id = world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 0).await;
    world.sink.behave(Behaviour::Close);
    world.sink.kick();
    world.until_status(&id, Status::EgressFailed).await;
    let attempts = world.sink.attempts();
    assert!(attempts > 10, "{attempts} attempts in {} s of real time", 30.0 / SPEED);
}

#[tokio::test]
async fn a_wedge_silences_both_outputs_for_good_and_stays_active() {
    let faults = Faults { wedge_per_drop: 1.0, ..Faults::default() };
    let world = World::new(faults, Behaviour::Take).await;
    let other = RtmpSink::start(Behaviour::Take).await.unwrap();
    let id = world.start(&[world.url(1), other.url("live/0a1b2c3d/s.2", "abcdef123456")]);
    world.until("audio", |world| world.frames(0) > 20).await;
    other.kick();
    world.until("a wedge", |world| world.livekit.egresses()[0].wedged).await;
    let truth = || world.livekit.egresses()[0].clone();
    assert_eq!((truth().feeding, world.info(&id).status), (false, Status::EgressActive as i32));
    // The healthy connection stays open and empty: more frames than are in flight would show within this second.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let frames = world.frames(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((world.frames(0), other.attempts()), (frames, 1));
    assert!(world.sink.publishes()[0].open);
    message(world.livekit.with_core(|core, now| core.stop_egress(&id, now)));
    world.until_status(&id, Status::EgressComplete).await;
}

#[tokio::test]
async fn a_planned_move_loses_and_doubles_no_frame() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let id = world.start(&[world.url(1)]);
    for attempt in 2..6 {
        world.until("audio", |world| world.frames(attempt - 2) > 30).await;
        world.update(&id, &world.url(attempt as u32), &world.url(attempt as u32 - 1));
        world.until("audio at the next", |world| world.frames(attempt - 1) > 30).await;
        world.until("the last is closed", |world| !world.sink.publishes()[attempt - 2].open).await;
    }
    let publishes = world.sink.publishes();
    let all: Vec<u32> = publishes.iter().flat_map(timestamps).collect();
    let expected: Vec<u32> =
        (0..all.len() as u64).map(|index| (index * 1024 * 1000 / 48_000) as u32).collect();
    assert_eq!(all, expected);
    assert_eq!((publishes.len(), publishes[0].goodbye), (5, false));
}

#[tokio::test]
async fn a_mute_stalls_and_then_sends_silence_on_the_same_clock() {
    let faults = Faults { mute_stall_s: 2.8, ..Faults::default() };
    let world = World::new(faults, Behaviour::Take).await;
    world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 40).await;
    world.livekit.set_microphone("standup", "ada", Microphone::Muted);
    world
        .until("silence", |world| {
            world.sink.publishes()[0].frames.iter().filter(|(_, f)| f.len() == 9).count() > 5
        })
        .await;
    world.livekit.set_microphone("standup", "ada", Microphone::Open);
    world
        .until("speech again", |world| {
            world.sink.publishes()[0].frames.last().is_some_and(|(_, f)| f.len() > 9)
        })
        .await;
    let at = timestamps(&world.sink.publishes()[0]);
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= 22), "no gap in stream time");
}

#[tokio::test]
async fn a_vanished_egress_closes_its_connections_and_stays_active() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let id = world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 0).await;
    assert!(world.livekit.with_core(|core, _| core.vanish(&id)));
    world.until("closed", |world| !world.sink.publishes()[0].open).await;
    let publish = &world.sink.publishes()[0];
    assert_eq!((publish.goodbye, world.info(&id).status), (false, Status::EgressActive as i32));
}

#[tokio::test]
async fn two_egresses_of_a_room_are_independent_and_play_the_same_audio() {
    let world = World::new(Faults::default(), Behaviour::Take).await;
    let first = world.start(&[world.url(1)]);
    world.until("audio", |world| world.frames(0) > 20).await;
    world.start(&[world.url(2)]);
    world.until("audio at both", |world| world.frames(1) > 50).await;
    world.livekit.with_core(|core, now| core.wedge(&first, now));
    let before = world.frames(1);
    world.until("more of the second", |world| world.frames(1) > before + 50).await;
    let publishes = world.sink.publishes();
    let of_first: Vec<_> = publishes[0].frames.iter().map(|(_, frame)| frame.clone()).collect();
    assert!(of_first.contains(&publishes[1].frames[0].1), "the second hears what the first hears");
    assert_eq!(world.livekit.egresses().iter().filter(|truth| truth.feeding).count(), 1);
}
