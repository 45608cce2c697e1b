//! A played pod as everybody sees it: its actor, the doors that lead to it, and the control API.

use super::keys;
use super::life::Phase;
use super::report::{Report, Worker};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, watch};

/// Orders that wait for a pod's actor.
pub(super) const ORDERS: usize = 16;

/// What a pod's actor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// It was deleted, with so many seconds of grace.
    Leave { grace: u32 },
    /// The container ends with this code.
    Exit(i32),
    /// The kubelet throws it out.
    Evict,
    /// Its node is gone.
    Lose,
    /// The worker stops answering.
    Hang,
    /// It answers again.
    Resume,
}

/// A pod, for people and tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `roomscribe.io/session-uid`.
    pub session: String,
    /// The kubelet's view in one word.
    pub phase: String,
    /// The worker can be asked and fed.
    pub ready: bool,
    /// It was deleted and still drains.
    pub leaving: bool,
    /// Restarts of the container.
    pub restarts: u32,
    /// Where it serves `/status`.
    pub ip: String,
    /// Publishes that were taken.
    pub publishes: u64,
    /// Publishes that were refused: another session, a wrong key, an older attempt, a worker that drains.
    pub refused: u64,
    /// Audio messages.
    pub frames: u64,
    /// What `/status` says.
    pub report: Report,
}

struct Inner {
    worker: Worker,
    phase: Phase,
    is_leaving: bool,
    is_gone: bool,
    /// The owner has ended the session.
    is_ended: bool,
    restarts: u32,
    secret: Option<Vec<u8>>,
    publishes: u64,
    refused: u64,
    frames: u64,
}

pub(super) struct Handle {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) ip: String,
    session: String,
    attempt: u32,
    labels: BTreeMap<String, String>,
    inner: Mutex<Inner>,
    /// The actor must look again.
    pub(super) poke: Notify,
    /// The report's version.
    pub(super) versions: watch::Sender<u64>,
    /// Number of the worker's process: connections of an earlier one are broken.
    pub(super) process: watch::Sender<u32>,
    pub(super) hung: watch::Sender<bool>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Handle {
    pub(super) fn new(
        (namespace, name, uid): (String, String, String),
        labels: BTreeMap<String, String>,
        ip: String,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let attempt = label(super::ATTEMPT_LABEL).parse().unwrap_or(1);
        let inner = Inner {
            worker: Worker::new(attempt, 0),
            phase: Phase::New,
            is_leaving: false,
            is_gone: false,
            is_ended: false,
            restarts: 0,
            secret: None,
            publishes: 0,
            refused: 0,
            frames: 0,
        };
        Self {
            namespace,
            name,
            uid,
            ip,
            session: label(super::SESSION_LABEL),
            attempt,
            labels,
            inner: Mutex::new(inner),
            poke: Notify::new(),
            versions: watch::Sender::new(0),
            process: watch::Sender::new(0),
            hung: watch::Sender::new(false),
            orders,
        }
    }

    /// The pod is not there any more, whatever its kubelet thinks.
    pub(super) fn close(&self) {
        self.act(|inner| (inner.is_leaving, inner.is_gone) = (true, true));
        self.end_process();
        self.poke.notify_one();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    pub(super) fn is_scheduled(&self) -> bool {
        !matches!(self.lock().phase, Phase::New | Phase::Unschedulable)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the worker; whoever polls hears of it, and the actor minds the next silence.
    fn act<A>(&self, act: impl FnOnce(&mut Inner) -> A) -> A {
        let (answer, version) = {
            let mut inner = self.lock();
            let answer = act(&mut inner);
            (answer, inner.worker.version())
        };
        let is_new = self.versions.send_if_modified(|known| std::mem::replace(known, version) != version);
        if is_new {
            self.poke.notify_one();
        }
        answer
    }

    /// A Service with this selector leads here.
    pub(super) fn is_served_by(&self, namespace: &str, selector: &BTreeMap<String, String>) -> bool {
        let inner = self.lock();
        let is_endpoint = inner.phase == Phase::Ready && !inner.is_leaving;
        is_endpoint
            && self.namespace == namespace
            && !selector.is_empty()
            && selector.iter().all(|(name, value)| self.labels.get(name) == Some(value))
    }

    pub(super) fn set_secret(&self, secret: Option<Vec<u8>>) {
        self.lock().secret = secret;
    }

    /// A new process of the worker: nothing is left of the one before.
    pub(super) fn begin_process(&self, restarts: u32) {
        let attempt = self.attempt;
        self.act(|inner| inner.worker = Worker::new(attempt, restarts));
        self.process.send_modify(|process| *process += 1);
    }

    /// The process is gone, and its connections with it.
    pub(super) fn end_process(&self) {
        self.process.send_modify(|process| *process += 1);
    }

    pub(super) fn show(&self, phase: Phase, restarts: u32) {
        let mut inner = self.lock();
        (inner.phase, inner.restarts) = (phase, restarts);
    }

    pub(super) fn drain(&self) {
        self.act(|inner| {
            inner.is_leaving = true;
            inner.worker.drain();
        });
    }

    pub(super) fn say(&self, state: String, reason: String) {
        self.act(|inner| inner.worker.say(state, reason));
    }

    pub(super) fn tick(&self, now: Timestamp) -> Option<Timestamp> {
        self.act(|inner| {
            inner.worker.tick(now);
            inner.worker.due()
        })
    }

    pub(super) fn report(&self) -> Report {
        self.lock().worker.report()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().is_leaving
    }

    /// Ends the session when the token is its owner's; `None` when it is not. With the session when nobody has before.
    pub(super) fn end(&self, token: &str) -> Option<Option<String>> {
        let session = &self.session;
        let is_true = |secret: &Vec<u8>| keys::stop_token(secret, session) == token;
        let mut inner = self.lock();
        // Without a session file there is nothing to compare with.
        if !inner.secret.as_ref().is_none_or(is_true) {
            return None;
        }
        Some((!std::mem::replace(&mut inner.is_ended, true)).then(|| session.clone()))
    }

    /// A publish comes; `false` refuses it.
    pub(super) fn publish(&self, connection: u64, app: &str, key: &str) -> bool {
        let target = keys::target(app).filter(|(id, _)| *id == self.session);
        self.act(|inner| {
            let is_true = target.filter(|(id, attempt)| {
                // Without a session file there is nothing to compare with.
                inner.secret.as_ref().is_none_or(|secret| keys::stream_key(secret, id, *attempt) == key)
            });
            let taken = is_true
                .is_some_and(|(_, attempt)| inner.worker.publish(attempt, connection, Timestamp::now()));
            inner.publishes += u64::from(taken);
            inner.refused += u64::from(!taken);
            taken
        })
    }

    /// Audio comes; `false` ends the connection.
    pub(super) fn hear(&self, connection: u64, timestamp: u32) -> bool {
        self.act(|inner| {
            inner.frames += 1;
            inner.worker.hear(connection, timestamp, Timestamp::now())
        })
    }

    /// A connection is over.
    pub(super) fn leave(&self, connection: u64) {
        self.act(|inner| inner.worker.leave(connection));
    }

    pub(super) fn view(&self) -> PodView {
        let inner = self.lock();
        PodView {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            session: self.session.clone(),
            phase: format!("{:?}", inner.phase),
            ready: inner.phase == Phase::Ready && !inner.is_leaving,
            leaving: inner.is_leaving,
            restarts: inner.restarts,
            ip: self.ip.clone(),
            publishes: inner.publishes,
            refused: inner.refused,
            frames: inner.frames,
            report: inner.worker.report(),
        }
    }
}
