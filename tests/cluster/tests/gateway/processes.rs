//! The program itself: two processes over one real NATS and one real API server, as a Deployment runs them.

use crate::nats_server::{NatsServer, free_port, settings};
use crate::viewers::{Endpoints, watch};
use crate::world::{KEY, Replica, World, api, until};
use futures_util::future::join_all;
use roomscribe_cluster::{ApiServer, Part};
use roomscribe_transcript::Log;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const VIEWERS: usize = 100;
const PASSWORD: &str = "the-password-of-this-nats";
/// A drain takes two seconds here.
const END_WAIT: Duration = Duration::from_secs(40);

/// The built program: beside the running test.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let mut beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("roomscribe-gateway"));
    beside.find(|path| path.exists()).expect(
        "the gateway is not built: cargo build -p roomscribe-gateway --features roomscribe-gateway/cluster",
    )
}

/// With a password, which this NATS does not ask for.
fn url(nats: &NatsServer) -> String {
    nats.url().replace("nats://", &format!("nats://gateway:{PASSWORD}@"))
}

/// One process; killed with this value.
struct Process {
    replica: Replica,
    child: Child,
    metrics: String,
    folder: TempDir,
}

impl Process {
    fn start(world: &World<'_>, nats_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("id"), "9f2c01ab").unwrap();
        std::fs::write(folder.path().join("key"), [7; 32]).unwrap();
        let [http, metrics] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program())
            .env_clear()
            .env("KUBECONFIG", world.api.kubeconfig(&world.user).unwrap())
            .env("POD_NAMESPACE", &world.namespaces[0])
            .env("HTTP_LISTEN", &http)
            .env("METRICS_LISTEN", &metrics)
            .env("INSTALL_DIR", folder.path())
            .env("NATS_URL", nats_url)
            .env("ROOMSCRIBE_API_KEY", KEY)
            .env("SETTLE_SECONDS", "1")
            .env("DRAIN_SECONDS", "1")
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { replica: Replica::at(&format!("http://{http}")), child, metrics, folder }
    }

    async fn ready(world: &World<'_>, nats_url: &str) -> Self {
        let mut process = Self::start(world, nats_url);
        until("a process is ready", async || {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", process.said());
            process.is_ready().await
        })
        .await;
        process
    }

    async fn is_ready(&self) -> bool {
        let page = reqwest::get(format!("http://{}/readyz", self.metrics)).await;
        page.is_ok_and(|page| page.status() == 200)
    }

    /// What /readyz says.
    async fn until_it_waits_for(&self, what: &str) -> String {
        let mut seen = String::new();
        until("/readyz says what is waited for", async || {
            let Ok(page) = reqwest::get(format!("http://{}/readyz", self.metrics)).await else {
                return false;
            };
            let status = page.status();
            seen = page.text().await.unwrap();
            status == 503 && seen.contains(what)
        })
        .await;
        seen
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// SIGTERM.
    fn leave(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    async fn ended(&mut self, within: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {}", self.said())).unwrap()
    }

    /// Its log is JSON, and has neither keys nor what was said.
    fn assert_discreet(&self) {
        let said = self.said();
        assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
        for secret in [PASSWORD, KEY, "words 1"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}

/// As a Deployment with maxUnavailable 0 does it.
async fn replace(world: &World<'_>, endpoints: &Endpoints, nats_url: &str, mut old: Process) -> Process {
    let new = Process::ready(world, nats_url).await;
    endpoints.add(&new.replica.base);
    old.leave();
    until("the old one says that it leaves", async || !old.is_ready().await).await;
    endpoints.remove(&old.replica.base);
    assert_eq!(old.ended(END_WAIT).await.code(), Some(0), "{}", old.said());
    old.assert_discreet();
    new
}

/// As a node dies.
async fn lose(world: &World<'_>, endpoints: &Endpoints, nats_url: &str, mut old: Process) -> Process {
    old.child.kill().await.unwrap();
    endpoints.remove(&old.replica.base);
    let new = Process::ready(world, nats_url).await;
    endpoints.add(&new.replica.base);
    new
}

/// Somebody speaks all the while.
async fn while_speaking<T>(
    world: &World<'_>,
    id: &str,
    head: &mut u64,
    happens: impl Future<Output = T>,
) -> T {
    tokio::pin!(happens);
    loop {
        tokio::select! {
            done = &mut happens => return done,
            () = tokio::time::sleep(Duration::from_millis(30)) => {
                *head += 1;
                world.speak(id, *head).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_show_one_session_and_viewers_have_every_offset_once_while_both_are_replaced_and_one_dies()
 {
    let (nats, mut world) = (NatsServer::start(""), World::new(api().await).await);
    let at = url(&nats);
    let (first, second) = tokio::join!(Process::ready(&world, &at), Process::ready(&world, &at));
    world.log = Log::nats(settings(at.clone())).await.unwrap();
    let (status, made) = first.replica.post(json!({"name": "all-hands", "roomName": "all-hands"})).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    until("the other knows it", async || second.replica.get("/v1/sessions/all-hands").await.status() == 200)
        .await;
    let (status, again) = second.replica.post(json!({"roomName": "all-hands"})).await;
    assert_eq!((status, again["id"].as_str()), (200, Some(id.as_str())));
    world.speak(&id, 20).await;
    // First they are all at the process that did not start it.
    let endpoints = Endpoints::default();
    endpoints.add(&second.replica.base);
    let viewers: Vec<_> = (0..VIEWERS).map(|_| watch(&endpoints, &id)).collect();
    until("all watch", async || second.replica.viewers().await >= VIEWERS as f64).await;
    endpoints.add(&first.replica.base);
    let mut head = 20;
    let second = while_speaking(&world, &id, &mut head, replace(&world, &endpoints, &at, second)).await;
    let first = while_speaking(&world, &id, &mut head, replace(&world, &endpoints, &at, first)).await;
    let second = while_speaking(&world, &id, &mut head, lose(&world, &endpoints, &at, second)).await;
    world.speak(&id, head + 20).await;
    // The end comes from a gateway: no worker is left. Both see it, and one writes it.
    world.finish("all-hands", "RoomEnded").await;
    let expected: Vec<u64> = (1..=head + 21).collect();
    for seen in join_all(viewers).await {
        let seen = seen.unwrap();
        assert_eq!(seen.offsets, expected);
        assert!(seen.closes.contains(&1001), "{:?}: it was sent elsewhere", seen.closes);
    }
    let export = format!("/v1/sessions/{id}/transcript?format=json");
    let [one, other] = [first.replica.json(&export).await, second.replica.json(&export).await];
    assert_eq!(one, other);
    assert_eq!(world.ends(&id).await.len(), 1);
    first.assert_discreet();
    second.assert_discreet();
}

#[tokio::test]
async fn without_nats_it_waits_and_readyz_names_it_without_the_password() {
    let (world, port) = (World::new(api().await).await, free_port());
    let process = Process::start(&world, &format!("nats://gateway:{PASSWORD}@127.0.0.1:{port}"));
    let said = process.until_it_waits_for("NATS at nats://127.0.0.1").await;
    assert!(said.contains("NATS_URL") && !said.contains(PASSWORD), "{said}");
    let alive = reqwest::get(format!("http://{}/healthz", process.metrics)).await.unwrap();
    assert_eq!(alive.status(), 200, "it is not to be killed for that");
    let _nats = NatsServer::on(port, "");
    until("it is ready once NATS is", async || process.is_ready().await).await;
    process.assert_discreet();
}

#[tokio::test]
async fn without_an_api_server_it_waits_says_who_must_look_and_ends_when_asked() {
    let (nats, api) = (NatsServer::start(""), ApiServer::start().await.unwrap());
    let world = World::new(&api).await;
    api.kill(Part::ApiServer).unwrap();
    let mut process = Process::start(&world, &url(&nats));
    let said = process.until_it_waits_for("the Kubernetes API").await;
    assert!(said.contains("whoever runs the cluster") && !said.contains(KEY), "{said}");
    process.leave();
    assert_eq!(process.ended(END_WAIT).await.code(), Some(0), "{}", process.said());
    process.assert_discreet();
}
