//! The process around the gateway: its settings, its two doors, its end.

use crate::viewers::{Endpoints, watch};
use crate::world::{KEY, Replica, World, api, until};
use clap::Parser;
use roomscribe_gateway::cluster::Place;
use roomscribe_gateway::cluster::door::Door;
use roomscribe_gateway::cluster::settings::Args;
use roomscribe_gateway::cluster::start;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A port of each door; nobody else takes them in the moment between.
fn ports() -> [String; 2] {
    let bound = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    bound.map(|listener| listener.local_addr().unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_end_says_so_first_and_sends_its_viewers_to_the_others() {
    let world = World::new(api().await).await;
    let [http, metrics] = ports();
    let install = tempfile::tempdir().unwrap();
    std::fs::write(install.path().join("id"), "9f2c01ab\n").unwrap();
    std::fs::write(install.path().join("key"), [7; 32]).unwrap();
    let flags = [
        ("--http-listen", http.as_str()),
        ("--metrics-listen", metrics.as_str()),
        ("--gateway-namespaces", world.namespaces[0].as_str()),
        ("--install-dir", install.path().to_str().unwrap()),
        ("--nats-url", "nats://not-asked-here:4222"),
        ("--api-key", KEY),
        ("--session-defaults", r#"{"ingest": {"exposure": "ClusterIP"}}"#),
        ("--settle-seconds", "1"),
        ("--drain-seconds", "1"),
    ];
    let args = Args::parse_from(
        std::iter::once("gateway").chain(flags.iter().flat_map(|(flag, value)| [*flag, *value])),
    );
    let place = Place {
        namespaces: args.namespaces(),
        install: args.install().unwrap(),
        retention: args.retention(),
    };
    let client = world.api.client_as(&world.user).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (config, log) = (start::config(&args).unwrap(), world.log.clone());
    let process = tokio::spawn(async move {
        let door = Door::open(args.metrics_listen)?;
        start::serve(door, &args, config, place, log, client, async { drop(stopped.await) }).await
    });
    let page = async |page: &str| {
        reqwest::get(format!("http://{metrics}/{page}")).await.map(|answer| answer.status().as_u16())
    };
    until("ready", async || page("readyz").await.is_ok_and(|status| status == 200)).await;
    assert_eq!((page("healthz").await.unwrap(), page("metrics").await.unwrap()), (200, 200));
    assert_eq!(page("v1/sessions").await.unwrap(), 404, "the cluster's door leads to health only");
    let own = Replica::at(&format!("http://{http}"));
    let (status, made) = own.post(json!({"name": "standup", "roomName": "standup"})).await;
    assert_eq!(status, 201);
    let spec = world.resources().get("standup").await.unwrap().spec;
    assert_eq!(format!("{:?}", spec.ingest.exposure), "ClusterIP");
    let id = made["id"].as_str().unwrap().to_owned();
    world.speak(&id, 3).await;
    let (other, endpoints) = (world.replica().await, Endpoints::default());
    endpoints.add(&own.base);
    let viewer = watch(&endpoints, &id);
    until("it watches", async || own.viewers().await >= 1.0).await;
    let asked = Instant::now();
    drop(stop);
    until("not ready", async || page("readyz").await.is_ok_and(|status| status == 503)).await;
    assert_eq!(page("healthz").await.unwrap(), 200, "it is not to be killed for that");
    endpoints.remove(&own.base);
    endpoints.add(&other.base);
    tokio::time::timeout(Duration::from_secs(20), process).await.expect("it ends").unwrap().unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(1), "it settles first");
    world.speak(&id, 6).await;
    world.finish("standup", "Stopped").await;
    let seen = viewer.await.unwrap();
    assert_eq!(seen.offsets, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seen.closes, [1001, 1000]);
}
