//! Everything that a plan rests on, gathered from the watches, the workers and this process' memory.

use crate::api::Error;
use crate::cells::{Cell, lock};
use crate::context::{Context, SeenPod};
use crate::credentials::Found;
use crate::observe;
use crate::observe::gate::{Facts, Stage};
use crate::workers::Target;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{Cluster, Gate, Known, Observed, Plan, PodState, Service, plan_under};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Secrets of a session are read at most so often; somebody may be waiting for one that was just made.
const LOOK_AGAIN: Duration = Duration::from_secs(8);

/// Observes one session; what others have been allowed is added by [`decide`].
///
/// # Errors
/// When the API server does not answer about the session's Secrets.
pub async fn observe(
    context: &Context,
    session: &Arc<TranscriptionSession>,
    cell: &Cell,
) -> Result<(Observed, Found), Error> {
    let uid = session.uid().unwrap_or_default();
    let mut own = observe::session(session).ok_or(Error::Unknown)?;
    own.deleted_at = own.deleted_at.or_else(|| *lock(&cell.namespace_ends));
    let pods = context.pods.of(&uid);
    let known = pods.get().map_or(&[][..], Vec::as_slice);
    let service = service(context, session, &uid, known);
    let targets = targets(known);
    let woken = (context.wakes.clone(), ObjectRef::from_obj(session.as_ref()));
    let changed: Arc<dyn Fn() + Send + Sync> = Arc::new(move || woken.0.wake(woken.1.clone()));
    cell.polls.follow(&context.http, &targets, &changed);
    let found = credentials(context, session, cell).await?;
    if let Some(intent) = cell.proved(&own.status) {
        cell.desk.intends(intent);
    }
    let (livekit, memory) = cell.desk.observed();
    let observed = Observed {
        session: own,
        gate: Gate {
            secrets: Known::Known(found.secrets.clone()),
            room_held_by: None,
            queue_place: None,
            livekit_is_public: found.livekit_is_public,
        },
        cluster: Cluster {
            pods: known_pods(&pods, &context.installation().worker.image),
            service,
            refused: refused(cell),
        },
        livekit,
        worker: cell.polls.report(&targets),
        memory,
    };
    Ok((observed, found))
}

fn refused(cell: &Cell) -> Option<(Reason, String)> {
    lock(&cell.refused).as_ref().map(|refusal| (refusal.reason, refusal.words.clone()))
}

/// `image`: of the next pod.
fn known_pods(pods: &Known<Vec<SeenPod>>, image: &str) -> Known<Vec<roomscribe_plan::Pod>> {
    match pods {
        Known::Unknown => Known::Unknown,
        Known::Known(pods) => Known::Known(pods.iter().map(|seen| judged(seen, image)).collect()),
    }
}

/// A pod that waits for an image which the installation has given up will not run: whoever mended it means this session too.
fn judged(seen: &SeenPod, image: &str) -> roomscribe_plan::Pod {
    let mut pod = seen.pod.clone();
    let is_given_up = seen.image.as_deref().is_some_and(|own| own != image);
    if is_given_up && matches!(pod.state, PodState::Pending(Reason::ImagePullFailed, _)) {
        pod.state = PodState::Failed(Reason::ImagePullFailed);
    }
    pod
}

fn service(
    context: &Context,
    session: &TranscriptionSession,
    uid: &str,
    pods: &[SeenPod],
) -> Known<Option<Service>> {
    match context.services.of(uid) {
        Known::Unknown => Known::Unknown,
        Known::Known(services) => {
            // Any node would do; the pod's own is one hop less.
            let node = pods.iter().max_by_key(|seen| seen.pod.attempt).and_then(|seen| seen.host_ip.clone());
            let node = context.installation().ingest.node_port_host.clone().or(node);
            let ours = services.first();
            Known::Known(ours.and_then(|service| observe::service(service, &session.spec, node.as_deref())))
        }
    }
}

/// Pods that can be asked, the newest last.
fn targets(pods: &[SeenPod]) -> Vec<Target> {
    let mut pods: Vec<_> = pods.iter().filter(|seen| seen.pod.container_started_at.is_some()).collect();
    pods.sort_by_key(|seen| seen.pod.attempt);
    let target = |seen: &&SeenPod| {
        let address = seen.status_address.clone()?;
        Some(Target { pod_uid: seen.pod.uid.clone(), pod: seen.pod.name.clone(), address })
    };
    pods.iter().filter_map(target).collect()
}

async fn credentials(context: &Context, session: &TranscriptionSession, cell: &Cell) -> Result<Found, Error> {
    let kept = lock(&cell.found).clone();
    if let Some((at, found)) = kept.filter(|_| context.vault.asks(session))
        && at.elapsed() < LOOK_AGAIN
    {
        return Ok(found);
    }
    let mut found = context.vault.find(&context.client, session).await?;
    // What runs goes on: a Secret that was deleted in mid-meeting must not keep its egress from being stopped.
    if let Some((_, before)) = lock(&cell.found).as_ref().filter(|_| found.project.is_none()) {
        found = Found { secrets: found.secrets, ..before.clone() };
    }
    *lock(&cell.found) = Some((Instant::now(), found.clone()));
    Ok(found)
}

/// Decides. Whether a session may begin depends on what others have been allowed, so that part is one at a time.
pub fn decide(
    context: &Context,
    session: &TranscriptionSession,
    mut observed: Observed,
    found: &Found,
    now: Timestamp,
) -> (Observed, Plan) {
    let project = Some(found.project_key.as_str()).filter(|key| !key.is_empty());
    let me = context.facts(session, project);
    let Some(me) = me.filter(|me| matches!(me.stage, Stage::Waiting | Stage::Refused)) else {
        let plan = plan_under(&context.policy, &observed, now);
        return (observed, plan);
    };
    let mut begun = lock(&context.begun);
    (observed.gate.room_held_by, observed.gate.queue_place) = gate(context, &me, &begun);
    let plan = plan_under(&context.policy, &observed, now);
    if condition::is_true(&plan.status.conditions, ConditionType::Accepted) {
        begun.insert(observed.session.id.clone());
    }
    (observed, plan)
}

/// Who has the room, and the place in the queue.
fn gate(context: &Context, me: &Facts, begun: &HashSet<String>) -> (Option<String>, Option<u32>) {
    let limit = context.max_concurrent;
    let mut others = context.sessions.all(|seen| {
        let facts = &seen.facts;
        let matters = facts.id != me.id && facts.stage != Stage::Over;
        (matters && (limit.is_some() || facts.room == me.room)).then(|| facts.clone())
    });
    for other in &mut others {
        if begun.contains(&other.id) {
            other.stage = other.stage.min(Stage::Accepted);
        }
        if let Some(cell) = context.cells.find(&other.id)
            && let Some((_, found)) = lock(&cell.found).as_ref()
        {
            other.project.clone_from(&found.project_key);
        }
    }
    observe::gate::room_and_queue(&others, me, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: PodState) -> SeenPod {
        let pod = roomscribe_plan::Pod {
            name: "ts-monday-1".into(),
            uid: "u".into(),
            attempt: 1,
            key_generation: 1,
            created_at: None,
            node: String::new(),
            state,
            leaving: false,
            ends_at: None,
            container_started_at: None,
            restarts: 0,
            last_exit: None,
        };
        let image = Some("registry/worker:1".into());
        SeenPod { pod, status_address: None, host_ip: None, made_of: None, image }
    }

    #[test]
    fn a_pod_whose_image_cannot_be_had_and_is_not_wanted_any_more_is_given_up() {
        let unpulled = seen(PodState::Pending(Reason::ImagePullFailed, "not found".into()));
        assert_eq!(judged(&unpulled, "registry/worker:2").state, PodState::Failed(Reason::ImagePullFailed));
        assert_eq!(judged(&unpulled, "registry/worker:1").state, unpulled.pod.state);
        assert_eq!(judged(&seen(PodState::Listening), "registry/worker:2").state, PodState::Listening);
    }
}
