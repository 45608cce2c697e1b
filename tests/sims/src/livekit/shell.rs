//! The core with a clock, tasks and queues around it. All that touches the core takes one lock and never waits inside.

use super::auth::Keys;
use super::clock::Clock;
use super::core::{Core, Effect, FeedOrder, Report, Truth};
use super::faults::Faults;
use super::feed::{self, Frames, Studio};
use livekit_protocol as proto;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// Feeders that are remembered; beyond it the frame counts of ended ones are forgotten.
const FEEDERS: usize = 10_000;

/// See the module.
pub(super) struct Shell {
    pub(super) clock: Clock,
    core: Mutex<Core>,
    keys: Mutex<Keys>,
    feeders: Mutex<HashMap<String, Feed>>,
    tasks: Mutex<JoinSet<()>>,
    studio: Studio,
    webhooks: Option<mpsc::Sender<Box<proto::WebhookEvent>>>,
    changed: Notify,
    calls: Mutex<BTreeMap<String, u64>>,
}

struct Feed {
    orders: mpsc::Sender<FeedOrder>,
    frames: Frames,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shell {
    pub(super) fn new(
        core: Core,
        keys: Keys,
        studio: Studio,
        webhooks: Option<mpsc::Sender<Box<proto::WebhookEvent>>>,
    ) -> Self {
        Self {
            clock: studio.clock,
            core: Mutex::new(core),
            keys: Mutex::new(keys),
            feeders: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
            studio,
            webhooks,
            changed: Notify::new(),
            calls: Mutex::default(),
        }
    }

    /// Changes the core and does what follows.
    pub(super) fn act<A>(&self, act: impl FnOnce(&mut Core, Duration) -> A) -> A {
        let mut core = lock(&self.core);
        let now = self.clock.now();
        core.tick(now);
        let answer = act(&mut core, now);
        for effect in core.effects() {
            self.carry_out(effect);
        }
        drop(core);
        self.changed.notify_one();
        answer
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Webhook(event) => {
                if let Some(webhooks) = &self.webhooks
                    && webhooks.try_send(event).is_err()
                {
                    tracing::warn!("a webhook is lost: the receiver is too slow");
                }
            }
            Effect::Feed(id, order) => self.order(id, order),
        }
    }

    fn order(&self, id: String, order: FeedOrder) {
        let mut feeders = lock(&self.feeders);
        if feeders.len() >= FEEDERS {
            feeders.retain(|_, feed| !feed.orders.is_closed());
        }
        let feed = feeders.entry(id.clone()).or_insert_with(|| {
            let (orders, receiver) = mpsc::channel(feed::ORDERS);
            let frames = Frames::default();
            lock(&self.tasks).spawn(feed::run(id, self.studio.clone(), Arc::clone(&frames), receiver));
            Feed { orders, frames }
        });
        // A feeder that has ended takes no orders, and needs none.
        let _ = feed.orders.try_send(order);
    }

    /// Does what time brings, until the task is stopped.
    pub(super) async fn keep_time(&self) {
        loop {
            let wake = lock(&self.core).wake_at();
            match wake {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(self.clock.instant(at)) => self.act(|_, _| ()),
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
            while lock(&self.tasks).try_join_next().is_some() {}
        }
    }

    /// Passes on what feeders meet.
    pub(super) async fn listen(&self, mut reports: mpsc::Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            self.act(|core, now| core.report(&report, now));
        }
    }

    pub(super) fn keys(&self) -> Keys {
        lock(&self.keys).clone()
    }

    pub(super) fn set_keys(&self, keys: Keys) {
        *lock(&self.keys) = keys;
    }

    pub(super) fn faults(&self) -> Faults {
        lock(&self.core).faults.clone()
    }

    pub(super) fn take_proxy_error(&self) -> bool {
        let mut core = lock(&self.core);
        let left = core.faults.proxy_errors;
        core.faults.proxy_errors = left.saturating_sub(1);
        left > 0
    }

    /// One answered call.
    pub(super) fn count(&self, method: &str, status: u16) {
        *lock(&self.calls).entry(format!("{method} {status}")).or_default() += 1;
    }

    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    pub(super) fn truths(&self) -> Vec<Truth> {
        let mut truths = lock(&self.core).truths();
        let feeders = lock(&self.feeders);
        for truth in &mut truths {
            let Some(feed) = feeders.get(&truth.id) else { continue };
            let frames = lock(&feed.frames);
            for output in &mut truth.outputs {
                output.frames = frames.get(&output.number).map_or(0, |sent| sent.load(Ordering::Relaxed));
            }
        }
        truths
    }

    /// Ends every feeder without a word.
    pub(super) fn abort(&self) {
        lock(&self.tasks).abort_all();
    }
}
