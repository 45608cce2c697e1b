//! The resource itself: status, finalizer, deletion. Each write names the version that it rests on.

use super::{Round, tell};
use crate::api::{self, Error};
use crate::cells::lock;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use roomscribe_crds::{FINALIZER, TranscriptionSession};
use roomscribe_plan::Plan;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

fn sessions(round: &Round<'_>) -> Api<TranscriptionSession> {
    Api::namespaced(round.context.client.clone(), &round.namespace())
}

/// `replace_status` with the version that was read: another writer means that the plan rests on something old.
pub(super) async fn write_status(round: &Round<'_>, plan: &Plan) -> Result<Arc<TranscriptionSession>, Error> {
    let mut session = round.session.as_ref().clone();
    session.status = Some(plan.status.clone());
    let name = session.name_any();
    let call = async { sessions(round).replace_status(&name, &PostParams::default(), &session).await };
    let written = api::bounded("write the status", call).await?;
    round.context.metrics.status_writes.inc();
    *lock(&round.cell.wrote_at) = Some(Instant::now());
    tell::steps(round, plan);
    Ok(round.cell.wrote(&round.session, written))
}

pub(super) async fn set_finalizer(
    round: &Round<'_>,
    wanted: bool,
) -> Result<Arc<TranscriptionSession>, Error> {
    let mut finalizers = round.session.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let version = round.session.metadata.resource_version.clone();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    let name = round.session.name_any();
    let call = async { sessions(round).patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await };
    let what = if wanted { "add the finalizer" } else { "remove the finalizer" };
    match api::bounded(what, call).await {
        Ok(written) => Ok(round.cell.wrote(&round.session, written)),
        Err(error) if error.is_not_found() && !wanted => Ok(round.session.clone()),
        Err(error) => Err(error),
    }
}

/// A look past the cache before money is spent: the session is still wanted, and this is still its newest attempt.
pub(super) async fn still_intends(round: &Round<'_>, attempt: u32) -> Result<bool, Error> {
    let name = round.session.name_any();
    let call = async { sessions(round).get_opt(&name).await };
    let Some(live) = api::bounded("read the session", call).await? else { return Ok(false) };
    let newest = live.status.as_ref().and_then(|status| status.attempt);
    Ok(live.uid() == round.session.uid()
        && live.metadata.deletion_timestamp.is_none()
        && newest.is_some_and(|newest| u32::try_from(newest) == Ok(attempt)))
}

pub(super) async fn delete(round: &Round<'_>) -> Result<(), Error> {
    let preconditions = Preconditions {
        uid: round.session.uid(),
        resource_version: round.session.metadata.resource_version.clone(),
    };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let name = round.session.name_any();
    let call = async { sessions(round).delete(&name, &params).await };
    api::gone_is_fine(api::bounded("delete the finished session", call).await)
}
