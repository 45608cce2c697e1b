//! A LiveKit without sockets and clocks: rooms, people, egresses and faults. Calls, reports and `now` go in, answers and
//! effects come out. `now` is time since 1970 on the simulated clock.

mod api;
mod calls;
mod egress;
mod life;
mod media;
mod rooms;
#[cfg(test)]
mod tests;
pub(crate) mod url;

pub use calls::{Failure, Reply, ReplyKind};
pub use egress::Truth;
pub use media::{FeedOrder, Report, ReportKind};
pub use rooms::{Microphone, Person};

use super::faults::Faults;
use egress::Egress;
use livekit_protocol as proto;
use rooms::Room;
use std::collections::BTreeMap;
use std::time::Duration;

/// What stays the same while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Seed of ids and chances.
    pub seed: u64,
    /// Length of the recording that every room hears.
    pub audio_length: Duration,
    /// What people do when the recording is over.
    pub at_end: AtEnd,
}

/// What happens when the recording is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum AtEnd {
    /// It begins again.
    #[default]
    Repeat,
    /// Silence; people stay.
    Silence,
    /// Silence; people leave.
    Leave,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An order for the feeder of an egress.
    Feed(String, FeedOrder),
    /// A webhook to be sent.
    Webhook(Box<proto::WebhookEvent>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Timer {
    /// The pipeline of an egress is built.
    Pipeline(String),
    /// An ending egress has drained.
    Drained(String),
    /// An egress reaches the session limit.
    Limit(String),
    /// LiveKit notices that a healthy output beside a wedged one gets nothing.
    WedgeNoticed(String),
    /// A room may be empty for long enough.
    RoomEmpty(String, u64),
    /// A room's recording is over.
    AudioEnd(String),
}

/// The simulated project.
#[derive(Debug)]
pub struct Core {
    /// Switches; may be changed at any time.
    pub faults: Faults,
    settings: Settings,
    rooms: BTreeMap<String, Room>,
    egresses: BTreeMap<u64, Egress>,
    timers: BTreeMap<(Duration, u64), Timer>,
    effects: Vec<Effect>,
    late_webhook: Option<Box<proto::WebhookEvent>>,
    random: fastrand::Rng,
    count: u64,
}

impl Core {
    /// A project without rooms.
    pub fn new(settings: Settings) -> Self {
        Self {
            faults: Faults::default(),
            random: fastrand::Rng::with_seed(settings.seed),
            settings,
            rooms: BTreeMap::new(),
            egresses: BTreeMap::new(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            late_webhook: None,
            count: 0,
        }
    }

    /// What happened since the last time, in order.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When [`Self::tick`] is due.
    pub fn wake_at(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what time brings.
    pub fn tick(&mut self, now: Duration) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Timer::Pipeline(id) => self.pipeline_built(&id, now),
                Timer::Drained(id) => self.drained(&id, now),
                Timer::Limit(id) => self.limit_reached(&id, now),
                Timer::WedgeNoticed(id) => self.wedge_noticed(&id, now),
                Timer::RoomEmpty(name, change) => self.room_stayed_empty(&name, change, now),
                Timer::AudioEnd(name) => self.audio_ended(&name, now),
            }
        }
    }

    fn at(&mut self, when: Duration, timer: Timer) {
        let number = self.next();
        self.timers.insert((when, number), timer);
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.random.f64() < of
    }

    fn id(&mut self, prefix: &str) -> String {
        let tail: String = std::iter::repeat_with(|| self.random.alphanumeric()).take(12).collect();
        format!("{prefix}_{tail}")
    }

    fn feed(&mut self, id: &str, order: FeedOrder) {
        self.effects.push(Effect::Feed(id.to_owned(), order));
    }

    fn webhook(&mut self, mut event: proto::WebhookEvent, now: Duration) {
        event.id = self.id("EV");
        event.created_at = now.as_secs() as i64;
        if self.chance(self.faults.lost_webhooks) {
            return;
        }
        let event = Box::new(event);
        if self.late_webhook.is_none() && self.chance(self.faults.late_webhooks) {
            self.late_webhook = Some(event);
            return;
        }
        if self.chance(self.faults.duplicate_webhooks) {
            self.effects.push(Effect::Webhook(event.clone()));
        }
        self.effects.push(Effect::Webhook(event));
        if let Some(late) = self.late_webhook.take() {
            self.effects.push(Effect::Webhook(late));
        }
    }
}

/// Seconds of a fault or a LiveKit default.
fn seconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count).unwrap_or(Duration::ZERO)
}

fn nanos(now: Duration) -> i64 {
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
