//! One session's desk: its memory, what is known of LiveKit, and the calls that are under way.

use crate::project::Project;
use crate::seen;
use k8s_openapi::jiff::Timestamp;
use roomscribe_livekit::ApiError;
use roomscribe_plan::{
    Action, Ask, Intent, Known, Listing, LiveKit, LiveKitError, Memory, StartCall, StartOutcome,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

#[derive(Default)]
struct State {
    memory: Memory,
    livekit: LiveKit,
    asking: BTreeSet<Ask>,
    stopping: BTreeSet<String>,
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

    /// Carries out what concerns LiveKit; `false`: this action is somebody else's. Returns at once.
    pub fn carry(&self, order: &Order, action: &Action) -> bool {
        match action {
            Action::Ask(ask) => self.ask(order, *ask),
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
        let (desk, order) = (self.clone(), order.clone());
        tokio::spawn(async move {
            let outcome = match moves {
                None => order.project.start(&order.room, &url).await,
                Some((id, from)) => match (order.url)(from) {
                    Some(old) => order.project.move_egress(&id, &url, &old).await,
                    None => return,
                },
            };
            desk.answered(attempt, outcome);
            (order.wake)();
        });
    }

    fn answered(&self, attempt: u32, outcome: StartOutcome) {
        let mut state = self.lock();
        match outcome {
            StartOutcome::CredentialsRefused => state.livekit.error = Some(LiveKitError::CredentialsRefused),
            StartOutcome::Unknown => {}
            _ => state.livekit.error = None,
        }
        if let Some(start) = state.memory.start.as_mut().filter(|start| start.attempt == attempt) {
            (start.outcome, start.answered_at) = (Some(outcome), Some(Timestamp::now()));
        }
    }

    fn stop(&self, order: &Order, id: &str) {
        if !self.lock().stopping.insert(id.to_owned()) {
            return;
        }
        let (desk, order, id) = (self.clone(), order.clone(), id.to_owned());
        tokio::spawn(async move {
            let result = order.project.stop(&id).await;
            desk.lock().stopping.remove(&id);
            if let Err(error) = result {
                tracing::warn!(session = order.session, egress = id, %error, "LiveKit did not stop an egress; it is asked again");
                desk.failed(&error);
            }
            (order.wake)();
        });
    }

    fn ask(&self, order: &Order, ask: Ask) {
        if !self.lock().asking.insert(ask) {
            return;
        }
        let (desk, order) = (self.clone(), order.clone());
        tokio::spawn(async move {
            let result = match ask {
                Ask::Egresses => order
                    .project
                    .egresses(&order.room, &order.session)
                    .await
                    .map(|listing| desk.listed(listing)),
                Ask::Room => order.project.room(&order.room).await.map(|view| {
                    let mut state = desk.lock();
                    (state.livekit.room, state.livekit.error) = (Known::Known(view), None);
                }),
            };
            desk.lock().asking.remove(&ask);
            if let Err(error) = result {
                desk.failed(&error);
            }
            (order.wake)();
        });
    }

    /// Said once, when it begins.
    fn failed(&self, error: &ApiError) {
        let trouble = seen::trouble(error);
        let before = self.lock().livekit.error.replace(trouble);
        if before != Some(trouble) {
            tracing::warn!(%error, "LiveKit cannot be asked; check its URL and keys");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
