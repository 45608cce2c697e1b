//! A plan's actions, carried out. Nothing is decided here.

mod children;
mod ending;
mod secret;
mod session;
mod spacing;
mod tell;

use crate::api::Error;
use crate::cells::Cell;
use crate::context::Context;
use crate::credentials::Found;
use crate::stream_key::{Ingest, rtmp_url};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use roomscribe_calls::Order;
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{Action, Observed, Plan, Planned};
pub use secret::Applied;
use std::sync::Arc;
use std::time::Duration;

/// One round of one session.
pub struct Round<'a> {
    /// Shared.
    pub context: &'a Context,
    /// The session's own.
    pub cell: &'a Cell,
    /// As it was read, or as our last write left it.
    pub session: Arc<TranscriptionSession>,
    /// What was seen.
    pub observed: &'a Observed,
    /// Its credentials.
    pub found: &'a Found,
}

impl Round<'_> {
    /// Status first: what follows rests on it. Then the actions in order; a failed one ends the round. The answer is when to
    /// come back for words that were not written yet.
    ///
    /// # Errors
    /// [`Error`]; the next round sees what has become of it.
    pub async fn carry_out(mut self, plan: Plan) -> Result<Option<Duration>, Error> {
        let later = spacing::later(self.cell, &self.observed.session.status, &plan);
        if later.is_none() && plan.status != self.observed.session.status {
            self.session = match session::write_status(&self, &plan).await {
                Ok(written) => written,
                Err(error) => {
                    self.cell.doubt(plan.memory.intent.as_ref(), plan.status.intent_at.as_ref());
                    return Err(error);
                }
            };
        }
        if later.is_none() {
            tell::edits(&self, &plan).await;
        }
        self.cell.desk.adopt(plan.memory.clone());
        for planned in &plan.actions {
            // An event tells of a change of the status, and comes with it.
            if later.is_none() || !matches!(planned.action, Action::Event { .. }) {
                self.one(planned).await?;
            }
        }
        let kept = secret::keep(&self, &plan).await?;
        Ok(later.into_iter().chain(kept).min())
    }

    async fn one(&mut self, planned: &Planned) -> Result<(), Error> {
        let Planned { action, why } = planned;
        match action {
            Action::AddFinalizer => self.session = session::set_finalizer(self, true).await?,
            Action::RemoveFinalizer => {
                children::delete_secret(self).await?;
                self.session = session::set_finalizer(self, false).await?;
            }
            Action::DeleteSession => session::delete(self).await?,
            // The status is written already; the attempt itself is begun by the next round.
            Action::WriteIntent { .. } => self.wake(),
            Action::EnsureWorker { attempt, selects } => children::ensure(self, *attempt, *selects).await?,
            Action::DeletePod { name } => children::delete_pod(self, name).await?,
            Action::StopWorker { reason } => {
                ending::tell(self, *reason).await;
                children::delete_pods(self).await?;
            }
            Action::DeleteService => children::delete_service(self).await?,
            Action::Event { kind, note } => {
                if *why == Reason::EgressCleanupAbandoned {
                    self.context.metrics.cleanup_abandoned.inc();
                }
                tell::event(self, *kind, *why, note).await;
            }
            Action::StartEgress { attempt } | Action::MoveEgress { to: attempt, .. } => {
                if session::still_intends(self, *attempt).await? {
                    self.livekit(action, *why);
                }
            }
            Action::StopEgress { .. } | Action::Ask(_) => self.livekit(action, *why),
        }
        Ok(())
    }

    /// Calls run beside the rounds; their answers wake the session.
    fn livekit(&self, action: &Action, why: Reason) {
        let Some(project) = self.found.project.clone() else { return };
        let order = Order {
            project,
            room: self.session.spec.room_name.clone(),
            session: self.observed.session.id.clone(),
            url: self.urls(),
            wake: self.waker(),
            span: tracing::Span::current(),
        };
        self.cell.desk.carry(&order, action, why);
    }

    fn urls(&self) -> Arc<dyn Fn(u32) -> Option<String> + Send + Sync> {
        let (install, key) =
            (self.context.installation().install.clone(), self.context.installation().key.clone());
        let (id, tls) = (self.observed.session.id.clone(), self.session.spec.ingest.tls.is_some());
        let service = self.observed.cluster.service.get().and_then(Option::as_ref);
        let address = service.and_then(|service| service.address.clone());
        Arc::new(move |attempt| {
            let (host, port) = address.as_ref()?;
            let ingest = Ingest { tls, host, port: *port };
            Some(rtmp_url(ingest, &install, &key, &id, attempt))
        })
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let (wakes, object) = (self.context.wakes.clone(), self.object());
        Arc::new(move || wakes.wake(object.clone()))
    }

    fn wake(&self) {
        self.context.wakes.wake(self.object());
    }

    fn object(&self) -> ObjectRef<TranscriptionSession> {
        ObjectRef::from_obj(self.session.as_ref())
    }

    fn namespace(&self) -> String {
        self.session.namespace().unwrap_or_default()
    }
}
