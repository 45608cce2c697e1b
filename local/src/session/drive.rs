//! The loop of one session: observe, plan, write, carry out, wait. Each round is one pass without a wait in it.

use super::advice;
use super::observe::{self, Facts, Task};
use super::running::Mode;
use super::words::{self, Story};
use super::worker::{Ended, Stage, Trouble, Worker};
use crate::hands::Hands;
use crate::sessions::Entries;
use crate::stored::Stored;
use jiff::Timestamp;
use roomscribe_calls::{Desk, Order};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{
    Action, Ask, ContainerExit, EventKind, Hearing, Memory, Observed, Plan, Planned, plan_under,
};
use roomscribe_transcript::SessionId;
use roomscribe_worker::pipeline::Report;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Changes that come together are planned together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// A plan that changes what it rests on is followed by another at once, but not for ever.
const MAX_AT_ONCE: u32 = 20;
const BREATHER: Duration = Duration::from_secs(1);
/// A status that could not be written is tried again after this.
const UNWRITTEN: Duration = Duration::from_secs(1);
/// A worker that breaks more often than this has a fault that restarting does not cure.
const MAX_RESTARTS: u32 = 3;
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// The loop's state.
pub(super) struct Driver {
    pub(super) id: SessionId,
    pub(super) hands: Hands,
    pub(super) entries: Arc<Mutex<Entries>>,
    pub(super) worker: Worker,
    pub(super) report: watch::Sender<Report>,
    pub(super) reported: watch::Receiver<Report>,
    pub(super) order: Option<Order>,
    pub(super) desk: Desk,
    pub(super) nudge: Arc<Notify>,
    pub(super) mode: watch::Receiver<Mode>,
    pub(super) task: Task,
    /// How often the worker broke in this process.
    pub(super) broken: u32,
    pub(super) restart_at: Option<Instant>,
    /// Whom the worker hears, and since when.
    pub(super) hearing: (Hearing, Timestamp),
    pub(super) at_once: u32,
    /// The document could not be written, and that was said.
    pub(super) unwritten: bool,
}

/// What the worker shows at the beginning of a round: one look, so that no later change is missed.
struct Look {
    stage: Stage,
    report: Report,
}

/// How a round went on.
enum Next {
    Over,
    Wait(Duration),
}

impl Driver {
    /// Runs to the session's end, or to the process's.
    pub(super) async fn run(mut self) {
        loop {
            if *self.mode.borrow_and_update() == Mode::Suspend {
                self.worker.leave();
                self.worker.ended().await;
                break;
            }
            match self.round() {
                Next::Over => {
                    self.last_word().await;
                    break;
                }
                Next::Wait(time) => self.wait(time).await,
            }
        }
        let entries = self.entries.clone();
        if let Some(entry) = lock(&entries).all.get_mut(&self.id) {
            entry.running = None;
        }
    }

    async fn wait(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.nudge.notified() => {}
            Ok(()) = self.worker.stage.changed() => {}
            Ok(()) = self.reported.changed() => {}
            Ok(()) = self.mode.changed() => return,
        }
        tokio::time::sleep(DEBOUNCE).await;
    }

    fn round(&mut self) -> Next {
        let entries = self.entries.clone();
        let mut entries = lock(&entries);
        let Some(stored) = entries.all.get(&self.id).map(|entry| entry.stored.clone()) else {
            return Next::Over;
        };
        let look = Look {
            stage: self.worker.stage.borrow_and_update().clone(),
            report: self.reported.borrow_and_update().clone(),
        };
        let (held_by, now) = (entries.holder(&stored), Timestamp::now());
        let stored = self.look_after_worker(stored, &look.stage);
        let observed = self.observe(&stored, &look, held_by, now);
        let plan = plan_under(self.hands.policy(), &observed, now);
        let next = self.next(stored, &look, &plan);
        let Some(entry) = entries.all.get_mut(&self.id) else { return Next::Over };
        let changed = entry.stored.differs(&next);
        if changed && let Err(error) = next.save(self.hands.data_dir()) {
            if !std::mem::replace(&mut self.unwritten, true) {
                tracing::error!(session = %self.id, %error, "cannot write the session document; free space in DATA_DIR");
            }
            entry.stored.tell(&next);
            drop(entries);
            self.carry_what_needs_no_status(&plan, &observed);
            return Next::Wait(UNWRITTEN);
        }
        self.unwritten = false;
        let over = !next.is_running() && !next.finalizer;
        let erasing = next.erase_requested;
        entry.stored = next;
        drop(entries);
        self.desk.adopt(plan.memory.clone());
        self.carry_out(&plan, erasing);
        if over { Next::Over } else { Next::Wait(self.pause(changed, &plan, now)) }
    }

    fn observe(&mut self, stored: &Stored, look: &Look, held_by: Option<String>, now: Timestamp) -> Observed {
        let (livekit, memory) = self.desk.observed();
        let facts = Facts {
            stored,
            place: self.hands.place(),
            stage: &look.stage,
            report: &look.report,
            since: self.hearing.1,
            task: self.task.clone(),
            held_by,
            livekit,
            memory,
        };
        let mut observed = observe::observe(facts);
        if let Some(worker) = &mut observed.worker {
            if worker.hearing != self.hearing.0 {
                self.hearing = (worker.hearing, now);
            }
            worker.since = self.hearing.1;
        }
        observed
    }

    /// The document as it should read after this plan.
    fn next(&self, stored: Stored, look: &Look, plan: &Plan) -> Stored {
        let mut next = stored;
        next.count(&look.report);
        let story = Story {
            stored: &next,
            status: &plan.status,
            stage: &look.stage,
            report: &look.report,
            place: self.hands.place(),
            livekit: self.desk.observed().0.error.filter(|_| self.order.is_some()),
            abandoned: plan.memory.abandoned,
        };
        let words = words::words(&story);
        if words.state == "Stopping" && next.state != "Stopping" {
            next.cause = format!("The last word before was {}: {}", next.reason, next.message);
        }
        (next.state, next.reason, next.message) = (words.state.to_owned(), words.reason, words.message);
        next.take(plan);
        next
    }

    /// Until the next round. What this round changed may be what the next one waits for.
    fn pause(&mut self, changed: bool, plan: &Plan, now: Timestamp) -> Duration {
        self.at_once = if changed { self.at_once + 1 } else { 0 };
        if changed {
            return if self.at_once > MAX_AT_ONCE { BREATHER } else { Duration::ZERO };
        }
        let planned = plan.wake_at.map(|at| at.duration_since(now));
        let planned = planned.map(|time| time.try_into().unwrap_or(Duration::ZERO));
        let restart = self.restart_at.map(|at| at.saturating_duration_since(Instant::now()));
        [planned, restart].into_iter().flatten().min().unwrap_or(Duration::from_secs(60))
    }

    /// A worker that ended by itself begins again, or the session ends with it.
    fn look_after_worker(&mut self, mut stored: Stored, stage: &Stage) -> Stored {
        let Stage::Ended(ended) = stage else { return stored };
        if self.task.replaced && matches!(ended, Ended::Suspended | Ended::Broken(_)) {
            return stored;
        }
        match ended {
            Ended::Done | Ended::Suspended => {
                stored.stop_requested_at.get_or_insert_with(Timestamp::now);
            }
            Ended::Hopeless(trouble) => stored.fail(trouble.reason, &trouble.message),
            Ended::Broken(trouble) if self.task.leaving || self.broken >= MAX_RESTARTS => {
                stored.fail(trouble.reason, &trouble.message);
            }
            Ended::Broken(trouble) => self.restart(&stored, trouble),
        }
        stored
    }

    fn restart(&mut self, stored: &Stored, trouble: &Trouble) {
        let now = Instant::now();
        match self.restart_at {
            None => {
                self.restart_at = Some(now + RESTART_WAIT * 2u32.pow(self.broken));
                let reason = trouble.reason.to_owned();
                self.task.exit =
                    Some(ContainerExit { code: 75, reason, words: String::new(), at: Timestamp::now() });
            }
            Some(at) if at <= now => {
                (self.restart_at, self.broken) = (None, self.broken + 1);
                (self.task.restarts, self.task.started_at) = (self.task.restarts + 1, Timestamp::now());
                self.worker = Worker::begin(&self.hands, stored, self.report.clone());
            }
            Some(_) => {}
        }
    }

    /// Another worker follows the one that was told to leave.
    fn follow(&mut self) {
        let entries = self.entries.clone();
        let stored = lock(&entries).all.get(&self.id).map(|entry| entry.stored.clone());
        let ended = matches!(*self.worker.stage.borrow(), Stage::Ended(_));
        let Some(stored) = stored.filter(|_| ended) else { return };
        (self.task.leaving, self.task.replaced, self.task.exit) = (false, false, None);
        (self.task.restarts, self.task.started_at) = (self.task.restarts + 1, Timestamp::now());
        self.worker = Worker::begin(&self.hands, &stored, self.report.clone());
    }

    fn carry_out(&mut self, plan: &Plan, erasing: bool) {
        for planned in &plan.actions {
            self.carry(planned, erasing);
        }
        let ending = plan.status.summary == Some(roomscribe_crds::Summary::Stopping);
        if ending && !plan.memory.stops.is_empty() {
            // A stop has no other answer than the listing.
            self.ask(Ask::Egresses, Reason::Stopping);
        }
    }

    fn carry(&mut self, planned: &Planned, erasing: bool) {
        let (action, why) = (&planned.action, planned.why);
        match action {
            Action::Ask(ask) => self.ask(*ask, why),
            Action::StopWorker { reason } => {
                self.task.leaving = true;
                self.worker.stop(if erasing { "Erased" } else { reason.as_str() });
            }
            Action::Event { kind, note } => self.tell(*kind, why, note),
            Action::StartEgress { .. } | Action::MoveEgress { .. } | Action::StopEgress { .. } => {
                let (reason, asked) = (advice::name(why), asked(action));
                tracing::info!(session = %self.id, reason, "{asked}");
                if let Some(order) = &self.order {
                    self.desk.carry(order, action, why);
                }
            }
            // What the speech service refuses is not kept running; a later task asks it again.
            Action::DeletePod { .. } if words::is_refusal(why) => {
                (self.task.leaving, self.task.replaced) = (true, true);
                self.worker.suspend();
            }
            Action::EnsureWorker { .. } if self.task.replaced => self.follow(),
            // Else the worker runs as long as the session does; the rest is bookkeeping in the document, and a finished document stays as
            // long as its transcript.
            Action::EnsureWorker { .. }
            | Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::WriteIntent { .. }
            | Action::DeletePod { .. }
            | Action::DeleteService
            | Action::DeleteSession => {}
        }
    }

    /// Nothing is begun whose intent is not on disk; what ends things goes on.
    fn carry_what_needs_no_status(&mut self, plan: &Plan, observed: &Observed) {
        let intent = observed.memory.intent.clone();
        self.desk.adopt(Memory { intent, ..plan.memory.clone() });
        let ends = |action: &Action| matches!(action, Action::StopEgress { .. } | Action::StopWorker { .. });
        for planned in plan.actions.iter().filter(|planned| ends(&planned.action)) {
            self.carry(planned, false);
        }
    }

    fn tell(&self, kind: EventKind, why: Reason, note: &str) {
        let (reason, said) = (advice::name(why), advice::news(why, note, self.hands.place()));
        // On the way up everything is not ready once: no reason for anybody to look.
        if why.is_of_the_project() {
            tracing::debug!(session = %self.id, reason, "{said}");
        } else if kind == EventKind::Normal || is_on_its_way(why) {
            tracing::info!(session = %self.id, reason, "{said}");
        } else {
            tracing::warn!(session = %self.id, reason, "{said}");
        }
    }

    fn ask(&self, ask: Ask, why: Reason) {
        if let Some(order) = &self.order {
            self.desk.carry(order, &Action::Ask(ask), why);
        }
    }
}

fn asked(action: &Action) -> String {
    match action {
        Action::StartEgress { attempt } => format!("LiveKit is asked for an egress, attempt {attempt}"),
        Action::MoveEgress { id, to, .. } => format!("LiveKit is asked to move egress {id} to attempt {to}"),
        Action::StopEgress { id } => format!("LiveKit is asked to stop egress {id}"),
        other => format!("{other:?}"),
    }
}

fn is_on_its_way(why: Reason) -> bool {
    use Reason::{PodPending, Stalled, Starting, WaitingForAudio, WaitingForRoom};
    // A silence is looked into; what comes of it is told by another word.
    matches!(why, Starting | PodPending | WaitingForRoom | WaitingForAudio | Stalled)
}

pub(super) fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}
