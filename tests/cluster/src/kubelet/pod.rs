//! The actor of one pod: does what its life says, and writes its status.

use super::World;
use super::handle::{Handle, Order};
use super::life::{Life, Phase, after};
use super::settings::Chooser;
use super::{keys, page};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);
/// Between two tries of an API call; a restarting API server is waited for.
const RETRY: Duration = Duration::from_millis(300);

pub(super) struct Actor {
    world: Arc<World>,
    handle: Arc<Handle>,
    life: Life,
    node: String,
    pod: Pod,
    written: Option<Value>,
    page: JoinSet<()>,
    is_serving: bool,
    leaves_at: Option<Timestamp>,
    drain: f64,
}

/// Somebody deleted it, or it is another one of the same name.
struct Gone;

impl Actor {
    pub(super) fn new(world: Arc<World>, handle: Arc<Handle>, pod: Pod) -> Self {
        let (chooser, behaviour) = (
            Chooser::new(world.settings.seed, &format!("{}/{}", handle.namespace, handle.name)),
            world.behaviour(),
        );
        let number = chooser.within("node", [1.0, 4.0]) as u8;
        let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone());
        let life = Life::new(
            &chooser,
            &behaviour,
            handle.ip.clone(),
            world.addresses.node(number).to_string(),
            image.unwrap_or_default(),
            Timestamp::now(),
        );
        let drain = chooser.within("drain", behaviour.drain_s);
        Self {
            world,
            handle,
            life,
            node: super::node_name(number),
            pod,
            written: None,
            page: JoinSet::new(),
            is_serving: false,
            leaves_at: None,
            drain,
        }
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while self.step().await.is_ok() {
            let due = [self.life.due(), self.leaves_at, self.handle.tick(Timestamp::now())];
            let due = due.into_iter().flatten().min();
            let wait =
                due.map_or(IDLE, |due| due.duration_since(Timestamp::now()).try_into().unwrap_or_default());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(&order),
                    None => break,
                },
                () = self.handle.poke.notified() => {}
                () = sleep(wait) => {}
            }
        }
        self.page.abort_all();
        self.handle.end_process();
    }

    fn obey(&mut self, order: &Order) {
        let now = Timestamp::now();
        match order {
            Order::Leave { grace } => {
                let stays = match self.life.phase() {
                    Phase::Lost => self.world.behaviour().lost_node_s,
                    _ if self.life.runs() => self.drain.min(f64::from(*grace)),
                    _ => 0.0,
                };
                self.handle.drain();
                self.leaves_at.get_or_insert_with(|| after(now, stays));
            }
            Order::Exit(code) => self.life.exit(*code, now),
            Order::Evict => self.life.evict(now),
            Order::Lose => self.life.lose(),
            Order::Hang => self.life.hang(now),
            Order::Resume => self.life.resume(now),
        }
        self.handle.hung.send_if_modified(|hung| std::mem::replace(hung, self.life.is_hung()) != *hung);
    }

    /// Everything that is due.
    async fn step(&mut self) -> Result<(), Gone> {
        let now = Timestamp::now();
        if self.handle.is_gone() {
            return Err(Gone);
        }
        if self.leaves_at.is_some_and(|at| at <= now) {
            self.stop();
            return self.delete().await;
        }
        while let Some(next) = self.life.next(Timestamp::now()) {
            let now = Timestamp::now();
            match next {
                Phase::Creating if self.world.is_full() => self.life.postpone(now),
                Phase::Creating => {
                    self.bind().await?;
                    self.life.advance(now);
                }
                Phase::Running if !self.life.runs() => match self.secrets().await? {
                    Secrets::Ready(secret) => {
                        if secret.is_some() || !self.life.has_run() {
                            self.handle.set_secret(secret);
                        }
                        self.life.advance(now);
                    }
                    Secrets::NoVolume => self.life.lacks_secret(None, now),
                    Secrets::NoVariable(message) => self.life.lacks_secret(Some(message), now),
                },
                _ => self.life.advance(now),
            }
        }
        match (self.life.runs(), self.is_serving) {
            (true, false) => self.start().await,
            (false, true) => self.stop(),
            _ => {}
        }
        self.handle.show(self.life.phase(), self.life.restarts());
        self.write().await
    }

    async fn start(&mut self) {
        self.handle.begin_process(self.life.restarts());
        // The page of the process before may be closing still.
        while self.page.join_next().await.is_some() {}
        match TcpListener::bind((self.handle.ip.as_str(), page::PORT)).await {
            Ok(listener) => {
                self.page.spawn(page::serve(listener, Arc::clone(&self.world), Arc::clone(&self.handle)));
            }
            Err(error) => {
                tracing::error!(pod = self.handle.name, ip = self.handle.ip, "cannot listen: {error}")
            }
        }
        self.is_serving = true;
    }

    fn stop(&mut self) {
        self.page.abort_all();
        self.handle.end_process();
        self.is_serving = false;
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.world.client.clone(), &self.handle.namespace)
    }

    async fn bind(&self) -> Result<(), Gone> {
        if self.pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
            return Ok(());
        }
        let name = &self.handle.name;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": self.handle.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.node},
        });
        let (pods, params) = (&self.pods(), &PostParams::default());
        let (uid, binding) = (self.handle.uid.as_str(), &binding);
        until_done(|| async move {
            match pods.create_subresource::<_, Value>("binding", name, params, binding).await {
                // An answer was lost, or another run of this program bound it.
                Err(kube::Error::Api(status)) if status.is_conflict() => match pods.get_opt(name).await? {
                    Some(pod) if pod.metadata.uid.as_deref() == Some(uid) => Ok(Some(())),
                    _ => Ok(None),
                },
                other => found(other).map(|found| found.map(drop)),
            }
        })
        .await
    }

    async fn write(&mut self) -> Result<(), Gone> {
        let Some(status) = self.life.status().filter(|status| self.written.as_ref() != Some(status)) else {
            return Ok(());
        };
        let patch = Patch::Merge(json!({"metadata": {"uid": self.handle.uid}, "status": status}));
        let (pods, params) = (&self.pods(), &PatchParams::default());
        let (name, patch) = (self.handle.name.as_str(), &patch);
        until_done(|| async move {
            match pods.patch_status(name, params, patch).await {
                // The uid is another one's.
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_invalid() => {
                    tracing::debug!(pod = name, "status refused: {status}");
                    Ok(None)
                }
                other => found(other).map(|found| found.map(drop)),
            }
        })
        .await?;
        self.written = Some(status);
        Ok(())
    }

    /// What the kubelet does when all is over: the object goes.
    async fn delete(&self) -> Result<(), Gone> {
        let preconditions = Preconditions { uid: Some(self.handle.uid.clone()), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let (pods, name, params) = (&self.pods(), self.handle.name.as_str(), &params);
        until_done(|| async move {
            match pods.delete(name, params).await {
                Err(kube::Error::Api(status)) if status.is_conflict() => Ok(None),
                other => found(other).map(|found| found.map(drop)),
            }
        })
        .await?;
        Err(Gone)
    }

    /// The Secrets that the pod names. A pod that has run keeps its volumes as they were mounted; variables are read for every
    /// container anew.
    async fn secrets(&self) -> Result<Secrets, Gone> {
        let secrets: Api<Secret> = Api::namespaced(self.world.client.clone(), &self.handle.namespace);
        let wanted = wanted(&self.pod);
        let mut known = BTreeMap::new();
        for Wanted { name, .. } in &wanted {
            if !known.contains_key(name) {
                let secrets = &secrets;
                let secret =
                    until_done(|| async move { Ok(Some(secrets.get_opt(name.as_str()).await?)) }).await?;
                known.insert(name.clone(), secret.map(|secret| secret.data.unwrap_or_default()));
            }
        }
        let mut session_file = None;
        for Wanted { name, key, path } in wanted {
            let data = known.get(&name).and_then(Option::as_ref);
            match (data, data.and_then(|data| data.get(&key))) {
                (_, Some(value)) if path.as_deref() == Some("session.json") => {
                    session_file = keys::secret(&value.0);
                }
                (_, Some(_)) => {}
                (_, None) if path.is_some() && self.life.has_run() => {}
                (_, None) if path.is_some() => return Ok(Secrets::NoVolume),
                (None, None) => return Ok(Secrets::NoVariable(format!("secret \"{name}\" not found"))),
                (Some(_), None) => {
                    let message =
                        format!("couldn't find key {key} in Secret {}/{name}", self.handle.namespace);
                    return Ok(Secrets::NoVariable(message));
                }
            }
        }
        Ok(Secrets::Ready(session_file))
    }
}

enum Secrets {
    /// All are there; the session secret, when there is a session file.
    Ready(Option<Vec<u8>>),
    /// A volume cannot be mounted.
    NoVolume,
    /// A variable has no value.
    NoVariable(String),
}

/// A key of a Secret that the container needs: as a file of this path, or as a variable.
struct Wanted {
    name: String,
    key: String,
    path: Option<String>,
}

/// A volume without items needs no key.
fn wanted(pod: &Pod) -> Vec<Wanted> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut wanted = Vec::new();
    for source in spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref()) {
        let name = source.secret_name.clone().unwrap_or_default();
        let keys = source.items.iter().flatten().map(|item| Wanted {
            name: name.clone(),
            key: item.key.clone(),
            path: Some(item.path.clone()),
        });
        wanted.extend(keys);
    }
    for variable in spec.containers.iter().flat_map(|container| container.env.iter().flatten()) {
        let reference = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        let needed = reference.filter(|reference| reference.optional != Some(true));
        wanted.extend(needed.map(|reference| Wanted {
            name: reference.name.clone(),
            key: reference.key.clone(),
            path: None,
        }));
    }
    wanted
}

/// `None` for what is not there any more.
fn found<A>(answer: kube::Result<A>) -> kube::Result<Option<A>> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// Again and again until the API server has answered; `None` is [`Gone`].
async fn until_done<A, F>(call: impl Fn() -> F) -> Result<A, Gone>
where
    F: Future<Output = kube::Result<Option<A>>>,
{
    loop {
        match call().await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => return Err(Gone),
            Err(error) => {
                tracing::debug!("again: {error}");
                sleep(RETRY).await;
            }
        }
    }
}
