//! `kill -9` of `serve` at seeded moments, again and again, while sessions with egresses of a simulated LiveKit begin, run and
//! end. No egress stays behind, none is started twice for one attempt, every transcript has the offsets 1…n, each segment once, and one end.
//!
//! `ROOMSCRIBE_SEED=n` plays other moments, `ROOMSCRIBE_KILLS=n` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use fastrand::Rng;
use roomscribe_e2e::livekit::{ROOM, Studio, is_running, path, speaker, start};
use roomscribe_e2e::{Place, Program, Viewer};
use roomscribe_sims::livekit::{Faults, Truth};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// Machines that are killed side by side: each has its own installation on the one LiveKit.
const MACHINES: u64 = 2;
/// LiveKit's clock, and the meeting, run so much faster.
const SPEED: f64 = 10.0;
/// On a busy machine nothing may be heard for a while, and while a lost start is looked for.
const LONGEST_CALM: Duration = Duration::from_secs(1);
/// Everything has ended by then.
const LONGEST_END: Duration = Duration::from_secs(60);

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// One machine on which `serve` is killed.
struct Machine<'a> {
    studio: &'a Studio,
    place: Place,
    room: String,
    random: Rng,
    sessions: BTreeSet<String>,
    kills: u64,
}

impl Machine<'_> {
    async fn live_through(&mut self, kills: u64) {
        for _ in 0..kills {
            let stops = self.random.u8(0..6) == 0;
            let program = self.place.begin(self.command()).unwrap();
            // One in five dies while it starts, one after it has heard something; of the others whatever is under way when the
            // moment comes is cut off.
            let kind = self.random.u8(0..5);
            if kind > 0 {
                until_it_answers(&program).await;
            }
            if kind == 1 {
                let _ = timeout(LONGEST_CALM, self.hear(&program)).await;
            }
            let moment = Duration::from_millis(self.random.u64(0..400));
            let _ = timeout(moment, self.act(&program, stops)).await;
            program.kill().await.unwrap();
            self.kills += 1;
        }
    }

    /// Waits for another record of the transcript.
    async fn hear(&mut self, program: &Program) {
        let Ok(session) = start(program, &self.room).await else { return };
        self.sessions.insert(session["id"].as_str().unwrap().to_owned());
        let _ = program.until(&path(&session), |now| now["head"].as_u64() > session["head"].as_u64()).await;
    }

    /// A person starts a session where there is none, and now and then stops it.
    async fn act(&mut self, program: &Program, stops: bool) {
        until_it_answers(program).await;
        let Ok(session) = start(program, &self.room).await else { return };
        self.sessions.insert(session["id"].as_str().unwrap().to_owned());
        sleep(Duration::from_millis(self.random.u64(0..200))).await;
        if stops {
            let _ = program.stop_session(&session).await;
        }
        std::future::pending().await
    }

    /// Everything is stopped by a process that is left alone.
    async fn end(&self) -> Vec<(Value, Viewer)> {
        let program = self.place.run(self.command()).await.unwrap();
        let begun = Instant::now();
        let all = loop {
            let all = program.get("/v1/sessions").await.unwrap()["sessions"].as_array().unwrap().clone();
            let running: Vec<&Value> =
                all.iter().filter(|session| !session["completedAt"].is_string()).collect();
            if running.is_empty() {
                break all;
            }
            for session in &running {
                program.stop_session(session).await.unwrap();
            }
            assert!(begun.elapsed() < LONGEST_END, "{}: never ended: {running:?}", self.story());
            sleep(Duration::from_millis(100)).await;
        };
        let mut read = Vec::new();
        for session in all {
            let mut viewer = Viewer::new(&program.url, &session);
            viewer.watch_until(Viewer::has_ended).await.unwrap();
            read.push((session, viewer));
        }
        assert_eq!(program.terminate().await.unwrap(), 0);
        read
    }

    /// LiveKit's clock runs faster, so does what is waited for because of it.
    fn command(&self) -> Command {
        let mut command = self.studio.command(&self.place).unwrap();
        command.arg("--start-unknown-seconds").arg(format!("{:.0}", 90.0 / SPEED));
        command
    }

    fn story(&self) -> String {
        format!("{} after {} kills", self.room, self.kills)
    }
}

async fn until_it_answers(program: &Program) {
    while program.get("/v1/sessions").await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_serve_is_killed_no_egress_is_left_and_no_offset_is_missing() {
    let (seed, kills) = (setting("ROOMSCRIBE_SEED", 1), setting("ROOMSCRIBE_KILLS", 200));
    let studio = Studio::open(SPEED).await.unwrap();
    // A real egress wedges now and then when its connection breaks.
    studio.livekit.set_faults(|faults| *faults = Faults::observed());
    let begun = Instant::now();
    let lives = (0..MACHINES).map(|number| {
        let room = format!("{ROOM}-{number}");
        studio.livekit.join(&room, &speaker("ada"));
        let studio = &studio;
        async move {
            let random = Rng::with_seed(seed * MACHINES + number);
            let mut machine = Machine {
                studio,
                place: Place::new().unwrap(),
                room,
                random,
                sessions: BTreeSet::new(),
                kills: 0,
            };
            machine.live_through(kills / MACHINES).await;
            let read = machine.end().await;
            check(&machine, &read);
            read.iter().map(|(_, viewer)| viewer.finals().len()).sum::<usize>()
        }
    });
    let finals: usize = futures_util::future::join_all(lives).await.into_iter().sum();
    let left: Vec<_> = studio.livekit.egresses().into_iter().filter(is_running).collect();
    eprintln!(
        "seed {seed}: {kills} kills, {} egresses, {finals} finals, {} left, {:?}",
        studio.livekit.egresses().len(),
        left.len(),
        begun.elapsed()
    );
    assert!(left.is_empty(), "seed {seed}: egresses outlive their sessions: {left:?}");
    let asked = attempts(&studio.livekit.egresses());
    let twice: Vec<_> = asked.iter().filter(|(_, egresses)| **egresses > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: an attempt was started twice: {twice:?}");
    assert!(
        studio.livekit.egresses().len() > 5 && finals > 20,
        "seed {seed}: nothing happened that could go wrong"
    );
}

/// How many egresses each session and attempt had; both stand in the RTMP URL before its key.
fn attempts(egresses: &[Truth]) -> BTreeMap<String, usize> {
    let mut attempts = BTreeMap::new();
    for output in egresses.iter().flat_map(|egress| &egress.outputs) {
        let (target, _) = output.url.rsplit_once('/').unwrap();
        *attempts.entry(target.to_owned()).or_default() += 1;
    }
    attempts
}

/// Viewers check the offsets themselves.
fn check(machine: &Machine<'_>, read: &[(Value, Viewer)]) {
    let known: BTreeSet<String> =
        read.iter().map(|(session, _)| session["id"].as_str().unwrap().to_owned()).collect();
    let lost: Vec<_> = machine.sessions.difference(&known).collect();
    assert!(lost.is_empty(), "{}: sessions that were answered for are gone: {lost:?}", machine.story());
    for (session, viewer) in read {
        assert_eq!(session["state"], "Succeeded", "{}: {session}", machine.story());
        assert_eq!(viewer.of("end").len(), 1, "{}: {session}", machine.story());
        viewer.assert_each_segment_once();
        let starts: Vec<u64> =
            viewer.of("final").iter().filter_map(|event| event["startMs"].as_u64()).collect();
        assert!(
            starts.windows(2).all(|pair| pair[0] <= pair[1]),
            "{}: media time runs backwards: {starts:?}",
            machine.story()
        );
    }
}
