//! One LiveKit project.

use crate::seen;
use crate::trouble::{News, Troubles};
use crate::unattended::{Stopped, Unattended};
use k8s_openapi::jiff::Timestamp;
use roomscribe_livekit::view::EgressView;
use roomscribe_livekit::{ApiError, Client, ErrorKind};
use roomscribe_plan::collect::Owned;
use roomscribe_plan::{Egress, Listing, LiveKitError, RoomView, StartOutcome};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Told of every call: its name and how it went (`ok`, or an error's metric label).
pub type Tally = Arc<dyn Fn(&'static str, &'static str) + Send + Sync>;

const START: &str = "StartRoomCompositeEgress";
const MOVE: &str = "UpdateStream";
/// Says of an egress that counts as ended although LiveKit lists it.
const UNATTENDED: &str = "LiveKit's egress service no longer answers for it: the machine that ran it is gone";

/// One LiveKit project, as one installation uses it. Cheap to clone; clones share the client's token bucket, what is known of
/// egresses that nobody looks after, and what the log has said of why LiveKit cannot be asked.
#[derive(Clone)]
pub struct Project {
    client: Client,
    install: Arc<str>,
    tally: Tally,
    unattended: Arc<Mutex<Unattended>>,
    troubles: Arc<Mutex<Troubles>>,
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project").field("install", &self.install).finish_non_exhaustive()
    }
}

impl Project {
    /// `install` is the installation's 8 hex digits: egresses of other installations are never seen.
    pub fn new(client: Client, install: &str, tally: Tally) -> Self {
        Self { client, install: install.into(), tally, unattended: Arc::default(), troubles: Arc::default() }
    }

    /// Both are clones of one: a project whose key was mended is another one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.unattended, &other.unattended)
    }

    /// Egresses of a session.
    ///
    /// # Errors
    /// As [`Client::list_egress`].
    pub async fn egresses(&self, room: &str, session: &str) -> Result<Listing, ApiError> {
        let at = Timestamp::now();
        let views = self.count("ListEgress", self.client.list_egress(Some(room)).await)?;
        let ours = views.into_iter().filter(|view| *view.tag.install == *self.install);
        let egresses = ours.filter(|view| view.tag.session == session).map(|view| self.seen(view)).collect();
        Ok(Listing { at, egresses })
    }

    /// Every egress of this installation, and when the question was asked.
    ///
    /// # Errors
    /// As [`Client::list_egress`].
    pub async fn all(&self) -> Result<(Timestamp, Vec<Owned>), ApiError> {
        let at = Timestamp::now();
        let views = self.count("ListEgress", self.client.list_egress(None).await)?;
        let ours = views.into_iter().filter(|view| *view.tag.install == *self.install);
        Ok((
            at,
            ours.map(|view| Owned { session: view.tag.session.clone(), egress: self.seen(view) }).collect(),
        ))
    }

    /// The room and who is in it.
    ///
    /// # Errors
    /// As [`Client::room`].
    pub async fn room(&self, room: &str) -> Result<RoomView, ApiError> {
        let at = Timestamp::now();
        let people = self.count("ListParticipants", self.client.room(room).await)?;
        Ok(RoomView { at, room: people.map(seen::room) })
    }

    /// Starts an egress to `url`; never repeated.
    pub async fn start(&self, room: &str, url: &str) -> StartOutcome {
        match self.count(START, self.client.start_room_composite(room, url).await) {
            Ok(info) => StartOutcome::Started { id: info.egress_id },
            Err(error) => seen::outcome(&error),
        }
    }

    /// Points an egress at another URL, in one call.
    pub async fn move_egress(&self, id: &str, add: &str, remove: &str) -> StartOutcome {
        match self.count(MOVE, self.client.update_stream(id, add, remove).await) {
            Ok(info) => StartOutcome::Started { id: info.egress_id },
            Err(error) => seen::outcome(&error),
        }
    }

    /// Stops an egress.
    ///
    /// # Errors
    /// As [`Client::stop_egress`]; that nobody answers for this egress is none.
    pub async fn stop(&self, id: &str) -> Result<Stopped, ApiError> {
        match self.count("StopEgress", self.client.stop_egress(id).await) {
            Ok(()) => {
                self.unattended().forget(id);
                Ok(Stopped::Stopped)
            }
            Err(error) if error.is_unattended() => Ok(self.unattended().count(id)),
            Err(error) => Err(error),
        }
    }

    fn seen(&self, view: EgressView) -> Egress {
        let egress = seen::egress(view);
        let state = self.unattended().state(&egress.id, egress.state.clone());
        if state == egress.state {
            return egress;
        }
        Egress { state, error: UNATTENDED.into(), ..egress }
    }

    fn unattended(&self) -> MutexGuard<'_, Unattended> {
        self.unattended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count<T>(&self, call: &'static str, result: Result<T, ApiError>) -> Result<T, ApiError> {
        (self.tally)(call, result.as_ref().map_or_else(|error| error.kind.metric_label(), |_| "ok"));
        match result.as_ref() {
            // That nobody looks after this egress says that LiveKit works.
            Err(error) if !error.is_unattended() => self.told(call, error),
            _ => {
                if self.troubles().note(call, None, Instant::now()) == Some(News::Over) {
                    tracing::info!(parent: None, livekit = self.client.url(), "LiveKit answers again");
                }
            }
        }
        result
    }

    /// Said once for all sessions: each of them shows it as its own condition.
    fn told(&self, call: &'static str, error: &ApiError) {
        let trouble = match call {
            // What was to begin was refused: that is the session's own matter.
            START | MOVE if error.status.is_some() && error.kind != ErrorKind::CredentialsRefused => return,
            _ => seen::trouble(error),
        };
        if self.troubles().note(call, Some(&trouble), Instant::now()) != Some(News::Trouble) {
            return;
        }
        let livekit = self.client.url();
        let what = match trouble {
            LiveKitError::CredentialsRefused => "LiveKit refuses the API key: mend key and secret",
            LiveKitError::Unreachable => "LiveKit cannot be asked: check its URL and the way there",
            LiveKitError::Failing { .. } => {
                "LiveKit answers with an error: look at its log, and check that its URL leads to LiveKit's API"
            }
        };
        tracing::warn!(parent: None, livekit, call, %error, "{what}");
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
