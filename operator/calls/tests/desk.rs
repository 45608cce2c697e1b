//! A desk and a simulated LiveKit whose clock runs fifty times as fast.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use roomscribe_calls::{Desk, Order, Project};
use roomscribe_crds::reason::Reason;
use roomscribe_livekit::{Client, Credentials};
use roomscribe_plan::{Action, Ask, Known, LiveKitError, Memory, StartOutcome};
use roomscribe_sims::livekit::{Config, Keys, Person, Simulator};
use roomscribe_sims::rtmp_sink::{Behaviour, RtmpSink};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

const INSTALL: &str = "0a1b2c3d";
const SESSION: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

struct World {
    livekit: Simulator,
    _sink: RtmpSink,
    desk: Desk,
    order: Order,
    woken: Arc<Notify>,
    calls: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
}

impl World {
    async fn new(secret: &str) -> Self {
        let keys = Keys { api_key: "APIkey".into(), api_secret: "a-secret-of-thirty-two-characters".into() };
        let config = Config { speed: 50.0, ..Config::repeating(keys) };
        let livekit = Simulator::start(config).await.unwrap();
        livekit.join("standup", &Person::speaking("ada"));
        let sink = RtmpSink::start(Behaviour::Take).await.unwrap();
        let (woken, calls) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let project = project(&livekit.url(), secret, INSTALL, &calls);
        let base = sink.url(&format!("live/{INSTALL}/{SESSION}"), "KEY");
        let wake = woken.clone();
        let order = Order {
            project,
            room: "standup".into(),
            session: SESSION.into(),
            url: Arc::new(move |attempt| Some(base.replace(SESSION, &format!("{SESSION}.{attempt}")))),
            wake: Arc::new(move || wake.notify_one()),
            span: tracing::Span::none(),
        };
        Self { livekit, _sink: sink, desk: Desk::default(), order, woken, calls }
    }

    fn carry(&self, action: &Action) {
        assert!(self.desk.carry(&self.order, action, Reason::Starting), "{action:?}");
    }

    async fn answered(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.woken.notified()).await.unwrap();
    }

    /// Calls of this name so far.
    fn made(&self, name: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(call, _)| *call == name).count()
    }

    async fn started(&self, attempt: u32) -> String {
        self.carry(&Action::StartEgress { attempt });
        self.answered().await;
        match self.desk.observed().1.start.unwrap().outcome.unwrap() {
            StartOutcome::Started { id } => id,
            other => panic!("{other:?}"),
        }
    }

    async fn listed(&self) -> Vec<(String, u32)> {
        self.carry(&Action::Ask(Ask::Egresses));
        self.answered().await;
        let livekit = self.desk.observed().0;
        let listing = livekit.egresses.get().unwrap();
        listing.live().map(|egress| (egress.id.clone(), egress.attempt)).collect()
    }
}

fn project(
    url: &str,
    secret: &str,
    install: &str,
    calls: &Arc<Mutex<Vec<(&'static str, &'static str)>>>,
) -> Project {
    let credentials = Credentials { url: url.into(), api_key: "APIkey".into(), api_secret: secret.into() };
    let client =
        Client::new(credentials).unwrap().with_deadlines(Duration::from_secs(2), Duration::from_secs(2));
    let calls = calls.clone();
    Project::new(client, install, Arc::new(move |call, how| calls.lock().unwrap().push((call, how))))
}

#[tokio::test]
async fn a_start_is_remembered_while_it_is_under_way_and_answered_when_it_has_become_an_egress() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    world.carry(&Action::StartEgress { attempt: 1 });
    assert_eq!(world.desk.observed().1.start.unwrap().outcome, None);
    world.answered().await;
    let start = world.desk.observed().1.start.unwrap();
    assert!(matches!(start.outcome, Some(StartOutcome::Started { .. })) && start.answered_at.is_some());
    assert_eq!(world.calls.lock().unwrap().clone(), [("StartRoomCompositeEgress", "ok")]);
}

#[tokio::test]
async fn an_answer_that_comes_while_a_plan_is_made_is_not_overwritten_by_that_plan() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    world.carry(&Action::StartEgress { attempt: 1 });
    let (_, before) = world.desk.observed();
    world.answered().await;
    world.desk.adopt(Memory { failures: 3, ..before });
    let after = world.desk.observed().1;
    assert_eq!(after.failures, 3);
    assert!(after.start.unwrap().outcome.is_some());
}

#[tokio::test]
async fn a_session_sees_its_own_egresses_and_those_of_no_other_installation() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    let id = world.started(1).await;
    assert_eq!(world.listed().await, [(id.clone(), 1)]);
    let other = project(&world.livekit.url(), "a-secret-of-thirty-two-characters", "ffffffff", &world.calls);
    assert!(other.all().await.unwrap().1.is_empty());
    assert!(other.egresses("standup", SESSION).await.unwrap().egresses.is_empty());
    assert_eq!(world.order.project.all().await.unwrap().1[0].session, SESSION);
}

#[tokio::test]
async fn an_egress_is_moved_although_the_address_has_changed_since_it_was_started() {
    let mut world = World::new("a-secret-of-thirty-two-characters").await;
    let id = world.started(1).await;
    world.listed().await;
    let elsewhere = RtmpSink::start(Behaviour::Take).await.unwrap();
    let base = elsewhere.url(&format!("live/{INSTALL}/{SESSION}"), "KEY");
    world.order.url = Arc::new(move |attempt| Some(base.replace(SESSION, &format!("{SESSION}.{attempt}"))));
    world.carry(&Action::MoveEgress { id: id.clone(), from: 1, to: 2 });
    world.answered().await;
    let outcome = world.desk.observed().1.start.unwrap().outcome;
    assert_eq!(
        outcome,
        Some(StartOutcome::Started { id: id.clone() }),
        "the old URL is not the one it was given"
    );
    assert_eq!(world.listed().await, [(id, 2)]);
}

#[tokio::test]
async fn a_move_keeps_the_egress_and_a_stop_ends_it() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    let id = world.started(1).await;
    world.carry(&Action::MoveEgress { id: id.clone(), from: 1, to: 2 });
    world.answered().await;
    assert_eq!(world.listed().await, [(id.clone(), 2)]);
    world.carry(&Action::StopEgress { id });
    world.answered().await;
    let gone = async { while !world.listed().await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn a_refused_key_is_an_error_that_stands_until_a_call_works() {
    let world = World::new("another-secret-of-thirty-two-char").await;
    world.carry(&Action::Ask(Ask::Room));
    world.answered().await;
    let livekit = world.desk.observed().0;
    assert_eq!((livekit.error, livekit.room), (Some(LiveKitError::CredentialsRefused), Known::Unknown));
    let right = project(&world.livekit.url(), "a-secret-of-thirty-two-characters", INSTALL, &world.calls);
    let order = Order { project: right, ..world.order.clone() };
    world.desk.carry(&order, &Action::Ask(Ask::Room), Reason::Starting);
    world.answered().await;
    let livekit = world.desk.observed().0;
    assert_eq!(livekit.error, None);
    assert_eq!(livekit.room.get().unwrap().room.unwrap().open_microphones, 1);
}

/// As a plan that does not know what it needs: it asks at every answer.
async fn asks_at_every_answer(world: &World, time: Duration) {
    let asking = async {
        loop {
            world.carry(&Action::Ask(Ask::Egresses));
            world.carry(&Action::Ask(Ask::Room));
            world.answered().await;
        }
    };
    let _ = tokio::time::timeout(time, asking).await;
}

#[tokio::test]
async fn a_plan_that_asks_at_every_answer_does_not_ask_as_fast_as_livekit_answers() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    asks_at_every_answer(&world, Duration::from_secs(2)).await;
    let asked = world.made("ListEgress");
    assert!((2..=9).contains(&asked), "{asked} in 2 s");
}

#[tokio::test]
async fn a_refused_key_is_tried_twice_a_minute_and_a_mended_one_at_once() {
    let world = World::new("another-secret-of-thirty-two-char").await;
    asks_at_every_answer(&world, Duration::from_secs(2)).await;
    assert_eq!((world.made("ListEgress"), world.made("ListParticipants")), (1, 1));
    for _ in 0..3 {
        world.carry(&Action::StopEgress { id: "EG_a".into() });
        let _ = tokio::time::timeout(Duration::from_millis(300), world.woken.notified()).await;
    }
    assert_eq!(world.made("StopEgress"), 1);
    let right = project(&world.livekit.url(), "a-secret-of-thirty-two-characters", INSTALL, &world.calls);
    let order = Order { project: right, ..world.order.clone() };
    world.desk.carry(&order, &Action::Ask(Ask::Egresses), Reason::Starting);
    let known = async {
        while world.desk.observed().0.error.is_some() {
            world.answered().await
        }
    };
    tokio::time::timeout(Duration::from_secs(5), known).await.unwrap();
}

#[tokio::test]
async fn a_question_that_came_too_early_is_asked_by_itself() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    world.carry(&Action::Ask(Ask::Egresses));
    world.answered().await;
    for _ in 0..5 {
        world.carry(&Action::Ask(Ask::Egresses));
    }
    world.answered().await;
    assert_eq!(world.made("ListEgress"), 2);
    let more = tokio::time::timeout(Duration::from_millis(600), world.woken.notified()).await;
    assert!(more.is_err(), "one timer asks one question");
}

#[tokio::test]
async fn an_egress_whose_machine_is_gone_counts_as_ended_and_is_no_trouble_of_livekit() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    let id = world.started(1).await;
    world.livekit.with_core(|core, _| assert!(core.vanish(&id)));
    world.carry(&Action::StopEgress { id: id.clone() });
    world.carry(&Action::StopEgress { id });
    world.answered().await;
    assert_eq!(world.made("StopEgress"), 2);
    assert_eq!(world.desk.observed().0.error, None);
    assert_eq!(world.listed().await, [], "LiveKit itself lists it as ACTIVE for ever");
    let all = world.order.project.all().await.unwrap().1;
    assert_eq!((all.len(), all[0].egress.state.is_live()), (1, false));
    assert!(all[0].egress.error.contains("machine"), "{}", all[0].egress.error);
}

#[tokio::test]
async fn a_stop_of_an_egress_that_is_not_there_is_a_stop() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    world.carry(&Action::StopEgress { id: "EG_nobody".into() });
    world.answered().await;
    assert_eq!((world.made("StopEgress"), world.desk.observed().0.error), (1, None));
}

#[tokio::test]
async fn a_livekit_that_answers_with_an_error_is_quoted_in_its_first_words() {
    let world = World::new("a-secret-of-thirty-two-characters").await;
    world.livekit.set_faults(|faults| faults.no_redis = true);
    world.carry(&Action::Ask(Ask::Egresses));
    world.answered().await;
    let Some(LiveKitError::Failing { status, code, message }) = world.desk.observed().0.error else {
        panic!("{:?}", world.desk.observed().0.error);
    };
    assert_eq!((status, code.as_str()), (500, "internal"));
    assert!(!message.is_empty());
    let error = |status, message: &str| roomscribe_livekit::ApiError {
        kind: roomscribe_livekit::ErrorKind::Unknown,
        status: Some(status),
        code: "internal".into(),
        message: message.into(),
    };
    assert!(!world.desk.unlisted(&error(500, "other words for it")), "no news");
    let quoted = LiveKitError::Failing { status, code, message };
    assert_eq!(world.desk.observed().0.error, Some(quoted));
    assert!(world.desk.unlisted(&error(503, "another trouble")), "news");
}

/// Lines of the log at INFO and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_trouble_that_several_sessions_and_questions_meet_is_logged_once_and_its_end_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let world = World::new("a-secret-of-thirty-two-characters").await;
    let others = [Desk::default(), Desk::default()];
    let ask = async |ask| {
        for desk in others.iter().chain([&world.desk]) {
            assert!(desk.carry(&world.order, &Action::Ask(ask), Reason::Starting));
            world.answered().await;
        }
    };
    world.livekit.set_faults(|faults| faults.no_redis = true);
    ask(Ask::Egresses).await;
    assert!(world.order.project.all().await.is_err());
    world.carry(&Action::StopEgress { id: "EG_a".into() });
    world.answered().await;
    world.livekit.set_faults(|faults| faults.no_redis = false);
    ask(Ask::Room).await;
    world.order.project.all().await.unwrap();
    world.order.project.stop("EG_a").await.unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<_> = text.lines().collect();
    let [begins, ends] = said.as_slice() else { panic!("{text}") };
    assert!(begins.contains(" WARN ") && begins.contains("LiveKit answers with an error"), "{text}");
    assert!(begins.contains("500") && begins.contains(&world.livekit.url()), "{text}");
    assert!(ends.contains("LiveKit answers again"), "{text}");
}
