//! Namespaces of a test, and replicas of the gateway that serve them over one log.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use reqwest::{Method, Response};
use roomscribe_cluster::ApiServer;
use roomscribe_crds::TranscriptionSession;
use roomscribe_crds::stream_key::InstallKey;
use roomscribe_gateway::cluster::{ClusterSessions, Install, Place};
use roomscribe_gateway::{Auth, Config, Secret, Sessions, app};
use roomscribe_transcript::{Append, Event, Final, Generation, Log, MediaMs, Offset, SegmentId, SessionId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "the-api-key-of-this-test";
const JWT_SECRET: &str = "a shared secret of at least 32 bytes";
const RBAC: &str = include_str!("../../../../gateway/rbac.yaml");
const PATIENCE: Duration = Duration::from_secs(60);

/// One server for the tests that do not hurt it; it ends with the process.
pub(crate) async fn api() -> &'static ApiServer {
    static API: OnceCell<ApiServer> = OnceCell::const_new();
    let start = async {
        let api = ApiServer::start().await?;
        api.apply_crd().await?;
        anyhow::Ok(api)
    };
    API.get_or_try_init(|| start).await.unwrap()
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the committed file allows in a namespace.
pub(crate) fn committed_rules() -> Vec<PolicyRule> {
    let documents = RBAC.split("\n---").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let role = documents.into_iter().find(|value| value["kind"] == "Role").unwrap();
    serde_json::from_value::<Role>(role).unwrap().rules.unwrap()
}

pub(crate) struct World<'a> {
    pub(crate) api: &'a ApiServer,
    pub(crate) client: kube::Client,
    pub(crate) namespaces: Vec<String>,
    pub(crate) user: String,
    pub(crate) log: Log,
    pub(crate) defaults: Value,
}

impl<'a> World<'a> {
    pub(crate) async fn new(api: &'a ApiServer) -> Self {
        Self::with(api, 1, committed_rules()).await
    }

    pub(crate) async fn with(api: &'a ApiServer, namespaces: usize, rules: Vec<PolicyRule>) -> Self {
        let mut names = Vec::new();
        for _ in 0..namespaces {
            names.push(api.namespace(&[]).await.unwrap());
        }
        let user = format!("system:serviceaccount:{}:roomscribe-gateway", names[0]);
        for name in &names {
            api.grant(&user, Some(name), rules.clone()).await.unwrap();
        }
        let client = api.client().await.unwrap();
        Self { api, client, namespaces: names, user, log: Log::memory(), defaults: json!({}) }
    }

    /// A replica whose first lists are complete.
    pub(crate) async fn replica(&self) -> Replica {
        let replica = self.replica_at_once().await;
        until("a replica is ready", async || replica.get("/readyz").await.status() == 200).await;
        replica
    }

    pub(crate) async fn replica_at_once(&self) -> Replica {
        let client = self.api.client_as(&self.user).await.unwrap();
        let install = Install { id: "9f2c01ab".into(), key: InstallKey::new([7; 32]) };
        let retention = Duration::from_secs(30 * 24 * 3600);
        let place = Place { namespaces: self.namespaces.clone(), install, retention };
        let sessions = ClusterSessions::start(client, place, self.log.clone());
        let mut config = Config::new(Auth::Required {
            api_keys: vec![Secret::new(KEY)],
            jwt_secret: Some(Secret::new(JWT_SECRET)),
        });
        config.session_defaults = self.defaults.as_object().cloned().unwrap();
        (config.settle, config.drain) = (Duration::from_secs(1), Duration::from_secs(1));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let gateway = app(config, sessions as Arc<dyn Sessions>, self.log.clone());
        let task = tokio::spawn(gateway.serve(listener, async { drop(stopped.await) }));
        Replica { base, http: reqwest::Client::new(), stop: Mutex::new(Some(stop)), task: Some(task) }
    }

    pub(crate) fn resources(&self) -> Api<TranscriptionSession> {
        Api::namespaced(self.client.clone(), &self.namespaces[0])
    }

    pub(crate) async fn count(&self) -> usize {
        self.resources().list(&Default::default()).await.unwrap().items.len()
    }

    /// As kubectl makes it, in the namespace of this number.
    pub(crate) async fn apply(&self, namespace: usize, name: &str, room: &str) -> String {
        let api: Api<TranscriptionSession> =
            Api::namespaced(self.client.clone(), &self.namespaces[namespace]);
        let spec = roomscribe_crds::TranscriptionSessionSpec::for_room(room);
        let made = api.create(&Default::default(), &TranscriptionSession::new(name, spec)).await.unwrap();
        made.uid().unwrap()
    }

    /// Plays the operator.
    pub(crate) async fn status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.resources().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Plays the operator that has ended a session.
    pub(crate) async fn finish(&self, name: &str, reason: &str) {
        let at = k8s_openapi::jiff::Timestamp::now();
        let condition = json!({"type": "Succeeded", "status": "True", "reason": reason, "message": "", "lastTransitionTime": format!("{at:.0}")});
        self.status(
            name,
            json!({"summary": "Succeeded", "conditions": [condition], "completedAt": format!("{at:.0}")}),
        )
        .await;
    }

    /// Plays a worker: finals up to this head.
    pub(crate) async fn speak(&self, id: &str, to: u64) {
        let id = SessionId::parse(id).unwrap();
        let mut head = self.log.open(&id).await.unwrap().head;
        while head.0 < to {
            let event = Event::Final(words(head.0 + 1));
            let append = Append { generation: Generation(1), expected_head: head, event, note: None };
            head = self.log.append(&id, append).await.unwrap().head;
        }
    }

    /// Reasons of all `end`s of a log, with the attempt of their writer.
    pub(crate) async fn ends(&self, id: &str) -> Vec<(String, u32)> {
        let id = SessionId::parse(id).unwrap();
        let records = self.log.read(&id, Offset(0), 1000).await.unwrap_or_default();
        let end = |record: &Arc<roomscribe_transcript::Record>| match &record.event {
            Event::End(end) => Some((end.reason.clone(), record.generation.0)),
            _ => None,
        };
        records.iter().filter_map(end).collect()
    }
}

fn words(offset: u64) -> Final {
    Final {
        seg: SegmentId(format!("1-{offset}")),
        start_ms: MediaMs(offset * 1000),
        end_ms: MediaMs(offset * 1000 + 900),
        speaker: None,
        language: None,
        text: format!("words {offset}"),
        words: Vec::new(),
        confidence: None,
        at: "2026-11-26T10:00:00.000Z".into(),
    }
}

pub(crate) struct Replica {
    pub(crate) base: String,
    http: reqwest::Client,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.take().inspect(JoinHandle::abort);
    }
}

impl Replica {
    /// One that somebody else runs.
    pub(crate) fn at(base: &str) -> Self {
        Self { base: base.to_owned(), http: reqwest::Client::new(), stop: Mutex::new(None), task: None }
    }

    /// SIGTERM, as it were.
    pub(crate) fn leave(&self) {
        drop(self.stop.lock().unwrap().take());
    }

    /// Waits for its end.
    pub(crate) async fn gone(mut self) {
        let task = self.task.take().unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("it ends").unwrap().unwrap();
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/readyz").await.status() == 200
    }

    /// WebSockets open now.
    pub(crate) async fn viewers(&self) -> f64 {
        let page = self.get("/metrics").await.text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("roomscribe_gateway_viewers "));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.bearer_auth(KEY);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        tokio::time::timeout(PATIENCE, request.send()).await.expect("an answer").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[], None).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    pub(crate) async fn as_viewer(&self, path: &str, claims: Value) -> Response {
        let token = format!("Bearer {}", jwt(claims));
        self.ask(Method::GET, path, &[("authorization", &token)], None).await
    }

    pub(crate) async fn post(&self, body: Value) -> (u16, Value) {
        answer(self.ask(Method::POST, "/v1/sessions", &[], Some(body)).await).await
    }

    pub(crate) async fn post_once(&self, key: &str, body: Value) -> (u16, Value) {
        answer(self.ask(Method::POST, "/v1/sessions", &[("idempotency-key", key)], Some(body)).await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::DELETE, path, &[], None).await).await
    }

    pub(crate) async fn state(&self, key: &str) -> (String, String) {
        let document = self.json(&format!("/v1/sessions/{key}")).await;
        let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }
}

pub(crate) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// Pointers of a problem, and its details.
pub(crate) fn pointers(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

fn jwt(mut claims: Value) -> String {
    claims["aud"] = "roomscribe".into();
    claims["exp"] = 4_102_444_800_u64.into();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(JWT_SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
