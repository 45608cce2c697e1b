//! One installation on the shared API server: a namespace, a simulated LiveKit, a fake kubelet, and the real operator as a
//! process that is its ServiceAccount to the API server.

use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use roomscribe_cluster::kubelet::{FakeKubelet, Settings};
use roomscribe_cluster::{ApiServer, Operator, OperatorSettings, committed_rules};
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec, TranscriptionSessionStatus};
use roomscribe_sims::livekit::{Config, Keys, Person, Simulator, Truth};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

pub(crate) use roomscribe_cluster::{API_KEY as KEY, API_SECRET as SECRET};

const PATIENCE: Duration = Duration::from_secs(90);
/// Times real time: LiveKit's own waits.
const SPEED: f64 = 5.0;

/// One server for the tests that do not hurt it; it ends with the process.
pub(crate) async fn api() -> &'static ApiServer {
    static API: OnceCell<ApiServer> = OnceCell::const_new();
    let start = async {
        let api = ApiServer::start().await?;
        api.apply_crd().await?;
        Operator::install(&api).await?;
        anyhow::Ok(api)
    };
    API.get_or_try_init(|| start).await.unwrap()
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) async fn livekit(seed: u64) -> Simulator {
    let keys = Keys { api_key: KEY.into(), api_secret: SECRET.into() };
    let config = Config { speed: SPEED, seed, ..Config::repeating(keys) };
    Simulator::start(config).await.unwrap()
}

pub(crate) struct World {
    pub(crate) api: &'static ApiServer,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) user: String,
    pub(crate) livekit_url: String,
    pub(crate) kubelet: FakeKubelet,
    pub(crate) sessions: Api<TranscriptionSession>,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// A namespace where Pod Security Standards are enforced, and a ServiceAccount with the committed Role.
    pub(crate) async fn new(api: &'static ApiServer, livekit_url: &str) -> Self {
        let (everywhere, own) = committed_rules().unwrap();
        Self::with_rules(api, livekit_url, everywhere, own).await
    }

    /// The same with other rules: everywhere, and for the Lease.
    pub(crate) async fn with_rules(
        api: &'static ApiServer,
        livekit_url: &str,
        everywhere: Vec<PolicyRule>,
        own: Vec<PolicyRule>,
    ) -> Self {
        let (namespace, user) = Operator::namespace(api, everywhere, own).await.unwrap();
        let client = api.client().await.unwrap();
        let played = Settings { namespace: Some(namespace.clone()), ..Settings::default() };
        let kubelet = FakeKubelet::start(client.clone(), played).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("id"), format!("{:08x}", fastrand::u32(..))).unwrap();
        std::fs::write(folder.path().join("key"), [7; 32]).unwrap();
        Self {
            sessions: Api::namespaced(client.clone(), &namespace),
            livekit_url: livekit_url.to_owned(),
            api,
            client,
            namespace,
            user,
            kubelet,
            folder,
        }
    }

    pub(crate) fn install(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("id")).unwrap()
    }

    pub(crate) fn settings(&self) -> OperatorSettings {
        let settings = OperatorSettings::new(self.api, &self.user, &self.namespace, &self.livekit_url);
        settings.unwrap().with(&[("WATCH_NAMESPACES", &self.namespace)])
    }

    pub(crate) async fn operator(&self) -> Operator {
        self.operator_with(&[]).await
    }

    pub(crate) async fn operator_with(&self, environment: &[(&str, &str)]) -> Operator {
        let settings = self.settings().with(environment);
        Operator::start(&settings, self.folder.path()).await.unwrap()
    }

    pub(crate) async fn create(&self, name: &str, room: &str) -> TranscriptionSession {
        self.create_with(name, room, |_| {}).await
    }

    pub(crate) async fn create_with(
        &self,
        name: &str,
        room: &str,
        change: impl FnOnce(&mut TranscriptionSessionSpec),
    ) -> TranscriptionSession {
        let mut session = TranscriptionSession::new(name, TranscriptionSessionSpec::for_room(room));
        change(&mut session.spec);
        self.sessions.create(&PostParams::default(), &session).await.unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> Option<TranscriptionSessionStatus> {
        Some(self.sessions.get_opt(name).await.unwrap()?.status.unwrap_or_default())
    }

    pub(crate) async fn condition(&self, name: &str, kind: ConditionType) -> Option<Condition> {
        condition::find(&self.status(name).await?.conditions, kind).cloned()
    }

    /// Waits until the condition has this status and reason; an empty reason is any.
    pub(crate) async fn until_condition(
        &self,
        name: &str,
        kind: ConditionType,
        status: &str,
        reason: &str,
    ) -> Condition {
        let mut last = None;
        let begun = Instant::now();
        loop {
            let now = self.condition(name, kind).await;
            if let Some(found) = now
                .clone()
                .filter(|found| found.status == status && (reason.is_empty() || found.reason == reason))
            {
                return found;
            }
            last = now.or(last);
            assert!(begun.elapsed() < PATIENCE, "never: {name} {kind} {status} {reason}; last {last:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub(crate) async fn until_ready(&self, name: &str) {
        self.until_condition(name, ConditionType::Ready, "True", "").await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.sessions.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn until_gone(&self, name: &str) {
        until(&format!("{name} is gone"), async || self.sessions.get_opt(name).await.unwrap().is_none())
            .await;
    }

    /// Asks the session to end.
    pub(crate) async fn stop(&self, name: &str) {
        let patch = json!({"spec": {"desiredState": "Stopped"}});
        self.sessions.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// What workers here were told at `POST /stop`, oldest first, as `pod: reason`.
    pub(crate) fn ends(&self) -> Vec<String> {
        self.kubelet.ends().into_iter().map(|end| format!("{}: {}", end.pod, end.reason)).collect()
    }

    /// Names of what the operator has made here: pods, services and secrets.
    pub(crate) async fn children(&self) -> Vec<String> {
        let listed = self
            .api
            .kubectl(&["get", "pods,services,secrets", "-o", "name", "-n", &self.namespace])
            .await
            .unwrap();
        listed.lines().map(str::to_owned).collect()
    }

    /// Kubernetes events of a session, as `reason: note`.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let kind = kube::core::GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
        let events: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &kube::core::ApiResource::from_gvk(&kind),
        );
        let all = events.list(&ListParams::default()).await.unwrap();
        let ours = |event: &DynamicObject| event.data["regarding"]["name"] == json!(name);
        let shown = |event: DynamicObject| {
            let text = |field: &str| event.data[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("reason"), text("note"))
        };
        all.items.into_iter().filter(ours).map(shown).collect()
    }
}

/// Somebody with an open microphone.
pub(crate) fn join(livekit: &Simulator, room: &str, identity: &str) {
    livekit.join(room, &Person::speaking(identity));
}

/// Egresses that may still send, of one installation or of all.
pub(crate) fn live(livekit: &Simulator, install: Option<&str>) -> Vec<Truth> {
    let lives = |egress: &Truth| {
        let ours =
            install.is_none_or(|install| egress.outputs.iter().any(|output| output.url.contains(install)));
        ours && egress.lives()
    };
    livekit.egresses().into_iter().filter(lives).collect()
}
