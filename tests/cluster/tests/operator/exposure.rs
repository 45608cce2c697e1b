//! How LiveKit's egress finds the worker.

use crate::world::{World, api, join, livekit};
use roomscribe_crds::condition::ConditionType;
use roomscribe_crds::{Exposure, ExternalAddress};

#[tokio::test]
async fn a_load_balancer_whose_address_comes_late_is_said_to_be_pending_and_nothing_is_started_before() {
    let livekit = livekit(31).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    world.kubelet.set_behaviour(|behaviour| behaviour.address_s = [5.0, 5.0]);
    let _operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_condition("standup", ConditionType::WorkerReady, "True", "Listening").await;
    world.until_condition("standup", ConditionType::IngestReady, "False", "AddressPending").await;
    assert_eq!(world.status("standup").await.unwrap().attempt, None);
    world.until_ready("standup").await;
}

#[tokio::test]
async fn an_external_address_is_what_livekit_is_told() {
    let livekit = livekit(32).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    world
        .create_with("standup", "standup", |spec| {
            spec.ingest.exposure = Exposure::External;
            spec.ingest.external = Some(ExternalAddress { host: "rtmp.example.com".into(), port: 19_350 });
        })
        .await;
    world.until_condition("standup", ConditionType::IngestReady, "True", "AddressReady").await;
    let ingest = world.status("standup").await.unwrap().ingest.unwrap();
    assert_eq!((ingest.host.as_str(), ingest.port), ("rtmp.example.com", 19_350));
}

#[tokio::test]
async fn a_cluster_ip_and_a_node_port_give_their_own_addresses() {
    let livekit = livekit(33).await;
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    for (name, exposure) in [("inside", Exposure::ClusterIP), ("nodes", Exposure::NodePort)] {
        join(&livekit, name, "ada");
        world.create_with(name, name, |spec| spec.ingest.exposure = exposure).await;
        world.until_condition(name, ConditionType::IngestReady, "True", "AddressReady").await;
    }
    let service = |name: &'static str, path: &'static str| {
        let output = format!("jsonpath={path}");
        let (api, namespace) = (world.api, world.namespace.clone());
        async move { api.kubectl(&["get", "svc", name, "-n", &namespace, "-o", &output]).await.unwrap() }
    };
    let inside = world.status("inside").await.unwrap().ingest.unwrap();
    assert_eq!(inside.host, service("ts-inside", "{.spec.clusterIP}").await);
    assert_eq!(inside.port, 1935);
    let nodes = world.status("nodes").await.unwrap().ingest.unwrap();
    assert_eq!(
        nodes.port.to_string(),
        service("ts-nodes", "{.spec.ports[?(@.name=='rtmp')].nodePort}").await
    );
}
