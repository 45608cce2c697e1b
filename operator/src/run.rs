//! The controller: watches in, rounds out.

use crate::children::{self, names};
use crate::context::{Context, SeenPod, SeenSession};
use crate::index::Entry;
use crate::observe;
use crate::observe::gate::Facts;
use crate::reconcile::{after_error, reconcile};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, ExponentialBackoff, watcher};
use kube::{Api, Resource, ResourceExt};
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::condition::{self, ConditionType};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The controller of one namespace, or with `None` of all. Runs until `stopped`, then lets running rounds end.
pub async fn run(
    context: Arc<Context>,
    watch: usize,
    namespace: Option<String>,
    concurrency: u16,
    stopped: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let namespace = namespace.as_deref();
    let (reader, writer) = reflector::store();
    let index = context.clone();
    let sessions = watcher(api::<TranscriptionSession>(&context, namespace), watcher::Config::default())
        .backoff(patience())
        .map_ok(slim)
        .inspect_ok(move |event| note(&index, watch, event));
    let index = context.clone();
    let children = watcher::Config::default().labels(names::SESSION_LABEL);
    let pods = watcher(api::<Pod>(&context, namespace), children.clone())
        .backoff(patience())
        .inspect_ok(move |event| index.pods.take(watch, event, pod));
    let index = context.clone();
    let services = watcher(api::<Service>(&context, namespace), children)
        .backoff(patience())
        .map_ok(slim)
        .inspect_ok(move |event| index.services.take(watch, event, service));
    Controller::for_stream(reflector::reflector(writer, sessions).applied_objects(), reader)
        .owns_stream(pods.touched_objects())
        .owns_stream(services.touched_objects())
        .reconcile_on(context.wakes.queue(watch).stream())
        .with_config(Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stopped)
        .run(reconcile, after_error, context)
        // Errors of rounds are handled in `after_error`; a watch repeats itself.
        .for_each(|result| async move {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
                tracing::warn!(%error, "a watch failed and begins again; check the operator's Role");
            }
        })
        .await;
}

/// kube's own waits up to a minute, also for a server that is well again: nobody would look after a session for so long.
fn patience() -> ExponentialBackoff {
    let (min, max) = (Duration::from_millis(400), Duration::from_secs(3));
    let times = backon::ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).without_max_times();
    times.with_jitter().into()
}

fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        None => Api::all(context.client.clone()),
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
    }
}

/// What nobody reads costs memory.
fn slim<K: Resource>(event: Event<K>) -> Event<K> {
    event.modify(|object| object.managed_fields_mut().clear())
}

/// Keeps what others need of a session; drops what is held of one that is gone.
fn note(context: &Context, watch: usize, event: &Event<TranscriptionSession>) {
    context.sessions.take(watch, event, |session| {
        let uid = session.uid()?;
        let seen = SeenSession::of(session, context.facts(session, None)?);
        Some(Entry { owner: uid, name: session.name_any(), fact: seen })
    });
    let (uid, over) = match event {
        Event::Delete(session) => (session.uid().unwrap_or_default(), true),
        Event::Apply(session) => (session.uid().unwrap_or_default(), is_over(session)),
        _ => return,
    };
    if let Event::Delete(_) = event {
        context.cells.forget(&uid);
    }
    if over && crate::cells::lock(&context.begun).remove(&uid) {
        // Its room and its place are free.
        context
            .sessions
            .all(|seen| seen.waits.then(|| seen.object.clone()))
            .into_iter()
            .for_each(|object| context.wakes.wake(object));
    }
}

fn pod(pod: &Pod) -> Option<Entry<SeenPod>> {
    let owner = owner(pod)?;
    let status = pod.status.as_ref();
    let ip = status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty());
    let seen = SeenPod {
        pod: observe::pod(pod)?,
        status_address: ip.map(|ip| status_address(&ip)),
        made_of: pod.annotations().get(names::MADE_OF).cloned(),
        host_ip: status.and_then(|status| status.host_ip.clone()),
        image: pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone()),
    };
    Some(Entry { owner, name: pod.name_any(), fact: seen })
}

/// IPv6 addresses in brackets.
fn status_address(ip: &str) -> String {
    let port = children::METRICS_PORT;
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn is_over(session: &TranscriptionSession) -> bool {
    session.status.as_ref().is_some_and(|status| status.completed_at.is_some())
}

fn service(service: &Service) -> Option<Entry<Arc<Service>>> {
    Some(Entry { owner: owner(service)?, name: service.name_any(), fact: Arc::new(service.clone()) })
}

/// Uid of the session that controls it; where a deletion with `--cascade=orphan` took that away, the label still says it.
fn owner<K: Resource>(object: &K) -> Option<String> {
    let kind = TranscriptionSession::kind(&());
    let controls = |owner: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        owner.controller == Some(true) && owner.kind == kind
    };
    let by_label = || {
        let labels = object.labels();
        let ours = labels.get("app.kubernetes.io/managed-by").is_some_and(|by| by == names::MANAGER);
        labels.get(names::SESSION_LABEL).filter(|_| ours).cloned()
    };
    object.owner_references().iter().find(controls).map(|owner| owner.uid.clone()).or_else(by_label)
}

impl SeenSession {
    fn of(session: &TranscriptionSession, facts: Facts) -> Self {
        let status = session.status.clone().unwrap_or_default();
        let accepted = condition::find(&status.conditions, ConditionType::Accepted);
        Self {
            object: ObjectRef::from_obj(session),
            state: status.summary.map_or_else(|| "Pending".into(), |summary| format!("{summary:?}")),
            mode: status.capture.as_ref().map_or_else(String::new, |capture| format!("{:?}", capture.mode)),
            finished: status.completed_at.is_some(),
            waits: status.completed_at.is_none() && accepted.is_none_or(|accepted| accepted.status != "True"),
            facts,
        }
    }
}
