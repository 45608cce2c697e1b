//! Our client and a simulated LiveKit whose clock runs fifty times as fast.

#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod both;
pub(crate) mod hook;
pub(crate) mod packages;
pub(crate) mod real;

use both::LiveKit;
use roomscribe_livekit::{Client, Credentials};
use roomscribe_sims::livekit::{Config, Keys, Microphone, Person, Simulator};
use roomscribe_sims::rtmp_sink::{Behaviour, RtmpSink};
use std::time::Duration;

pub(crate) const KEY: &str = "APIroomscribe";
pub(crate) const SECRET: &str = "a-secret-of-thirty-two-characters";
pub(crate) const STREAM_KEY: &str = "q83vEjRWeJCrze8SNFZ4kA";
pub(crate) const SPEED: f64 = 50.0;

pub(crate) struct World {
    pub(crate) livekit: Simulator,
    pub(crate) sink: RtmpSink,
    pub(crate) client: Client,
}

impl World {
    /// Ada is in the room `standup`, and speaks.
    pub(crate) async fn new(webhook_url: Option<String>) -> Self {
        let livekit =
            Simulator::start(Config { webhook_url, speed: SPEED, ..Config::repeating(keys(KEY, SECRET)) });
        let livekit = livekit.await.unwrap();
        let ada = Person::speaking("ada");
        livekit.join("standup", &ada);
        let client = client(&livekit.url(), KEY, SECRET);
        Self { livekit, sink: RtmpSink::start(Behaviour::Take).await.unwrap(), client }
    }

    /// The RTMP URL of contract §2.
    pub(crate) fn url(&self, attempt: u32) -> String {
        self.sink.url(&format!("live/0a1b2c3d/7c9e6679-7425-40de-944b-e07fc1f90ae7.{attempt}"), STREAM_KEY)
    }

    /// Starts attempt 1, and waits for its audio.
    pub(crate) async fn feeding(&self) -> String {
        let id = self.client.start_room_composite("standup", &self.url(1)).await.unwrap().egress_id;
        self.until("audio", |world| world.sink.publishes().iter().any(|publish| !publish.frames.is_empty()))
            .await;
        id
    }

    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let looking = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), looking).await.is_ok(), "never: {what}");
    }
}

impl LiveKit for World {
    fn url(&self) -> String {
        self.livekit.url()
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    async fn join(&mut self, room: &str, person: &Person) {
        self.livekit.join(room, person);
    }

    async fn microphone(&mut self, room: &str, identity: &str, to: Microphone) {
        assert!(self.livekit.set_microphone(room, identity, to), "{identity} is not there");
    }

    async fn leave(&mut self, room: &str, identity: &str) {
        assert!(self.livekit.leave(room, identity), "{identity} is not there");
    }
}

pub(crate) fn keys(key: &str, secret: &str) -> Keys {
    Keys { api_key: key.into(), api_secret: secret.into() }
}

pub(crate) fn client(url: &str, key: &str, secret: &str) -> Client {
    let credentials = Credentials { url: url.into(), api_key: key.into(), api_secret: secret.into() };
    // 100 s and 15 s of the simulated clock; the second is longer, because a busy machine is no dead LiveKit.
    let (start, other) = (Duration::from_secs(2), Duration::from_secs(2));
    Client::new(credentials).unwrap().with_deadlines(start, other)
}
