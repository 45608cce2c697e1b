//! An installation on a node of our own, with many sessions, and what it uses.

use crate::crowd::{Crowd, KEY};
use crate::report::Window;
use crate::servers::Servers;
use crate::steps::{Step, Steps};
use crate::usage::Reading;

use crate::world::{NAMESPACE, RELEASE, World};
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use roomscribe_cluster::Requests;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Creations under way at a time.
const CREATORS: usize = 16;
/// As RBAC knows it.
const OPERATOR: &str = "system:serviceaccount:roomscribe:roomscribe-operator";
const KUBELET: &str = "system:node:node-1";

/// See the module.
pub(crate) struct Installation {
    world: World,
    pub(crate) client: Client,
    pub(crate) steps: Arc<Steps>,
    folder: PathBuf,
    gateways: Vec<String>,
    /// Those who wait for first words.
    waiting: Mutex<Vec<Crowd>>,
}

/// Everything that is read at one moment.
pub(crate) struct Moment {
    reading: Reading,
    servers: Servers,
    operator: Requests,
    kubelet: Requests,
}

impl Moment {
    pub(crate) fn since(
        &self,
        earlier: &Self,
        name: &str,
        sessions: usize,
        viewers: Option<&Crowd>,
    ) -> Window {
        Window {
            name: name.into(),
            sessions,
            usage: self.reading.since(&earlier.reading),
            servers: self.servers.since(&earlier.servers),
            operator_writes: by_kind(&self.operator.since(&earlier.operator)),
            kubelet_writes: by_kind(&self.kubelet.since(&earlier.kubelet)),
            viewers: viewers.map(Crowd::take),
        }
    }
}

impl Installation {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let world = World::start().await?;
        let node = world.cluster.own_node()?;
        let (client, folder) = (node.api().client().await?, node.api().folder().to_owned());
        let gateways = gateways(&client).await?;
        let steps = Arc::new(Steps::watch(&client, NAMESPACE));
        Ok(Self { world, client, steps, folder, gateways, waiting: Mutex::default() })
    }

    /// Applies sessions `<prefix>-<n>` all at once; `watched`: a viewer waits for each one's first word.
    pub(crate) async fn begin(
        &self,
        prefix: &str,
        count: usize,
        requests: Option<&Value>,
        watched: bool,
    ) -> anyhow::Result<Vec<String>> {
        let names: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        for name in &names {
            self.world.join(name, "ada").await?;
        }
        let created = stream::iter(&names).map(|name| self.create(name, requests));
        created.buffer_unordered(CREATORS).try_collect::<()>().await?;
        if watched {
            self.waiting.lock().unwrap().push(Crowd::enter(&self.gateways, &names, 1, &self.steps));
        }
        Ok(names)
    }

    async fn create(&self, name: &str, requests: Option<&Value>) -> anyhow::Result<()> {
        let mut spec = TranscriptionSessionSpec::for_room(name);
        if let Some(requests) = requests {
            spec.worker = serde_json::from_value(json!({"resources": {"requests": requests}}))?;
        }
        self.steps.applied(name);
        self.sessions().create(&PostParams::default(), &TranscriptionSession::new(name, spec)).await?;
        Ok(())
    }

    pub(crate) async fn until(&self, sessions: &[String], step: Step, patience: Duration) -> bool {
        self.steps.until(patience, || self.steps.count(sessions, step) == sessions.len()).await
    }

    /// Notes when each one's first audio came, which the gateway knows once there are words.
    pub(crate) async fn ask_for_first_audio(&self, sessions: &[String]) -> anyhow::Result<()> {
        let gateway = self.gateways.first().context("no gateway")?;
        for name in sessions {
            let url = format!("http://{gateway}/v1/sessions/{name}");
            let document =
                reqwest::Client::new().get(url).bearer_auth(KEY).send().await?.error_for_status()?;
            let document: Value = serde_json::from_slice(&document.bytes().await?)?;
            if let Some(at) = document["mediaZeroAt"].as_str() {
                self.steps.note_at(name, Step::FirstAudio, at.parse()?);
            }
        }
        Ok(())
    }

    pub(crate) fn nobody_watches(&self) {
        self.waiting.lock().unwrap().clear();
    }

    /// Deletes them; seconds until they are gone.
    pub(crate) async fn end(&self, sessions: &[String]) -> anyhow::Result<f64> {
        self.nobody_watches();
        let (api, begun) = (self.sessions(), Instant::now());
        for name in sessions {
            api.delete(name, &DeleteParams::default()).await?;
        }
        let is_gone = async || {
            let left = api.list_metadata(&ListParams::default()).await?;
            Ok(left
                .items
                .iter()
                .all(|item| !sessions.iter().any(|name| item.metadata.name.as_ref() == Some(name))))
        };
        self.world.until("the sessions are gone", is_gone).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// The words of the first session that is not.
    pub(crate) async fn why_not_ready(&self, sessions: &[String]) -> anyhow::Result<String> {
        let name = sessions.first().context("all are")?;
        let status = self.sessions().get(name).await?.status.unwrap_or_default();
        let ready = condition::find(&status.conditions, ConditionType::Ready);
        let words = ready.map_or("no condition", |ready| &ready.message);
        Ok(format!("{} not Ready in time; {name}: {words}", sessions.len()))
    }

    /// Crowd that are connected, and have seen what came before them.
    pub(crate) async fn viewers(&self, sessions: &[String], each: usize) -> anyhow::Result<Crowd> {
        let viewers = Crowd::enter(&self.gateways, sessions, each, &self.steps);
        let all = sessions.len() * each;
        self.world.until("all viewers are greeted", async || Ok(viewers.greeted() >= all)).await?;
        Ok(viewers)
    }

    pub(crate) async fn reading(&self) -> anyhow::Result<Moment> {
        let api = self.world.cluster.own_node()?.api();
        Ok(Moment {
            servers: Servers::ask(&self.client, &self.world).await?,
            operator: api.requests(OPERATOR)?,
            kubelet: api.requests(KUBELET)?,
            reading: Reading::take(&self.client, &self.folder).await?,
        })
    }

    /// What is used in a while of which nothing is asked.
    pub(crate) async fn look(
        &self,
        name: &str,
        sessions: usize,
        viewers: Option<&Crowd>,
        window: Duration,
    ) -> anyhow::Result<Window> {
        let before = self.reading().await?;
        viewers.map(Crowd::take);
        tokio::time::sleep(window).await;
        let window = self.reading().await?.since(&before, name, sessions, viewers);
        eprintln!("looked: {name}, {sessions} sessions");
        Ok(window)
    }

    fn sessions(&self) -> Api<TranscriptionSession> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

/// `address:port` of each replica.
async fn gateways(client: &Client) -> anyhow::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), RELEASE);
    let wanted = ListParams::default().labels("app.kubernetes.io/component=gateway");
    let address = |pod: &Pod| Some(format!("{}:8080", pod.status.as_ref()?.pod_ip.as_ref()?));
    Ok(pods.list(&wanted).await?.items.iter().filter_map(address).collect())
}

fn by_kind(requests: &Requests) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    for (verb, resource, _, count) in requests.all() {
        if !matches!(verb, "get" | "list" | "watch") {
            *kinds.entry(format!("{verb} {resource}")).or_insert(0.0) += count as f64;
        }
    }
    kinds
}
