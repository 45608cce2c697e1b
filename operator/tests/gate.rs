//! Who may run: one session per room, as many as the speech account takes, nobody forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use roomscribe_crds::TranscriptionSession;
use roomscribe_operator::observe::gate::{Facts, Stage, room_and_queue};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn facts(name: &str, room: &str, created: i64, stage: Stage) -> Facts {
    let epoch: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    Facts {
        id: format!("uid-{name}"),
        namespace: "meetings".into(),
        name: name.into(),
        project: "key".into(),
        room: room.into(),
        has_room: true,
        created_at: epoch + SignedDuration::from_secs(created),
        stage,
    }
}

fn asked(sessions: &[Facts], name: &str, max: Option<u32>) -> (Option<String>, Option<u32>) {
    let me = sessions.iter().find(|facts| facts.name == name).unwrap();
    room_and_queue(sessions, me, max)
}

#[test]
fn the_oldest_of_new_sessions_has_the_room() {
    let sessions = [facts("b", "r", 2, Stage::Waiting), facts("a", "r", 1, Stage::Waiting)];
    assert_eq!(asked(&sessions, "a", None).0, None);
    assert_eq!(asked(&sessions, "b", None).0.as_deref(), Some("a"));
}

#[test]
fn a_session_that_has_begun_keeps_the_room_from_an_older_one() {
    let sessions = [facts("old", "r", 1, Stage::Waiting), facts("new", "r", 2, Stage::Begun)];
    assert_eq!(asked(&sessions, "old", None).0.as_deref(), Some("new"));
    assert_eq!(asked(&sessions, "new", None).0, None);
}

#[test]
fn a_refused_or_finished_session_keeps_no_room() {
    let sessions = [
        facts("broken", "r", 1, Stage::Refused),
        facts("over", "r", 2, Stage::Over),
        facts("new", "r", 3, Stage::Waiting),
    ];
    assert_eq!(asked(&sessions, "new", None).0, None);
    assert_eq!(asked(&sessions, "broken", None).0.as_deref(), Some("new"));
}

#[test]
fn rooms_of_other_projects_and_pushed_sessions_are_no_rivals() {
    let mut other = facts("other", "r", 1, Stage::Begun);
    other.project = "another key".into();
    let mut pushed = facts("pushed", "r", 1, Stage::Begun);
    pushed.has_room = false;
    assert_eq!(asked(&[other, pushed, facts("new", "r", 3, Stage::Waiting)], "new", None).0, None);
}

#[test]
fn a_rival_of_another_namespace_is_named_with_it() {
    let mut first = facts("a", "r", 1, Stage::Begun);
    first.namespace = "others".into();
    assert_eq!(asked(&[first, facts("b", "r", 2, Stage::Waiting)], "b", None).0.as_deref(), Some("others/a"));
}

#[test]
fn sessions_beyond_the_account_wait_oldest_first_with_their_place() {
    let sessions = [
        facts("running", "r1", 9, Stage::Begun),
        facts("c", "r2", 3, Stage::Waiting),
        facts("b", "r3", 2, Stage::Waiting),
        facts("a", "r4", 1, Stage::Waiting),
        facts("waits-for-its-room", "r1", 0, Stage::Waiting),
    ];
    assert_eq!(asked(&sessions, "running", Some(1)).1, None);
    assert_eq!(asked(&sessions, "a", Some(1)).1, Some(1));
    assert_eq!(asked(&sessions, "b", Some(1)).1, Some(2));
    assert_eq!(asked(&sessions, "a", Some(2)).1, None);
    assert_eq!(asked(&sessions, "c", Some(2)).1, Some(2));
    assert_eq!(asked(&sessions, "c", None).1, None);
}

fn stage(spec: Value, status: Value, deleted: bool) -> Stage {
    let mut metadata = json!({"name": "a", "uid": "u", "creationTimestamp": "2026-11-25T10:00:00Z"});
    if deleted {
        metadata["deletionTimestamp"] = "2026-11-25T11:00:00Z".into();
    }
    let mut full = json!({"roomName": "standup"});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession",
        "metadata": metadata, "spec": full, "status": status});
    Facts::of(&serde_json::from_value::<TranscriptionSession>(object).unwrap(), "key").unwrap().stage
}

fn accepted(status: &str, reason: &str) -> Value {
    json!({"conditions": [{"type": "Accepted", "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-25T10:00:00Z"}]})
}

#[test]
fn a_resource_s_own_status_says_how_far_it_is() {
    assert_eq!(stage(json!({}), Value::Null, false), Stage::Waiting);
    assert_eq!(stage(json!({}), accepted("False", "RoomAlreadyTranscribed"), false), Stage::Waiting);
    assert_eq!(stage(json!({}), accepted("False", "ConcurrencyLimited"), false), Stage::Waiting);
    assert_eq!(stage(json!({}), accepted("False", "SecretNotFound"), false), Stage::Refused);
    assert_eq!(stage(json!({}), accepted("True", "Accepted"), false), Stage::Accepted);
    assert_eq!(stage(json!({}), json!({"attempt": 1}), false), Stage::Begun);
    assert_eq!(
        stage(json!({}), json!({"attempt": 1, "completedAt": "2026-11-25T11:00:00Z"}), false),
        Stage::Over
    );
    // An egress may still be running until the end is confirmed.
    assert_eq!(stage(json!({}), json!({"attempt": 1}), true), Stage::Begun);
    assert_eq!(stage(json!({}), Value::Null, true), Stage::Over);
    assert_eq!(stage(json!({"desiredState": "Stopped"}), Value::Null, false), Stage::Over);
}

/// A small installation: all sessions look at the same moment, as many workers of one operator do.
struct Installation {
    random: fastrand::Rng,
    sessions: Vec<Facts>,
    /// Sessions whose Secret is missing.
    broken: Vec<String>,
    max: u32,
}

impl Installation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.i64(2..14);
        let rooms = random.u32(1..6);
        let max = random.u32(1..5);
        let sessions = (0..count).map(|index| {
            // Several are of the same second, as with ten concurrent requests.
            facts(
                &format!("s{index:02}"),
                &format!("r{}", random.u32(0..rooms)),
                random.i64(0..4),
                Stage::Waiting,
            )
        });
        let sessions: Vec<Facts> = sessions.collect();
        let broken = sessions.iter().filter(|_| random.u8(..) < 60).map(|facts| facts.id.clone()).collect();
        Self { random, sessions, broken, max }
    }

    /// Everybody decides upon the same picture, in the order of the plan: its own trouble, the room, the queue.
    fn round(&mut self) {
        let picture = self.sessions.clone();
        for facts in
            self.sessions.iter_mut().filter(|facts| matches!(facts.stage, Stage::Waiting | Stage::Refused))
        {
            let mut shuffled = picture.clone();
            self.random.shuffle(&mut shuffled);
            let answer = room_and_queue(&shuffled, facts, Some(self.max));
            assert_eq!(
                answer,
                room_and_queue(&picture, facts, Some(self.max)),
                "the order of the list decides nothing"
            );
            facts.stage = match answer {
                _ if self.broken.contains(&facts.id) => Stage::Refused,
                (None, None) => Stage::Accepted,
                _ => Stage::Waiting,
            };
        }
    }

    fn running(&self) -> Vec<&Facts> {
        self.sessions.iter().filter(|facts| matches!(facts.stage, Stage::Accepted | Stage::Begun)).collect()
    }

    fn happen(&mut self) {
        for facts in &mut self.sessions {
            facts.stage = match (facts.stage, self.random.u8(..)) {
                (Stage::Accepted, 0..100) => Stage::Begun,
                (Stage::Begun, 0..80) => Stage::Over,
                (stage, _) => stage,
            };
        }
        if self.random.u8(..) < 40 {
            self.broken.pop();
        }
    }
}

#[test]
fn whatever_happens_no_room_is_held_twice_the_account_suffices_and_everybody_runs_in_the_end() {
    for seed in 0..400 {
        let mut installation = Installation::new(seed);
        for round in 0.. {
            installation.round();
            let running = installation.running();
            assert!(running.len() <= installation.max as usize, "seed {seed}: {running:?}");
            let mut rooms: BTreeMap<&str, u32> = BTreeMap::new();
            running.iter().for_each(|facts| *rooms.entry(&facts.room).or_default() += 1);
            assert!(rooms.values().all(|count| *count == 1), "seed {seed}: {running:?}");
            if installation.sessions.iter().all(|facts| facts.stage == Stage::Over) {
                break;
            }
            assert!(round < 1000, "seed {seed}: somebody never runs: {:?}", installation.sessions);
            installation.happen();
        }
    }
}

#[test]
fn of_all_that_want_a_room_exactly_one_has_it() {
    let stages = [Stage::Begun, Stage::Accepted, Stage::Waiting, Stage::Refused, Stage::Over];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let count = random.i64(1..8);
        let sessions: Vec<Facts> = (0..count)
            .map(|index| {
                facts(&format!("s{index}"), "r", random.i64(0..3), stages[random.usize(..stages.len())])
            })
            .collect();
        let active = sessions.iter().filter(|facts| facts.stage != Stage::Over);
        let holders =
            active.clone().filter(|facts| room_and_queue(&sessions, facts, None).0.is_none()).count();
        assert_eq!(holders, usize::from(active.count() > 0), "{sessions:?}");
    }
}
