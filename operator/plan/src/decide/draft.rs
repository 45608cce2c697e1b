//! A plan in the making.

use crate::Policy;
use crate::backoff::seconds;
use crate::memory::{Memory, StartOutcome};
use crate::observed::{Egress, Hearing, Listing, LiveKitError, Observed, Pod, Room, RoomView};
use crate::plan::{Action, Ask, Plan, Planned};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::TranscriptionSessionStatus;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

/// A listing younger than this counts as what is true now.
pub(super) const FRESH_SECONDS: i64 = 10;
/// Two container exits within this replace the pod.
const CRASH_LOOP_SECONDS: i64 = 600;
/// An egress that LiveKit denies may still appear for this long.
const LATE_SECONDS: i64 = 5;
const REMEMBERED_EXITS: usize = 3;
/// So long a worker, or a process that has just begun, may take to be asked for the first time.
const FIRST_ANSWER_SECONDS: i64 = 10;

pub(super) struct Draft<'a> {
    pub(super) policy: &'a Policy,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
    pub(super) status: TranscriptionSessionStatus,
    pub(super) memory: Memory,
    /// Why the egress is as it is, for `EgressActive`.
    pub(super) egress_word: (Verdict, Reason, String),
    /// Why nothing is made yet although the session is accepted.
    pub(super) held: Option<(Reason, String)>,
    actions: Vec<Planned>,
    wake_at: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(policy: &'a Policy, observed: &'a Observed, now: Timestamp) -> Self {
        let (status, memory) = (observed.session.status.clone(), observed.memory.clone());
        let egress_word = (Verdict::Unknown, Reason::Starting, String::new());
        Self {
            policy,
            observed,
            now,
            status,
            memory,
            egress_word,
            held: None,
            actions: Vec::new(),
            wake_at: None,
        }
    }

    pub(super) fn act(&mut self, action: Action, why: Reason) {
        self.actions.push(Planned { action, why });
    }

    pub(super) fn ask(&mut self, ask: Ask, why: Reason) {
        if !self.actions.iter().any(|planned| planned.action == Action::Ask(ask)) {
            self.act(Action::Ask(ask), why);
        }
    }

    pub(super) fn wake_in(&mut self, count: i64) {
        self.wake_at(self.now + seconds(count));
    }

    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake_exactly(at.max(self.now + seconds(1)));
    }

    /// As soon as then, not a second later at the earliest.
    fn wake_exactly(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn since(&self, at: Timestamp) -> i64 {
        (self.now - at).get_seconds()
    }

    /// The newest attempt; 0 before the first.
    pub(super) fn attempt(&self) -> u32 {
        self.status.newest_attempt()
    }

    pub(super) fn pods(&self) -> &'a [Pod] {
        self.observed.cluster.pods.get().map_or(&[], Vec::as_slice)
    }

    /// The pod that should be working: the newest that is not on its way out.
    pub(super) fn pod(&self) -> Option<&'a Pod> {
        self.pods().iter().filter(|pod| !pod.leaving).max_by_key(|pod| pod.attempt)
    }

    /// This process began moments ago and has not asked everybody.
    pub(super) fn is_young(&self) -> bool {
        self.memory.began_at.is_some_and(|began| self.since(began) < FIRST_ANSWER_SECONDS)
    }

    /// Nobody knows yet what the worker says: it, or this process, has just begun. Later its silence says something.
    pub(super) fn worker_is_unasked(&self) -> bool {
        self.observed.worker.is_none() && (!self.worker_had_time() || self.is_young())
    }

    /// Its container has run for long enough to listen: that takes a second or two.
    pub(super) fn worker_had_time(&self) -> bool {
        let started = self.pod().and_then(|pod| pod.container_started_at);
        started.is_some_and(|started| self.since(started) >= FIRST_ANSWER_SECONDS)
    }

    /// Somebody publishes, bytes are coming.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.hearing(), Some(Hearing::Publishing(_)))
    }

    pub(super) fn hearing(&self) -> Option<Hearing> {
        self.observed.worker.as_ref().map(|report| report.hearing)
    }

    /// A listing that was asked for within the last seconds, and after the last start and stop.
    pub(super) fn fresh_listing(&self) -> Option<&'a Listing> {
        let listing = self.observed.livekit.egresses.get()?;
        let changed = self.memory.start.as_ref().map(|start| start.at);
        let young = self.since(listing.at) <= FRESH_SECONDS;
        let is_newest = changed.is_none_or(|changed| listing.at > changed) && !self.heard_since(listing);
        (young && is_newest).then_some(listing)
    }

    /// The worker has heard an egress that this listing lacks: a late start, of which the listing is too old to know. A
    /// worker whose clock is ahead is believed once its time has come.
    fn heard_since(&self, listing: &Listing) -> bool {
        let attempt = self.attempt();
        let Some(report) = self.observed.worker.as_ref() else { return false };
        self.memory.heard >= attempt
            && listing.at <= report.since
            && report.since <= self.now
            && listing.egresses.iter().all(|egress| egress.attempt < attempt)
    }

    /// Live egresses of whatever listing there is, highest attempt first.
    pub(super) fn live(&self) -> Vec<&'a Egress> {
        let mut live: Vec<_> =
            self.observed.livekit.egresses.get().into_iter().flat_map(Listing::live).collect();
        live.sort_by(|a, b| b.attempt.cmp(&a.attempt).then_with(|| a.id.cmp(&b.id)));
        live
    }

    /// The room as it was within the last seconds; the inner `None` says that there is none.
    pub(super) fn fresh_room(&self) -> Option<Option<Room>> {
        let view = self.observed.livekit.room.get()?;
        (self.since(view.at) <= FRESH_SECONDS).then_some(view.room)
    }

    /// LiveKit has not answered a start, and may still.
    pub(super) fn call_is_open(&self) -> bool {
        let open = self.memory.start.as_ref().filter(|start| start.outcome.is_none());
        open.is_some_and(|start| self.since(start.at) < self.policy.start_unknown_seconds)
    }

    /// A start of the newest attempt may still become an egress that nobody has seen.
    pub(super) fn start_is_unknown(&self) -> bool {
        let attempt = self.attempt();
        let Some(intent_at) = self.status.intent_at.as_ref().map(|time| time.0) else { return false };
        if self.memory.intent.as_ref().is_some_and(|intent| intent.attempt == attempt) {
            // Written by this process and not called yet.
            return false;
        }
        let seen = self
            .observed
            .livekit
            .egresses
            .get()
            .is_some_and(|listing| listing.egresses.iter().any(|egress| egress.attempt >= attempt));
        // One that was heard has begun: a LiveKit that does not list it any more came back without its memory.
        if seen || self.memory.heard >= attempt {
            return false;
        }
        let called = self.memory.start.as_ref().filter(|start| start.attempt == attempt);
        let outcome = called.and_then(|start| start.outcome.as_ref());
        if outcome.is_some_and(StartOutcome::is_definite_no) {
            return false;
        }
        // "No capacity" is the SFU's last word after all its tries: a late one would be seen, and stopped as a stray.
        let answered = called.and_then(|start| start.answered_at);
        let horizon = match (outcome, answered) {
            (Some(StartOutcome::NoCapacity), Some(at)) => at + seconds(LATE_SECONDS),
            _ => intent_at + seconds(self.policy.start_unknown_seconds),
        };
        self.fresh_listing().is_none_or(|listing| listing.at <= horizon)
    }

    pub(super) fn set(&mut self, kind: ConditionType, verdict: Verdict, reason: Reason, message: &str) {
        let (generation, now) = (self.observed.session.generation, Time(self.now));
        condition::set(&mut self.status.conditions, kind, verdict, reason, message, generation, &now);
    }

    /// What follows from an observation whatever is decided.
    pub(super) fn remember(&mut self) {
        self.memory.began_at.get_or_insert(self.now);
        self.remember_exits();
        self.remember_livekit();
        if let Some(Hearing::Publishing(attempt) | Hearing::Silent(attempt)) = self.hearing() {
            self.memory.heard = self.memory.heard.max(attempt);
            self.memory.unreachable = false;
        }
        if self.is_heard() {
            (self.memory.failures, self.memory.retry_at, self.memory.unheard_since) = (0, None, None);
            (self.memory.refusals, self.memory.refused) = (0, None);
        }
        if let Some(listing) = self.observed.livekit.egresses.get() {
            self.memory.stops.retain(|id, _| listing.live().any(|egress| egress.id == *id));
        }
    }

    /// What holds since then has held for so long; if not, the plan is made again when it has.
    pub(super) fn is_settled(&mut self, since: Timestamp, wait: i64) -> bool {
        let settled = self.since(since) >= wait;
        if !settled {
            // To the moment: nobody speaks into the transcript meanwhile.
            self.wake_exactly(since + seconds(wait));
        }
        settled
    }

    fn remember_livekit(&mut self) {
        if matches!(
            self.observed.livekit.error,
            Some(LiveKitError::Unreachable | LiveKitError::Failing { .. })
        ) {
            self.memory.trouble_at = Some(self.now);
        }
        match self.observed.livekit.room.get() {
            Some(RoomView { at, room: None }) => {
                self.memory.room_missing_since.get_or_insert(*at);
            }
            Some(_) => self.memory.room_missing_since = None,
            None => {}
        }
    }

    /// Ends of the newest pod's container. Two that came between two plans leave one `last_exit`; the count tells of both, and
    /// the earlier one was no earlier than the plan before.
    fn remember_exits(&mut self) {
        let Some(pod) = self.pod() else { return };
        let ends = pod.ends();
        let known = if self.memory.exits_of == pod.uid { self.memory.ends } else { 0 };
        let first_look = self.memory.exits_of != pod.uid;
        if first_look {
            self.memory.exits.clear();
            self.memory.exits_of.clone_from(&pod.uid);
        }
        self.memory.ends = ends;
        let Some(exit) = &pod.last_exit else { return };
        // A process that sees it for the first time knows when the last end was, not the ones before: a third is too many for
        // any ten minutes, and a second for a pod that is no older.
        let is_young = pod.created_at.is_some_and(|created| self.since(created) < CRASH_LOOP_SECONDS);
        let new = match first_look {
            true if ends >= 3 || (ends == 2 && is_young) => 2,
            true => 1,
            false => ends.saturating_sub(known).max(u32::from(!self.memory.exits.contains(&exit.at))),
        };
        for _ in 0..new.min(2) {
            self.memory.exits.push(exit.at);
        }
        let surplus = self.memory.exits.len().saturating_sub(REMEMBERED_EXITS);
        self.memory.exits.drain(..surplus);
    }

    /// The container ended twice within ten minutes: kubelet's back-off is never waited out.
    pub(super) fn crash_loops(&self) -> bool {
        match self.memory.exits.as_slice() {
            [.., earlier, later] => {
                (*later - *earlier).get_seconds() <= CRASH_LOOP_SECONDS
                    && self.since(*later) <= CRASH_LOOP_SECONDS
            }
            _ => false,
        }
    }

    pub(super) fn conclude(self) -> Plan {
        Plan { actions: self.actions, status: self.status, memory: self.memory, wake_at: self.wake_at }
    }
}
