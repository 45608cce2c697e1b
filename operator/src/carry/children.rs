//! Pod, Service and Secret.

use super::{Round, secret};
use crate::api::{self, Error};
use crate::cells::lock;
use crate::children::{self, names};
use crate::refusal::Refusal;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use roomscribe_plan::PodState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// What was made is shown by the watch within this, or is made again.
const WATCH_LAG: Duration = Duration::from_secs(3);

/// Session file, Service and pod. A pod that is there stays as it is: a running session keeps its image. What the API server
/// refuses, because people must mend it, is tried again later and later.
pub(super) async fn ensure(round: &Round<'_>, attempt: u32, selects: u32) -> Result<(), Error> {
    let made = *lock(&round.cell.made);
    if made.is_some_and(|(a, s, at)| (a, s) == (attempt, selects) && at.elapsed() < WATCH_LAG) {
        return Ok(());
    }
    let generation = round.session.metadata.generation;
    let before = lock(&round.cell.refused).clone();
    if before.as_ref().is_some_and(|refusal| refusal.holds(generation, Instant::now())) {
        return Ok(());
    }
    let made = make(round, attempt, selects).await;
    if made.as_ref().is_err_and(Error::namespace_ends) {
        // The next round ends the session: its pods are being deleted, and nothing can take their place.
        if lock(&round.cell.namespace_ends).replace(Timestamp::now()).is_none() {
            tracing::info!("the namespace is being deleted: the session ends with it");
        }
        round.wake();
        return Ok(());
    }
    let refusal =
        made.as_ref().err().and_then(|error| Refusal::of(error, before.as_ref(), generation, Instant::now()));
    let told = refusal.is_some();
    *lock(&round.cell.refused) = refusal;
    *lock(&round.cell.made) = made.as_ref().ok().map(|()| (attempt, selects, Instant::now()));
    if told {
        // The next round says it, in the status and in an event.
        round.wake();
        return Ok(());
    }
    made
}

async fn make(round: &Round<'_>, attempt: u32, selects: u32) -> Result<(), Error> {
    let (session, installation) = (round.session.as_ref(), round.context.installation());
    let mut attempts: Vec<u32> =
        round.observed.cluster.pods.get().into_iter().flatten().map(|pod| pod.attempt).collect();
    let is_there = attempts.contains(&attempt);
    if !is_there {
        attempts.push(attempt);
        attempts.sort_unstable();
        let secret = secret::desired(round, &attempts);
        let kept = secret.clone();
        apply(round, "apply the session's Secret", secret).await?;
        secret::applied(round, &kept);
    }
    let service: Service = children::service(session, &installation, selects);
    apply(round, "apply the session's Service", service).await?;
    if is_there {
        Ok(())
    } else {
        let known = round.observed.cluster.pods.get().map_or(&[][..], Vec::as_slice);
        create_pod(round, children::pod(session, &installation, attempt, hearing(known, attempt))).await
    }
}

/// The pod before this attempt, if its worker can still hear the session: it runs, and has never broken down.
fn hearing(pods: &[roomscribe_plan::Pod], attempt: u32) -> Option<&roomscribe_plan::Pod> {
    let before = pods.iter().filter(|pod| pod.attempt < attempt).max_by_key(|pod| pod.attempt)?;
    let hears = match before.state {
        PodState::Listening => true,
        PodState::NotListening => before.container_started_at.is_some() && before.ends() == 0,
        _ => false,
    };
    hears.then_some(before)
}

pub(super) async fn apply<K>(round: &Round<'_>, what: &'static str, object: K) -> Result<(), Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(round.context.client.clone(), &round.namespace());
    let (name, params) = (object.name_any(), PatchParams::apply(names::MANAGER).force());
    let call = async { api.patch(&name, &params, &Patch::Apply(&object)).await };
    api::bounded(what, call).await.map(|_| ())
}

async fn create_pod(round: &Round<'_>, pod: Pod) -> Result<(), Error> {
    let api = pods(round);
    let call = async {
        api.create(&PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() }, &pod)
            .await
    };
    match api::bounded("create the worker pod", call).await {
        // An answer that was lost, or a watch that lags: it is ours, its name says so.
        Err(error) if error.is_already_exists() => Ok(()),
        result => result.map(|_| ()),
    }
}

fn pods(round: &Round<'_>) -> Api<Pod> {
    Api::namespaced(round.context.client.clone(), &round.namespace())
}

pub(super) async fn delete_pod(round: &Round<'_>, name: &str) -> Result<(), Error> {
    let known = round.observed.cluster.pods.get();
    let Some(pod) = known.into_iter().flatten().find(|pod| pod.name == name) else { return Ok(()) };
    // A pod on a node that does not answer would hang for ever: nobody is there to confirm.
    let grace = (pod.state == roomscribe_plan::PodState::NodeLost).then_some(0);
    let preconditions = Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
    let params = DeleteParams { preconditions, grace_period_seconds: grace, ..DeleteParams::default() };
    let api = pods(round);
    let call = async { api.delete(name, &params).await };
    api::gone_is_fine(api::bounded("delete a worker pod", call).await)
}

pub(super) async fn delete_pods(round: &Round<'_>) -> Result<(), Error> {
    for pod in round.observed.cluster.pods.get().into_iter().flatten().filter(|pod| !pod.leaving) {
        delete_pod(round, &pod.name).await?;
    }
    Ok(())
}

pub(super) async fn delete_service(round: &Round<'_>) -> Result<(), Error> {
    delete::<Service>(round, "delete the session's Service").await
}

/// It holds the speech key; a process that died may have made nothing but it.
pub(super) async fn delete_secret(round: &Round<'_>) -> Result<(), Error> {
    delete::<Secret>(round, "delete the session's Secret").await
}

async fn delete<K>(round: &Round<'_>, what: &'static str) -> Result<(), Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(round.context.client.clone(), &round.namespace());
    let name = names::shared(&round.session);
    let call = async { api.delete(&name, &DeleteParams::default()).await };
    api::gone_is_fine(api::bounded(what, call).await)
}
