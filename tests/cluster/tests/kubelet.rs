//! The played kubelet on a real API server: what it plays is what the operator would see of a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::until;
use hmac::{Hmac, Mac};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use roomscribe_cluster::ApiServer;
use roomscribe_cluster::kubelet::{Behaviour, End, FakeKubelet, PodView, Settings};
use roomscribe_sims::rtmp_client::{Client, target};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const SECRET: [u8; 32] = [7; 32];

async fn api() -> &'static ApiServer {
    static API: OnceCell<ApiServer> = OnceCell::const_new();
    API.get_or_try_init(ApiServer::start).await.unwrap()
}

/// A namespace with a kubelet that plays only what is in it: sessions of other tests are another kubelet's.
struct World {
    kubelet: FakeKubelet,
    namespace: String,
    session: String,
    pods: Api<Pod>,
    services: Api<Service>,
    secrets: Api<Secret>,
}

impl World {
    async fn new(behaviour: Behaviour) -> Self {
        let api = api().await;
        let client = api.client().await.unwrap();
        let settings =
            Settings { behaviour, namespace: Some(api.namespace(&[]).await.unwrap()), ..Settings::default() };
        let namespace = settings.namespace.clone().unwrap();
        Self {
            kubelet: FakeKubelet::start(client.clone(), settings).await.unwrap(),
            session: format!("session-of-{namespace}"),
            pods: Api::namespaced(client.clone(), &namespace),
            services: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client, &namespace),
            namespace,
        }
    }

    fn labels(&self, attempt: u32) -> Value {
        json!({"app.kubernetes.io/part-of": "roomscribe", "roomscribe.io/session-uid": self.session, "roomscribe.io/attempt": attempt.to_string()})
    }

    async fn make_secret(&self) {
        let file = json!({"v": 1, "secret": URL_SAFE_NO_PAD.encode(SECRET)}).to_string();
        let secret =
            json!({"metadata": {"name": "ts-a"}, "stringData": {"session-1.json": file, "key": "k"}});
        self.secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    }

    async fn make_pod(&self, attempt: u32) {
        let pod = json!({
            "metadata": {"name": format!("ts-a-{attempt}"), "labels": self.labels(attempt)},
            "spec": {
                "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 30,
                "volumes": [{"name": "config", "secret": {"secretName": "ts-a", "items": [{"key": "session-1.json", "path": "session.json"}]}}],
                "containers": [{"name": "worker", "image": "worker:1", "env": [
                    {"name": "GLADIA_API_KEY", "valueFrom": {"secretKeyRef": {"name": "ts-a", "key": "key"}}}]}],
            },
        });
        self.pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    async fn make_service(&self, name: &str, kind: &str) {
        let selector = json!({"roomscribe.io/session-uid": self.session, "roomscribe.io/attempt": "1"});
        let service = json!({
            "metadata": {"name": name, "labels": self.labels(1)},
            "spec": {"type": kind, "selector": selector, "ports": [{"name": "rtmp", "port": 1935, "targetPort": "rtmp"}]},
        });
        self.services
            .create(&PostParams::default(), &serde_json::from_value(service).unwrap())
            .await
            .unwrap();
    }

    /// The address of a load balancer.
    async fn address(&self, name: &str) -> Option<String> {
        let status = self.services.get(name).await.unwrap().status?.load_balancer?;
        let ingress = status.ingress?.into_iter().next()?;
        ingress.ip.or(ingress.hostname)
    }

    async fn known_address(&self, name: &str) -> String {
        until("the Service has an address", async || self.address(name).await.is_some()).await;
        self.address(name).await.unwrap()
    }

    fn view(&self, attempt: u32) -> Option<PodView> {
        let name = format!("ts-a-{attempt}");
        self.kubelet.pods().into_iter().find(|view| view.name == name)
    }

    async fn until_ready(&self, attempt: u32) {
        let is_ready = async || {
            let pod = self.pods.get(&format!("ts-a-{attempt}")).await.unwrap();
            condition(&pod, "Ready").as_deref() == Some("True")
        };
        until("the pod is ready", is_ready).await;
    }

    async fn ready_with_service(behaviour: Behaviour) -> (Self, String) {
        let world = Self::new(behaviour).await;
        world.make_secret().await;
        world.make_pod(1).await;
        world.make_service("ts-a", "LoadBalancer").await;
        world.until_ready(1).await;
        let address = world.known_address("ts-a").await;
        (world, address)
    }

    async fn publish(&self, address: &str, attempt: u32) -> Option<Client> {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&SECRET).unwrap();
        mac.update(format!("rtmp{}{attempt}", self.session).as_bytes());
        let key = URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16]);
        self.publish_with(address, attempt, &key).await
    }

    async fn publish_with(&self, address: &str, attempt: u32, key: &str) -> Option<Client> {
        let url = format!("rtmp://{address}/live/0a1b2c3d/{}.{attempt}/{key}", self.session);
        let mut client = Client::publish(&target(&url).unwrap()).await.ok()?;
        client.metadata().await.ok()?;
        client.audio(0, &[0x11, 0x90], 0).await.ok()?;
        Some(client)
    }

    async fn status(&self, attempt: u32, query: &str) -> reqwest::Result<Value> {
        let ip = self.view(attempt).unwrap().ip;
        reqwest::get(format!("http://{ip}:9090/status{query}")).await?.json().await
    }

    fn state(&self, attempt: u32) -> &'static str {
        self.view(attempt).map_or("gone", |view| view.report.state)
    }
}

fn condition(pod: &Pod, kind: &str) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.clone())
}

fn waiting(pod: &Pod) -> Option<String> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

#[tokio::test]
async fn what_is_published_at_the_load_balancer_is_what_the_pod_reports() {
    let (world, address) = World::ready_with_service(Behaviour::default()).await;
    assert_eq!(world.status(1, "").await.unwrap()["state"], "listening");
    let version = world.status(1, "").await.unwrap()["version"].as_u64().unwrap();
    let query = format!("?since={version}&waitSeconds=30");
    let (polled, client) = tokio::join!(world.status(1, &query), world.publish(&address, 1));
    let polled = polled.unwrap();
    assert_eq!((&polled["state"], &polled["publisher"]["attempt"]), (&json!("publishing"), &json!(1)));

    let mut client = client.unwrap();
    client.audio(1, &[0x21], 40).await.unwrap();
    until("the audio is heard", async || world.view(1).unwrap().report.media_ms == 40).await;
    until("nothing more comes", async || world.state(1) == "silent").await;
    client.audio(1, &[0x21], 80).await.unwrap();
    until("it goes on", async || world.state(1) == "publishing").await;
    client.goodbye().await.unwrap();
    until("it has left", async || world.state(1) == "listening").await;
}

#[tokio::test]
async fn a_wrong_key_and_an_older_attempt_are_refused_and_a_newer_one_takes_over() {
    let (world, address) = World::ready_with_service(Behaviour::default()).await;
    assert!(world.publish_with(&address, 1, "wrong").await.is_none());
    let mut first = world.publish(&address, 2).await.unwrap();
    assert!(world.publish(&address, 1).await.is_none());
    let _second = world.publish(&address, 3).await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while first.audio(1, &[0x21], 40).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    ended.await.unwrap();
    let view = world.view(1).unwrap();
    assert_eq!((view.report.publisher.unwrap().attempt, view.publishes, view.refused), (3, 2, 2));
}

#[tokio::test]
async fn a_worker_that_crashes_breaks_its_connections_and_comes_back_with_its_exit_code_told() {
    let (world, address) = World::ready_with_service(Behaviour::default()).await;
    let mut client = world.publish(&address, 1).await.unwrap();
    let version = world.status(1, "").await.unwrap()["version"].as_u64().unwrap();
    assert!(world.kubelet.crash(&world.namespace, "ts-a-1", 75));
    client.listen().await;
    let told = async || {
        let pod = world.pods.get("ts-a-1").await.unwrap();
        let container = pod.status.unwrap().container_statuses.unwrap().remove(0);
        let exit = container.last_state.and_then(|last| last.terminated).map(|end| end.exit_code);
        container.restart_count == 1 && container.ready && exit == Some(75)
    };
    until("the container runs again", told).await;
    let again = world.status(1, "").await.unwrap();
    assert_eq!(again["state"], "listening");
    assert_ne!(again["version"].as_u64(), Some(version));
    assert!(world.kubelet.crash(&world.namespace, "ts-a-1", 0));
    let done = async || {
        world.pods.get("ts-a-1").await.unwrap().status.unwrap().phase.as_deref() == Some("Succeeded")
    };
    until("the pod is done", done).await;
}

#[tokio::test]
async fn a_deleted_pod_drains_and_goes_and_the_service_leads_to_the_next() {
    let behaviour = Behaviour { drain_s: [1.0, 1.0], ..Behaviour::default() };
    let (world, address) = World::ready_with_service(behaviour).await;
    let mut client = world.publish(&address, 1).await.unwrap();
    world.make_pod(2).await;
    world.until_ready(2).await;
    let selector = json!({"spec": {"selector": {"roomscribe.io/attempt": "2"}}});
    world.services.patch("ts-a", &PatchParams::default(), &Patch::Merge(selector)).await.unwrap();
    world.pods.delete("ts-a-1", &DeleteParams::default()).await.unwrap();
    until("it drains", async || world.state(1) == "draining").await;
    assert!(world.view(1).unwrap().report.publisher.is_some(), "a drain does not end the publisher at once");
    client.listen().await;
    until("the object is gone", async || world.pods.get_opt("ts-a-1").await.unwrap().is_none()).await;
    let _client = world.publish(&address, 2).await.unwrap();
    until("the next pod hears it", async || world.state(2) == "publishing").await;
}

#[tokio::test]
async fn a_pod_that_cannot_start_says_why_and_starts_when_it_can() {
    let behaviour = Behaviour {
        unschedulable: 1.0,
        unschedulable_s: 0.5,
        pull_fails: 1.0,
        pull_fails_s: 0.5,
        ..Behaviour::default()
    };
    let world = World::new(behaviour).await;
    let only_file = json!({"metadata": {"name": "ts-a"}, "stringData": {"session-1.json": "{}"}});
    world.secrets.create(&PostParams::default(), &serde_json::from_value(only_file).unwrap()).await.unwrap();
    world.make_pod(1).await;
    let pod = async || world.pods.get("ts-a-1").await.unwrap();
    until("unschedulable", async || condition(&pod().await, "PodScheduled").as_deref() == Some("False"))
        .await;
    until("no image", async || waiting(&pod().await).as_deref() == Some("ImagePullBackOff")).await;
    until("no key", async || waiting(&pod().await).as_deref() == Some("CreateContainerConfigError")).await;
    let patch = json!({"stringData": {"key": "k"}});
    world.secrets.patch("ts-a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    world.until_ready(1).await;
    assert!(pod().await.spec.unwrap().node_name.is_some());
}

#[tokio::test]
async fn addresses_are_numbers_or_names_late_or_changed_or_never() {
    let behaviour =
        Behaviour { hostname: 1.0, address_changes: 1.0, address_changes_s: 1.0, ..Behaviour::default() };
    let (world, name) = World::ready_with_service(behaviour).await;
    assert!(name.parse::<std::net::IpAddr>().is_err());
    until("the address changes", async || world.address("ts-a").await.is_some_and(|now| now != name)).await;
    let now = world.known_address("ts-a").await;
    until("the new name leads to the pod", async || world.publish(&now, 1).await.is_some()).await;
    assert!(world.publish(&name, 1).await.is_none());

    world
        .kubelet
        .set_behaviour(|behaviour| *behaviour = Behaviour { no_address: 1.0, ..Behaviour::default() });
    world.make_service("never", "LoadBalancer").await;
    world.make_service("inside", "ClusterIP").await;
    let inside = world.services.get("inside").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    until("a cluster address leads to the pod", async || world.publish(&inside, 1).await.is_some()).await;
    assert_eq!(world.address("never").await, None);
}

#[tokio::test]
async fn a_worker_that_hangs_answers_nothing_until_it_goes_on() {
    let (world, address) = World::ready_with_service(Behaviour::default()).await;
    let mut client = world.publish(&address, 1).await.unwrap();
    assert!(world.kubelet.hang(&world.namespace, "ts-a-1"));
    let not_ready =
        async || condition(&world.pods.get("ts-a-1").await.unwrap(), "Ready").as_deref() == Some("False");
    until("the probe fails", not_ready).await;
    let asked = tokio::time::timeout(std::time::Duration::from_millis(300), world.status(1, "")).await;
    assert!(asked.is_err());
    client.audio(1, &[0x21], 40).await.unwrap();
    assert!(world.kubelet.resume(&world.namespace, "ts-a-1"));
    world.until_ready(1).await;
    until("what waited is heard", async || world.view(1).unwrap().frames == 2).await;
}

#[tokio::test]
async fn a_worker_that_its_owner_ends_is_done_and_anybody_else_ends_nothing() {
    let (world, address) = World::ready_with_service(Behaviour::default()).await;
    let mut client = world.publish(&address, 1).await.unwrap();
    let url = format!("http://{}:9090/stop?reason=RoomEnded", world.view(1).unwrap().ip);
    let stop = async |token: &str| reqwest::Client::new().post(&url).bearer_auth(token).send().await.unwrap();
    assert_eq!(stop("wrong").await.status(), 401);
    assert_eq!((world.state(1), world.kubelet.ends()), ("publishing", vec![]));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&SECRET).unwrap();
    mac.update(format!("stop{}", world.session).as_bytes());
    let token = URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16]);
    assert_eq!(stop(&token).await.status(), 202);
    client.listen().await;
    let done = async || {
        world.pods.get("ts-a-1").await.unwrap().status.unwrap().phase.as_deref() == Some("Succeeded")
    };
    until("the pod is done", done).await;
    let end = End { session: world.session.clone(), pod: "ts-a-1".into(), reason: "RoomEnded".into() };
    assert_eq!(world.kubelet.ends(), [end]);
}

#[tokio::test]
async fn evicted_pods_and_pods_of_lost_nodes_look_like_that() {
    let behaviour = Behaviour { lost_node_s: 1.0, ..Behaviour::default() };
    let (world, address) = World::ready_with_service(behaviour).await;
    let mut client = world.publish(&address, 1).await.unwrap();
    assert!(world.kubelet.lose(&world.namespace, "ts-a-1"));
    client.listen().await;
    let lost = async || {
        let pod = world.pods.get("ts-a-1").await.unwrap();
        let is = |kind: &str| condition(&pod, kind).as_deref() == Some("True");
        is("ContainersReady") && !is("Ready")
    };
    until("the node controller marks it", lost).await;
    assert!(world.publish(&address, 1).await.is_none());
    world.pods.delete("ts-a-1", &DeleteParams::default()).await.unwrap();
    until("it goes when the node is given up", async || {
        world.pods.get_opt("ts-a-1").await.unwrap().is_none()
    })
    .await;

    world.make_pod(1).await;
    world.until_ready(1).await;
    assert!(world.kubelet.evict(&world.namespace, "ts-a-1"));
    let evicted = async || {
        let status = world.pods.get("ts-a-1").await.unwrap().status.unwrap();
        (status.phase.as_deref(), status.reason.as_deref()) == (Some("Failed"), Some("Evicted"))
    };
    until("it is evicted", evicted).await;
}

#[tokio::test]
async fn the_control_api_does_what_the_library_does() {
    let (world, _) = World::ready_with_service(Behaviour::default()).await;
    let url = format!("http://{}/fake", world.kubelet.control());
    let http = reqwest::Client::new();
    let pods: Value = http.get(format!("{url}/pods")).send().await.unwrap().json().await.unwrap();
    assert_eq!((pods[0]["name"].as_str(), pods[0]["ready"].as_bool()), (Some("ts-a-1"), Some(true)));
    let pod = format!("{url}/pods/{}/ts-a-1", world.namespace);
    let said =
        http.post(format!("{pod}/speech?state=refused&reason=CredentialsRefused")).send().await.unwrap();
    assert_eq!(said.status(), 204);
    assert_eq!(
        world.status(1, "").await.unwrap()["speech"],
        json!({"state": "refused", "reason": "CredentialsRefused"})
    );
    assert_eq!(http.post(format!("{pod}/dance")).send().await.unwrap().status(), 404);
    let unknown = http.put(format!("{url}/behaviour")).json(&json!({"dance": 1})).send().await.unwrap();
    assert_eq!(unknown.status(), 422);
    let known = http.put(format!("{url}/behaviour")).json(&json!({"pullFails": 0.5})).send().await.unwrap();
    assert_eq!(known.status(), 200);
    assert_eq!(http.post(format!("{pod}/crash?code=78")).send().await.unwrap().status(), 204);
    until("it restarts", async || world.view(1).unwrap().restarts == 1).await;
}
