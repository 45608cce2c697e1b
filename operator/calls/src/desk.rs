//! One session's desk: its memory, what is known of LiveKit, and the calls that are under way.

use crate::pace::Pace;
use crate::project::Project;
use crate::seen;
use crate::unattended::Stopped;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_livekit::ApiError;
use roomscribe_plan::{
    Action, Ask, Intent, Known, Listing, LiveKit, LiveKitError, Memory, StartCall, StartOutcome,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

/// A stop that nobody answered for is tried once more after this.
const STOP_AGAIN: Duration = Duration::from_secs(5);

/// What a session's calls need to know.
#[derive(Clone)]
pub struct Order {
    /// The project.
    pub project: Project,
    /// LiveKit's room name.
    pub room: String,
    /// Session id.
    pub session: String,
    /// RTMP URL of an attempt; a secret. `None`: nobody knows the address yet.
    pub url: Arc<dyn Fn(u32) -> Option<String> + Send + Sync>,
    /// Called when an answer has arrived: plan again.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Names the session on every line of the log about its calls.
    pub span: Span,
}

#[derive(Default)]
struct State {
    memory: Memory,
    livekit: LiveKit,
    asking: BTreeSet<Ask>,
    stopping: BTreeSet<String>,
    pace: Pace,
    /// Questions that came too early: when each will be asked by itself, and its timer. One of a kind.
    due: BTreeMap<Ask, (Instant, AbortHandle)>,
    /// Whose answers these are.
    project: Option<Project>,
}

impl Drop for State {
    fn drop(&mut self) {
        for (_, timer) in self.due.values() {
            timer.abort();
        }
    }
}

/// Cheap to clone. Losing it (a crash) costs time, never correctness.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<State>>);

impl Desk {
    /// For the next observation.
    pub fn observed(&self) -> (LiveKit, Memory) {
        let state = self.lock();
        (state.livekit.clone(), state.memory.clone())
    }

    /// Takes a plan's memory, once its status is written. An answer that has arrived meanwhile stays.
    pub fn adopt(&self, memory: Memory) {
        let mut state = self.lock();
        let start = state.memory.start.take();
        state.memory = memory;
        state.memory.start = start;
    }

    /// This process has written the intent, though the answer to the write was lost.
    pub fn intends(&self, intent: Intent) {
        self.lock().memory.intent = Some(intent);
    }

    /// A listing that somebody else has asked for (the minute's unfiltered one).
    pub fn listed(&self, listing: Listing) {
        let mut state = self.lock();
        let newer = state.livekit.egresses.get().is_none_or(|known| known.at < listing.at);
        if newer {
            state.livekit.egresses = Known::Known(listing);
            state.livekit.error = None;
        }
    }

    /// Somebody else's listing was not answered; `true`: that is news.
    pub fn unlisted(&self, error: &ApiError) -> bool {
        self.in_trouble(seen::trouble(error))
    }

    /// `true`: that is news.
    fn in_trouble(&self, trouble: LiveKitError) -> bool {
        let mut state = self.lock();
        // The first words stay: others for the same trouble are no reason to write a status again.
        let known = state.livekit.error.as_ref().is_some_and(|before| before.is_like(&trouble));
        if !known {
            state.livekit.error = Some(trouble);
        }
        !known
    }

    /// Carries out what concerns LiveKit; `false`: this action is somebody else's. Returns at once. A question that comes too
    /// early is asked by itself when its time has come, and the session is woken by its answer.
    pub fn carry(&self, order: &Order, action: &Action, why: Reason) -> bool {
        match action {
            Action::Ask(ask) => self.ask(order, *ask, why),
            Action::StartEgress { attempt } => self.begin(order, *attempt, None),
            Action::MoveEgress { id, from, to } => self.begin(order, *to, Some((id.clone(), *from))),
            Action::StopEgress { id } => self.stop(order, id),
            _ => return false,
        }
        true
    }

    /// A start, or with `moves` an UpdateStream of this egress away from the URL of that attempt.
    fn begin(&self, order: &Order, attempt: u32, moves: Option<(String, u32)>) {
        let Some(url) = (order.url)(attempt) else { return };
        {
            let mut state = self.lock();
            let moved = moves.as_ref().map(|(id, _)| id.clone());
            state.memory.intent = None;
            state.memory.start = Some(StartCall {
                attempt,
                at: Timestamp::now(),
                moves: moved,
                answered_at: None,
                outcome: None,
            });
        }
        let (desk, order, span) = (self.clone(), order.clone(), order.span.clone());
        let call = async move {
            let outcome = match moves {
                None => order.project.start(&order.room, &url).await,
                Some((id, from)) => match desk.url_of(&order, &id, from) {
                    Some(old) => order.project.move_egress(&id, &url, &old).await,
                    None => return,
                },
            };
            desk.answered(attempt, outcome);
            (order.wake)();
        };
        tokio::spawn(call.instrument(span));
    }

    /// The URL that an egress was given: LiveKit removes no other, and the address may have changed since.
    fn url_of(&self, order: &Order, id: &str, attempt: u32) -> Option<String> {
        let url = (order.url)(attempt)?;
        let state = self.lock();
        let seen = state
            .livekit
            .egresses
            .get()
            .and_then(|listing| listing.egresses.iter().find(|egress| egress.id == id));
        match seen.zip(url.find("/live/")).filter(|(egress, _)| egress.attempt == attempt) {
            Some((egress, at)) => Some(format!("{}{}", egress.origin, &url[at..])),
            None => Some(url),
        }
    }

    fn answered(&self, attempt: u32, outcome: StartOutcome) {
        let mut state = self.lock();
        match outcome {
            StartOutcome::CredentialsRefused => state.livekit.error = Some(LiveKitError::CredentialsRefused),
            StartOutcome::NotSent => state.livekit.error = Some(LiveKitError::Unreachable),
            StartOutcome::Unknown => {}
            _ => state.livekit.error = None,
        }
        if let Some(start) = state.memory.start.as_mut().filter(|start| start.attempt == attempt) {
            (start.outcome, start.answered_at) = (Some(outcome), Some(Timestamp::now()));
        }
    }

    fn stop(&self, order: &Order, id: &str) {
        {
            let mut state = self.lock();
            let (error, now) = (state.livekit.error.clone(), Instant::now());
            if state.stopping.contains(id) || !state.pace.stop(id, error.as_ref(), now) {
                return;
            }
            state.stopping.insert(id.to_owned());
        }
        let (desk, order, id, span) = (self.clone(), order.clone(), id.to_owned(), order.span.clone());
        let call = async move {
            let result = stop_twice(&order, &id).await;
            desk.lock().stopping.remove(&id);
            if let Err(error) = result {
                tracing::debug!(egress = id, %error, "LiveKit did not stop an egress; it is asked again");
                desk.in_trouble(seen::trouble(&error));
            }
            (order.wake)();
        };
        tokio::spawn(call.instrument(span));
    }

    fn ask(&self, order: &Order, ask: Ask, why: Reason) {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.project.as_ref().is_some_and(|project| project.is(&order.project)) {
            // A mended key is tried at once.
            (state.pace, state.project) = (Pace::default(), Some(order.project.clone()));
        }
        if state.asking.contains(&ask) {
            return;
        }
        let error = state.livekit.error.clone();
        match state.pace.ask(ask, why, error.as_ref(), now) {
            Ok(()) => {
                if let Some((_, timer)) = state.due.remove(&ask) {
                    timer.abort();
                }
                state.asking.insert(ask);
                drop(state);
                tokio::spawn(self.clone().question(order.clone(), ask).instrument(order.span.clone()));
            }
            Err(left) => self.ask_later(&mut state, order, (ask, why), now + left),
        }
    }

    fn ask_later(&self, state: &mut State, order: &Order, (ask, why): (Ask, Reason), at: Instant) {
        if state.due.get(&ask).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        // A session that is gone asks nothing more.
        let (desk, order) = (Arc::downgrade(&self.0), order.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let Some(desk) = desk.upgrade().map(Desk) else { return };
            desk.lock().due.remove(&ask);
            desk.ask(&order, ask, why);
        });
        if let Some((_, later)) = state.due.insert(ask, (at, timer.abort_handle())) {
            later.abort();
        }
    }

    async fn question(self, order: Order, ask: Ask) {
        let result = match ask {
            Ask::Egresses => {
                let listing = order.project.egresses(&order.room, &order.session).await;
                listing.map(|listing| self.listed(listing))
            }
            Ask::Room => order.project.room(&order.room).await.map(|view| {
                let mut state = self.lock();
                (state.livekit.room, state.livekit.error) = (Known::Known(view), None);
            }),
        };
        self.lock().asking.remove(&ask);
        if let Err(error) = result {
            self.in_trouble(seen::trouble(&error));
        }
        (order.wake)();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stop that nobody answers for is made once more: a plan need not know that LiveKit lists an egress whose machine is gone.
async fn stop_twice(order: &Order, id: &str) -> Result<(), ApiError> {
    if order.project.stop(id).await? != Stopped::Unanswered {
        return Ok(());
    }
    tokio::time::sleep(STOP_AGAIN).await;
    if order.project.stop(id).await? != Stopped::Stopped {
        tracing::warn!(
            egress = id,
            "nobody in LiveKit answers for this egress: its machine is gone, and it counts as ended; check LiveKit's egress service"
        );
    }
    Ok(())
}
