//! One round: observe → plan → carry out.

use crate::api::Error;
use crate::carry::Round;
use crate::cells::lock;
use crate::context::Context;
use crate::look;
use crate::metrics::ResultLabel;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use roomscribe_crds::TranscriptionSession;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// After a conflict the watch shows the other writer's version soon.
const AFTER_CONFLICT: Duration = Duration::from_millis(300);
/// After an error; the plan's own waits are longer.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Plans and carries out; called by the controller, never twice at once for one session.
///
/// # Errors
/// What ended the round early.
pub async fn reconcile(seen: Arc<TranscriptionSession>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let span = named(&seen);
    let result = round(seen, &context).instrument(span).await;
    context.metrics.reconcile_seconds.observe(begun.elapsed().as_secs_f64());
    let word = match &result {
        Ok(_) => "ok",
        Err(Error::Conflict { .. }) => "conflict",
        Err(_) => "error",
    };
    context.metrics.reconciles.get_or_create(&ResultLabel { result: word }).inc();
    result
}

/// What every line of the log about a session has, whatever the filter.
fn named(session: &TranscriptionSession) -> tracing::Span {
    let (namespace, name) = (session.namespace().unwrap_or_default(), session.name_any());
    let uid = session.uid().unwrap_or_default();
    tracing::error_span!("session", session = format!("{namespace}/{name}"), uid)
}

async fn round(seen: Arc<TranscriptionSession>, context: &Context) -> Result<Action, Error> {
    let uid = seen.uid().unwrap_or_default();
    let cell = context.cells.of(&uid);
    let session = cell.newest(seen);
    let (observed, found) = look::observe(context, &session, &cell).await?;
    let now = Timestamp::now();
    let (observed, plan) = look::decide(context, &session, observed, &found, now);
    let broken = roomscribe_plan::check::broken(&observed, &plan, now);
    if !broken.is_empty() {
        // A plan that breaks a rule is a bug; the rules protect from two egresses and from lost ones.
        tracing::error!(?broken, "a plan breaks its rules and is not carried out; please report this");
        return Ok(Action::requeue(AFTER_ERROR));
    }
    tracing::debug!(actions = ?plan.actions, wake_at = ?plan.wake_at, "planned");
    let wake_at = plan.wake_at;
    let round = Round { context, cell: &cell, session, observed: &observed, found: &found };
    let words = round.carry_out(plan).await?;
    *lock(&cell.troubled) = None;
    let next = wake_at.map(until).into_iter().chain(words).min();
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at - Timestamp::now()).unwrap_or(Duration::ZERO)
}

/// When to try again, and whether somebody should read of it.
pub fn after_error(session: Arc<TranscriptionSession>, error: &Error, context: Arc<Context>) -> Action {
    let _in = named(&session).entered();
    match error {
        Error::Conflict { what } => {
            tracing::debug!(what, "somebody else has written meanwhile; planning again");
            Action::requeue(AFTER_CONFLICT)
        }
        error if error.is_not_found() => Action::await_change(),
        error => {
            // Each is said once, however often it is met.
            let cell = context.cells.of(&session.uid().unwrap_or_default());
            let said = error.to_string();
            if lock(&cell.troubled).replace(said.clone()).as_ref() == Some(&said) {
                tracing::debug!(%error, "the round ended early again");
            } else {
                tracing::warn!(%error, "the round ended early; it is repeated every {} s", AFTER_ERROR.as_secs());
            }
            Action::requeue(AFTER_ERROR)
        }
    }
}
