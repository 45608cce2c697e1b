//! Scheduler, kubelet, load balancer and workers, played: pods get statuses with seeded delays and faults, each serves
//! `/status` on its own loopback address, each Service of type LoadBalancer gets an address where real RTMP is taken and
//! led to the pod that it selects. What a pod reports follows what really arrives.
//!
//! Played as the real ones do: a pod is bound to a node, its container waits for its Secrets, its deletion for its drain;
//! stream keys are verified with the session file's secret; an older attempt is refused and a newer one takes over.
//! Not played: RTMPS, probes of what is not hung, resources, NetworkPolicy, speech.

mod addresses;
mod control;
mod handle;
mod keys;
mod life;
mod page;
mod pod;
mod report;
mod service;
mod settings;

pub use handle::PodView;
pub use report::{Publisher, Report};
pub use settings::{Behaviour, Range, Settings};

use addresses::Addresses;
use anyhow::Context;
use futures_util::StreamExt;
use handle::{Handle, ORDERS, Order};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, ResourceExt};
use serde_json::json;
use service::{Balancer, Selector};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

const SESSION_LABEL: &str = "roomscribe.io/session-uid";
const ATTEMPT_LABEL: &str = "roomscribe.io/attempt";
const SELECTOR: &str = "app.kubernetes.io/part-of=roomscribe,roomscribe.io/session-uid";
const NODES: u8 = 3;

/// Ends that are remembered.
const MAX_ENDS: usize = 10_000;

/// A session that its owner has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its id.
    pub session: String,
    /// Whose worker was told.
    pub pod: String,
    /// As it would stand in the `end` event.
    pub reason: String,
}

type Name = (String, String);

struct PlayedService {
    uid: String,
    selector: Selector,
    task: AbortHandle,
}

struct World {
    client: Client,
    settings: Settings,
    addresses: Addresses,
    behaviour: Mutex<Behaviour>,
    pods: Mutex<HashMap<Name, Arc<Handle>>>,
    services: Mutex<HashMap<Name, PlayedService>>,
    tasks: Mutex<JoinSet<()>>,
    ends: Mutex<VecDeque<End>>,
    connections: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn node_name(number: u8) -> String {
    format!("played-{number}")
}

impl World {
    fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.behaviour) = behaviour;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.settings.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    fn note_end(&self, end: End) {
        let mut ends = lock(&self.ends);
        if ends.len() == MAX_ENDS {
            ends.pop_front();
        }
        ends.push_back(end);
    }

    fn handle(&self, namespace: &str, name: &str) -> Option<Arc<Handle>> {
        lock(&self.pods).get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// `false`: there is no such pod, or it has too many orders waiting.
    fn order(&self, namespace: &str, name: &str, order: Order) -> bool {
        self.handle(namespace, name).is_some_and(|handle| handle.orders.try_send(order).is_ok())
    }

    fn views(&self) -> Vec<PodView> {
        let mut views: Vec<_> = lock(&self.pods).values().map(|handle| handle.view()).collect();
        views.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        views
    }

    /// A pod that a Service with this selector leads to.
    fn endpoint(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Option<Arc<Handle>> {
        lock(&self.pods).values().find(|handle| handle.is_served_by(namespace, selector)).cloned()
    }

    fn is_full(&self) -> bool {
        let pods = lock(&self.pods);
        let max = self.settings.max_pods;
        pods.len() > max && pods.values().filter(|handle| handle.is_scheduled()).count() >= max
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    fn is_mine(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(SESSION_LABEL).is_some_and(|session| self.settings.is_mine(session))
    }

    fn meet_pod(self: &Arc<Self>, pod: Pod) {
        let name = name_of(&pod);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !self.is_mine(pod.labels()) {
            return;
        }
        let known = lock(&self.pods).get(&name).cloned();
        let handle = match known.filter(|known| known.uid == uid) {
            Some(known) => known,
            None => match self.begin_pod(name, uid, &pod) {
                Some(begun) => begun,
                None => return,
            },
        };
        if pod.metadata.deletion_timestamp.is_some() && !handle.is_draining() {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
            let _ = handle.orders.try_send(Order::Leave { grace: u32::try_from(grace).unwrap_or_default() });
        }
    }

    fn begin_pod(self: &Arc<Self>, name: Name, uid: String, pod: &Pod) -> Option<Arc<Handle>> {
        self.forget_pod(&name, None);
        let Some(ip) = self.addresses.take_pod() else {
            tracing::warn!(pod = name.1, "no pod address is left");
            return None;
        };
        let (orders, ordered) = mpsc::channel(ORDERS);
        let identity = (name.0.clone(), name.1.clone(), uid);
        let handle = Arc::new(Handle::new(identity, pod.labels().clone(), ip.to_string(), orders));
        lock(&self.pods).insert(name.clone(), Arc::clone(&handle));
        let actor = pod::Actor::new(Arc::clone(self), Arc::clone(&handle), pod.clone());
        let (world, uid) = (Arc::clone(self), handle.uid.clone());
        self.spawn(async move {
            actor.run(ordered).await;
            world.forget_pod(&name, Some(&uid));
            world.addresses.give_back(ip);
        });
        Some(handle)
    }

    /// It is not there any more; with a uid, only that one.
    fn forget_pod(&self, name: &Name, uid: Option<&str>) {
        let mut pods = lock(&self.pods);
        if pods.get(name).is_some_and(|known| uid.is_none_or(|uid| known.uid == uid))
            && let Some(gone) = pods.remove(name)
        {
            gone.close();
        }
    }

    fn meet_service(self: &Arc<Self>, service: Service) {
        let name = name_of(&service);
        let uid = service.metadata.uid.clone().unwrap_or_default();
        if !self.is_mine(service.labels()) {
            return;
        }
        let selects = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        let mut services = lock(&self.services);
        if let Some(known) = services.get(&name).filter(|known| known.uid == uid) {
            *lock(&known.selector) = selects;
            return;
        }
        let selector = Arc::new(Mutex::new(selects));
        let balancer = Balancer::new(Arc::clone(self), &service, Arc::clone(&selector));
        let task = self.spawn(balancer.run(service));
        if let Some(before) = services.insert(name, PlayedService { uid, selector, task }) {
            before.task.abort();
        }
    }

    fn forget_service(&self, name: &Name) {
        if let Some(gone) = lock(&self.services).remove(name) {
            gone.task.abort();
        }
    }

    /// Nodes that pods are bound to.
    async fn make_nodes(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        for number in 1..=NODES {
            let params = PatchParams::apply("fake-kubelet").force();
            let name = node_name(number);
            let node = Node {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                ..Node::default()
            };
            nodes.patch(&name, &params, &Patch::Apply(&node)).await?;
            let address = self.addresses.node(number).to_string();
            let status = json!({"status": {
                "addresses": [{"type": "InternalIP", "address": address}, {"type": "ExternalIP", "address": address}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "played"}],
            }});
            nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        Ok(())
    }
}

fn name_of(object: &impl ResourceExt) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Follows all objects of a kind; what a new list does not show any more is gone.
async fn follow<K>(api: Api<K>, mut meet: impl FnMut(K), mut forget: impl FnMut(&Name))
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
    K: serde::de::DeserializeOwned,
{
    let events = watch(api, watcher::Config::default().labels(SELECTOR)).default_backoff();
    tokio::pin!(events);
    let (mut known, mut listed) = (HashSet::new(), HashSet::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(name_of(&object));
                meet(object);
            }
            Ok(Event::InitDone) => {
                known.difference(&listed).for_each(&mut forget);
                known = std::mem::take(&mut listed);
            }
            Ok(Event::Apply(object)) => {
                known.insert(name_of(&object));
                meet(object);
            }
            Ok(Event::Delete(object)) => {
                let name = name_of(&object);
                known.remove(&name);
                forget(&name);
            }
            // The API server restarts; the watcher lists again.
            Err(error) => tracing::debug!("watch: {error}"),
        }
    }
}

/// See the module. It ends with this value.
pub struct FakeKubelet {
    world: Arc<World>,
    control: SocketAddr,
    _tasks: JoinSet<()>,
}

impl FakeKubelet {
    /// Starts it on the current tokio runtime. The client needs every right on pods, Services, nodes and their statuses, and
    /// to read Secrets.
    ///
    /// # Errors
    /// The nodes cannot be made; the control port is taken.
    pub async fn start(client: Client, settings: Settings) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", settings.control_port)).await.context("control port")?;
        let control = listener.local_addr()?;
        let world = Arc::new(World {
            client,
            addresses: Addresses::claim()?,
            behaviour: Mutex::new(settings.behaviour.clone()),
            settings,
            pods: Mutex::new(HashMap::new()),
            services: Mutex::new(HashMap::new()),
            tasks: Mutex::new(JoinSet::new()),
            ends: Mutex::default(),
            connections: AtomicU64::new(1),
        });
        world.make_nodes().await?;
        let mut tasks = JoinSet::new();
        let (met, forgot) = (Arc::clone(&world), Arc::clone(&world));
        tasks.spawn(follow(
            world.api::<Pod>(),
            move |pod| met.meet_pod(pod),
            move |name| forgot.forget_pod(name, None),
        ));
        let (met, forgot) = (Arc::clone(&world), Arc::clone(&world));
        tasks.spawn(follow(
            world.api::<Service>(),
            move |service| met.meet_service(service),
            move |name| forgot.forget_service(name),
        ));
        let routes = control::routes(Arc::clone(&world));
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!("the control API ended: {error}");
            }
        });
        Ok(Self { world, control, _tasks: tasks })
    }

    /// Where the control API listens.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// Changes the behaviour towards pods and Services that begin from now on.
    pub fn set_behaviour(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.world.behaviour));
    }

    /// Pods that are played, by namespace and name.
    pub fn pods(&self) -> Vec<PodView> {
        self.world.views()
    }

    /// The newest ends, oldest first.
    pub fn ends(&self) -> Vec<End> {
        lock(&self.world.ends).iter().cloned().collect()
    }

    /// A pod's container ends with this code; 0 is the end of its work. `false`: there is no such pod.
    pub fn crash(&self, namespace: &str, name: &str, code: i32) -> bool {
        self.world.order(namespace, name, Order::Exit(code))
    }

    /// A pod is evicted. `false`: there is no such pod.
    pub fn evict(&self, namespace: &str, name: &str) -> bool {
        self.world.order(namespace, name, Order::Evict)
    }

    /// A pod's node is lost. `false`: there is no such pod.
    pub fn lose(&self, namespace: &str, name: &str) -> bool {
        self.world.order(namespace, name, Order::Lose)
    }

    /// A pod's worker hangs, until [`FakeKubelet::resume`] or until the liveness probe kills it after about a minute.
    /// `false`: there is no such pod.
    pub fn hang(&self, namespace: &str, name: &str) -> bool {
        self.world.order(namespace, name, Order::Hang)
    }

    /// A worker that hangs goes on. `false`: there is no such pod.
    pub fn resume(&self, namespace: &str, name: &str) -> bool {
        self.world.order(namespace, name, Order::Resume)
    }

    /// What a worker reports of the speech service (`idle|connecting|live|retrying|refused`, and a reason). `false`: there is
    /// no such pod.
    pub fn set_speech(&self, namespace: &str, name: &str, state: &str, reason: &str) -> bool {
        let handle = self.world.handle(namespace, name);
        handle.as_ref().map(|handle| handle.say(state.into(), reason.into())).is_some()
    }
}

impl Drop for FakeKubelet {
    fn drop(&mut self) {
        // Actors hold the world, and the world holds them.
        lock(&self.world.tasks).abort_all();
        lock(&self.world.pods).clear();
    }
}
