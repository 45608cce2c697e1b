//! One LiveKit project.

use crate::seen;
use k8s_openapi::jiff::Timestamp;
use roomscribe_livekit::{ApiError, Client};
use roomscribe_plan::collect::Owned;
use roomscribe_plan::{Listing, RoomView, StartOutcome};
use std::fmt;
use std::sync::Arc;

/// Told of every call: its name and how it went (`ok`, or an error's metric label).
pub type Tally = Arc<dyn Fn(&'static str, &'static str) + Send + Sync>;

/// One LiveKit project, as one installation uses it. Cheap to clone; clones share the client's token bucket.
#[derive(Clone)]
pub struct Project {
    client: Client,
    install: Arc<str>,
    tally: Tally,
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project").field("install", &self.install).finish_non_exhaustive()
    }
}

impl Project {
    /// `install` is the installation's 8 hex digits: egresses of other installations are never seen.
    pub fn new(client: Client, install: &str, tally: Tally) -> Self {
        Self { client, install: install.into(), tally }
    }

    /// Egresses of a session.
    ///
    /// # Errors
    /// As [`Client::list_egress`].
    pub async fn egresses(&self, room: &str, session: &str) -> Result<Listing, ApiError> {
        let at = Timestamp::now();
        let views = self.count("ListEgress", self.client.list_egress(Some(room)).await)?;
        let ours = views.into_iter().filter(|view| *view.tag.install == *self.install);
        let egresses = ours.filter(|view| view.tag.session == session).map(seen::egress).collect();
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
            ours.map(|view| Owned { session: view.tag.session.clone(), egress: seen::egress(view) })
                .collect(),
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
        match self.count("StartRoomCompositeEgress", self.client.start_room_composite(room, url).await) {
            Ok(info) => StartOutcome::Started { id: info.egress_id },
            Err(error) => seen::outcome(&error),
        }
    }

    /// Points an egress at another URL, in one call.
    pub async fn move_egress(&self, id: &str, add: &str, remove: &str) -> StartOutcome {
        match self.count("UpdateStream", self.client.update_stream(id, add, remove).await) {
            Ok(info) => StartOutcome::Started { id: info.egress_id },
            Err(error) => seen::outcome(&error),
        }
    }

    /// Stops an egress.
    ///
    /// # Errors
    /// As [`Client::stop_egress`].
    pub async fn stop(&self, id: &str) -> Result<(), ApiError> {
        self.count("StopEgress", self.client.stop_egress(id).await)
    }

    fn count<T>(&self, call: &'static str, result: Result<T, ApiError>) -> Result<T, ApiError> {
        (self.tally)(call, result.as_ref().map_or_else(|error| error.kind.metric_label(), |_| "ok"));
        result
    }
}
