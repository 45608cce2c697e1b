//! The core in simulated time.

use super::*;
use proto::EgressStatus as Status;

const URL: &str = "rtmp://h:1935/live/0a1b2c3d/s.1/abcdef123456";
const NEXT: &str = "rtmp://h:1935/live/0a1b2c3d/s.2/abcdef123456";

struct World {
    core: Core,
    now: Duration,
    effects: Vec<Effect>,
}

impl World {
    fn new(faults: Faults) -> Self {
        let settings = Settings { seed: 7, audio_length: Duration::from_secs(60), at_end: AtEnd::Repeat };
        let mut core = Core::new(settings);
        core.faults = faults;
        Self { core, now: Duration::from_secs(1_800_000_000), effects: Vec::new() }
    }

    fn with_speaker() -> Self {
        let mut world = Self::new(Faults::default());
        world.join("ada", Microphone::Open);
        world
    }

    fn join(&mut self, identity: &str, microphone: Microphone) {
        let person = Person { identity: identity.into(), microphone, ..Person::default() };
        self.core.join("standup", &person, self.now);
        self.drain();
    }

    fn pass(&mut self, time: f64) {
        let until = self.now + Duration::from_secs_f64(time);
        while let Some(at) = self.core.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.tick(self.now);
        }
        self.now = until;
        self.drain();
    }

    fn drain(&mut self) {
        self.effects.extend(self.core.effects());
    }

    fn try_start(&mut self, urls: &[&str]) -> Reply<proto::EgressInfo> {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let request = proto::RoomCompositeEgressRequest {
            room_name: "standup".into(),
            audio_only: true,
            stream_outputs: vec![proto::StreamOutput { protocol: 1, urls }],
            ..Default::default()
        };
        let reply = self.core.start_room_composite(request, self.now);
        self.drain();
        reply
    }

    fn start(&mut self, urls: &[&str]) -> String {
        match self.try_start(urls).kind {
            ReplyKind::Message(info) => info.egress_id,
            other => panic!("{other:?}"),
        }
    }

    /// An egress that plays, its outputs connected.
    fn playing(&mut self, urls: &[&str]) -> String {
        let id = self.start(urls);
        self.pass(1.0);
        for output in self.numbers(&id) {
            self.report(&id, output, ReportKind::Connected);
        }
        id
    }

    fn numbers(&self, id: &str) -> Vec<u64> {
        let truth = self.core.truths().into_iter().find(|truth| truth.id == id).unwrap();
        truth.outputs.iter().map(|output| output.number).collect()
    }

    fn report(&mut self, id: &str, output: u64, kind: ReportKind) {
        self.core.report(&Report { egress: id.into(), output, kind }, self.now);
        self.drain();
    }

    fn info(&mut self, id: &str) -> proto::EgressInfo {
        let request = proto::ListEgressRequest { egress_id: id.into(), ..Default::default() };
        match self.core.list_egress(&request, self.now).kind {
            ReplyKind::Message(list) => list.items[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self, id: &str) -> Status {
        Status::try_from(self.info(id).status).unwrap()
    }

    fn update(&mut self, id: &str, add: &str, remove: &str) -> Reply<proto::EgressInfo> {
        let request = proto::UpdateStreamRequest {
            egress_id: id.into(),
            add_output_urls: vec![add.into()],
            remove_output_urls: vec![remove.into()],
        };
        let reply = self.core.update_stream(&request, self.now);
        self.drain();
        reply
    }

    fn events(&self) -> Vec<&str> {
        let webhooks = self.effects.iter().filter_map(|effect| match effect {
            Effect::Webhook(event) => Some(event.event.as_str()),
            Effect::Feed(..) => None,
        });
        webhooks.collect()
    }

    fn orders(&self) -> Vec<&FeedOrder> {
        let orders = self.effects.iter().filter_map(|effect| match effect {
            Effect::Feed(_, order) => Some(order),
            Effect::Webhook(_) => None,
        });
        orders.collect()
    }
}

fn failure<M: std::fmt::Debug>(reply: Reply<M>) -> (u16, String, Duration) {
    match reply.kind {
        ReplyKind::Failure(failure) => (failure.status(), failure.message, reply.after),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_egress_plays_as_soon_as_a_microphone_is_open_and_not_before() {
    let mut world = World::new(Faults::default());
    world.join("ada", Microphone::Muted);
    let id = world.start(&[URL]);
    world.pass(125.0);
    assert_eq!(world.status(&id), Status::EgressStarting);
    assert!(world.orders().is_empty());
    world.core.set_microphone("standup", "ada", Microphone::Open, world.now);
    world.drain();
    assert_eq!(world.status(&id), Status::EgressActive);
    assert!(matches!(world.orders()[..], [FeedOrder::Begin { .. }]));
}

#[test]
fn a_start_is_refused_as_livekit_refuses_it() {
    let mut world = World::new(Faults::default());
    let none = Duration::ZERO;
    assert_eq!(
        failure(world.try_start(&[URL])),
        (404, "twirp error unknown: requested room does not exist".into(), none)
    );
    world.join("ada", Microphone::Open);
    assert_eq!(failure(world.try_start(&["http://h/live/key"])).0, 400);
    world.core.faults.capacity = Some(1);
    world.start(&[URL]);
    let (status, text, after) = failure(world.try_start(&[NEXT]));
    assert_eq!((status, text.as_str(), after.as_secs()), (503, "no response from servers", 22));
    world.core.faults.no_redis = true;
    assert_eq!(failure(world.try_start(&[URL])).0, 500);
}

#[test]
fn a_lost_answer_is_an_egress_all_the_same() {
    let mut world = World::with_speaker();
    world.core.faults.lost_start_answers = 1;
    assert_eq!(world.try_start(&[URL]).kind, ReplyKind::Lost);
    assert_eq!(world.core.truths().len(), 1);
    world.start(&[NEXT]);
}

#[test]
fn stopping_takes_a_moment_or_half_a_minute_when_wedged() {
    for (wedged, drain) in [(false, 0.3), (true, 30.0)] {
        let mut world = World::with_speaker();
        let id = world.playing(&[URL]);
        if wedged {
            assert!(world.core.wedge(&id, world.now));
        }
        assert_eq!(world.core.stop_egress(&id, world.now).after, Duration::ZERO);
        assert_eq!(world.status(&id), Status::EgressEnding);
        world.pass(drain - 0.1);
        assert_eq!(world.status(&id), Status::EgressEnding);
        world.pass(0.2);
        assert_eq!(world.status(&id), Status::EgressComplete);
        assert_eq!(world.info(&id).details, "End reason: StopEgress API");
        let (status, text, after) = failure(world.core.stop_egress(&id, world.now));
        assert_eq!((status, after.as_secs()), (412, 3));
        assert_eq!(text, "egress with status EGRESS_COMPLETE cannot be stopped");
    }
}

#[test]
fn a_stop_before_the_pipeline_aborts() {
    let mut world = World::with_speaker();
    let id = world.start(&[URL]);
    world.core.stop_egress(&id, world.now);
    let info = world.info(&id);
    assert_eq!((info.status, info.error_code), (Status::EgressAborted as i32, 412));
    assert_eq!(failure(world.core.stop_egress("EG_nobody", world.now)).0, 404);
}

#[test]
fn a_refused_first_connection_fails_at_once() {
    let mut world = World::with_speaker();
    let id = world.start(&[URL]);
    world.pass(1.0);
    let output = world.numbers(&id)[0];
    world.report(&id, output, ReportKind::Failed("Could not connect"));
    let info = world.info(&id);
    assert_eq!(
        (info.status, info.error_code, info.error.as_str()),
        (Status::EgressFailed as i32, 503, "Could not connect")
    );
    assert_eq!(info.stream_results[0].started_at, info.stream_results[0].ended_at);
    assert_eq!(info.stream_results[0].url, "rtmp://h:1935/live/0a1b2c3d/s.1/{abc...456}");
}

#[test]
fn an_early_drop_fails_unless_an_acknowledgement_came() {
    for (acknowledged, expected) in [(false, Status::EgressFailed), (true, Status::EgressActive)] {
        let mut world = World::with_speaker();
        let id = world.playing(&[URL]);
        let output = world.numbers(&id)[0];
        world.report(&id, output, ReportKind::Dropped { acknowledged });
        assert_eq!(world.status(&id), expected);
    }
}

#[test]
fn a_later_drop_is_tried_again_for_half_a_minute() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    let output = world.numbers(&id)[0];
    world.pass(60.0);
    world.report(&id, output, ReportKind::Dropped { acknowledged: false });
    for _ in 0..29 {
        world.pass(1.0);
        world.report(&id, output, ReportKind::Failed("Could not connect"));
    }
    assert_eq!(world.status(&id), Status::EgressActive);
    assert_eq!(world.orders().iter().filter(|order| matches!(order, FeedOrder::Retry(..))).count(), 30);
    assert_eq!(world.info(&id).stream_results[0].retries, 1, "retries are shown once a minute");
    world.pass(1.0);
    world.report(&id, output, ReportKind::Failed("Could not connect"));
    assert_eq!(world.status(&id), Status::EgressFailed);
}

#[test]
fn a_wedged_egress_is_silent_for_ever_and_says_active() {
    let mut world = World::with_speaker();
    world.core.faults.wedge_per_drop = 1.0;
    let id = world.playing(&[URL, NEXT]);
    let output = world.numbers(&id)[1];
    world.pass(60.0);
    world.report(&id, output, ReportKind::Dropped { acknowledged: true });
    assert_eq!(world.orders().last(), Some(&&FeedOrder::Wedge));
    world.pass(600.0);
    assert_eq!(world.status(&id), Status::EgressActive);
    assert!(!world.core.truths()[0].feeding);
    let info = world.info(&id);
    assert_eq!(info.stream_results[0].error, "stream wedged", "the healthy one is blamed");
    assert_eq!(info.stream_results[1].error, "");
    let orders = world.orders().len();
    assert!(matches!(world.update(&id, "rtmp://h/live/x/key", URL).kind, ReplyKind::Message(_)));
    assert_eq!(world.orders().len(), orders, "UpdateStream answers 200 and does nothing");
}

#[test]
fn chances_are_those_that_were_asked_for_and_the_seed_s() {
    let run = || {
        let mut world = World::with_speaker();
        world.core.faults.wedge_per_drop = 0.05;
        (0..400)
            .filter(|_| {
                let id = world.playing(&[URL]);
                let output = world.numbers(&id)[0];
                world.pass(10.0);
                world.report(&id, output, ReportKind::Dropped { acknowledged: true });
                world.core.truths().iter().any(|truth| truth.id == id && truth.wedged)
            })
            .count()
    };
    let wedged = run();
    assert!((8..=34).contains(&wedged), "{wedged} of 400");
    assert_eq!(wedged, run());
}

#[test]
fn update_stream_moves_a_healthy_output_and_kills_over_a_refusing_one() {
    let mut world = World::with_speaker();
    world.core.faults.kill_on_update_while_refused = 1.0;
    let id = world.playing(&[URL]);
    assert!(matches!(world.update(&id, NEXT, URL).kind, ReplyKind::Message(_)));
    let new = world.numbers(&id)[1];
    assert!(
        matches!(world.orders().last(), Some(FeedOrder::Change { add, remove }) if add.len() == 1 && remove.len() == 1)
    );
    world.report(&id, new, ReportKind::Connected);
    world.pass(60.0);
    world.report(&id, new, ReportKind::Dropped { acknowledged: true });
    assert!(matches!(world.update(&id, URL, NEXT).kind, ReplyKind::Message(_)));
    assert_eq!((world.info(&id).status, world.info(&id).error_code), (Status::EgressFailed as i32, 500));
    assert_eq!(failure(world.update(&id, URL, NEXT)).0, 412);
}

#[test]
fn removing_the_last_output_completes_and_an_unknown_one_is_404() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    assert_eq!(failure(world.update(&id, NEXT, "rtmp://h/live/other/key")).0, 404);
    let request = proto::UpdateStreamRequest {
        egress_id: id.clone(),
        remove_output_urls: vec![URL.into()],
        ..Default::default()
    };
    world.core.update_stream(&request, world.now);
    assert_eq!(world.info(&id).details, "End reason: All streams stopped");
}

#[test]
fn the_room_closes_twenty_seconds_after_the_last_person_and_completes_the_egress() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    assert!(world.core.leave("standup", "ada", world.now));
    world.pass(19.0);
    assert_eq!(world.status(&id), Status::EgressActive, "the egress does not keep the room open");
    world.pass(2.0);
    let info = world.info(&id);
    assert_eq!(
        (info.status, info.details.as_str()),
        (Status::EgressComplete as i32, "End reason: Source closed")
    );
    let rooms = world.core.list_rooms(&proto::ListRoomsRequest::default());
    assert!(matches!(rooms.kind, ReplyKind::Message(list) if list.rooms.is_empty()));
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "egress_started",
        "participant_joined",
        "egress_updated",
        "participant_left",
        "participant_left",
        "egress_ended",
        "room_finished",
    ];
    assert_eq!(world.events(), expected);
}

#[test]
fn somebody_who_comes_back_in_time_keeps_the_room() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    world.core.leave("standup", "ada", world.now);
    world.pass(10.0);
    world.join("bea", Microphone::Open);
    world.pass(60.0);
    assert_eq!(world.status(&id), Status::EgressActive);
}

#[test]
fn a_vanished_egress_is_listed_active_and_nobody_answers_for_it() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    assert!(world.core.vanish(&id));
    world.core.delete_room(&proto::DeleteRoomRequest { room: "standup".into() }, world.now);
    assert_eq!(world.status(&id), Status::EgressActive);
    let (status, _, after) = failure(world.core.stop_egress(&id, world.now));
    assert_eq!((status, after.as_secs()), (408, 3));
}

#[test]
fn a_crash_and_the_session_limit_have_livekit_s_codes() {
    let mut world = World::with_speaker();
    let id = world.playing(&[URL]);
    assert!(world.core.crash(&id, world.now));
    assert_eq!((world.info(&id).error_code, world.info(&id).error.as_str()), (500, "exit status 2"));
    world.core.faults.session_limit_s = Some(100.0);
    let id = world.playing(&[URL]);
    world.pass(101.0);
    assert_eq!(
        (world.info(&id).status, world.info(&id).error_code),
        (Status::EgressLimitReached as i32, 413)
    );
}

#[test]
fn starts_that_never_come_up_wait_or_abort() {
    let mut world = World::with_speaker();
    world.core.faults.never_active = true;
    let id = world.playing(&[URL]);
    world.pass(600.0);
    assert_eq!(world.status(&id), Status::EgressStarting);
    world.core.faults.abort_starts = true;
    let id = world.start(&[URL]);
    world.pass(1.0);
    assert_eq!(
        (world.info(&id).error_code, world.info(&id).error.as_str()),
        (412, "Start signal not received")
    );
}

#[test]
fn the_list_forgets_after_a_day_and_comes_in_pages() {
    let mut world = World::with_speaker();
    let ended = world.start(&[URL]);
    world.core.stop_egress(&ended, world.now);
    for _ in 0..4 {
        world.start(&[URL]);
    }
    world.core.faults.list_page = Some(2);
    let mut request = proto::ListEgressRequest { active: true, ..Default::default() };
    let mut sizes = Vec::new();
    loop {
        let ReplyKind::Message(page) = world.core.list_egress(&request, world.now).kind else {
            panic!("no list")
        };
        sizes.push(page.items.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2]);
    world.now += Duration::from_secs(24 * 3600 + 1);
    let request = proto::ListEgressRequest { egress_id: ended, ..Default::default() };
    assert_eq!(failure(world.core.list_egress(&request, world.now)).0, 404);
}

#[test]
fn webhooks_are_lost_doubled_and_late_on_demand() {
    let order = |faults: Faults| {
        let mut world = World::new(faults);
        world.join("ada", Microphone::Open);
        world.events().iter().map(|event| (*event).to_owned()).collect::<Vec<_>>()
    };
    let all = ["room_started", "participant_joined", "track_published"];
    assert_eq!(order(Faults::default()), all);
    assert_eq!(order(Faults { lost_webhooks: 1.0, ..Faults::default() }), [""; 0]);
    let doubled = order(Faults { duplicate_webhooks: 1.0, ..Faults::default() });
    assert_eq!(doubled, [all[0], all[0], all[1], all[1], all[2], all[2]]);
    let late = order(Faults { late_webhooks: 1.0, ..Faults::default() });
    assert_eq!(late, [all[1], all[0]], "the third waits for a fourth");
}

#[test]
fn people_leave_when_the_recording_is_over() {
    let mut world = World::with_speaker();
    world.core.settings.at_end = AtEnd::Leave;
    let id = world.playing(&[URL]);
    world.pass(59.0);
    assert_eq!(world.status(&id), Status::EgressActive);
    world.pass(30.0);
    assert_eq!(world.status(&id), Status::EgressComplete);
}

#[test]
fn a_layout_means_chrome() {
    let mut world = World::with_speaker();
    world.start(&[URL]);
    let request = proto::RoomCompositeEgressRequest {
        room_name: "standup".into(),
        audio_only: true,
        layout: "grid".into(),
        stream_outputs: vec![proto::StreamOutput { protocol: 1, urls: vec![URL.into()] }],
        ..Default::default()
    };
    world.core.start_room_composite(request, world.now);
    let ReplyKind::Message(list) =
        world.core.list_egress(&proto::ListEgressRequest::default(), world.now).kind
    else {
        panic!("no list")
    };
    let sources: Vec<i32> = list.items.iter().map(|info| info.source_type).collect();
    assert_eq!(sources, [proto::EgressSourceType::Sdk as i32, proto::EgressSourceType::Web as i32]);
}
