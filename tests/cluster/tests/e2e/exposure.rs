//! However LiveKit's egress finds the worker: by a load balancer, a port of the node, or a cluster IP. And publishers
//! without LiveKit, and the examples of the docs.

use crate::cluster::path;
use crate::world::{NAMESPACE, World};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Room and session of the same name, its exposure, and what of its Service is the address.
const EXPOSURES: [(&str, &str, &str); 3] = [
    (
        "balanced",
        "LoadBalancer",
        "{.status.loadBalancer.ingress[0].ip}:{.spec.ports[?(@.name=='rtmp')].port}",
    ),
    ("inside", "ClusterIP", "{.spec.clusterIP}:{.spec.ports[?(@.name=='rtmp')].port}"),
    ("nodes", "NodePort", "{.spec.ports[?(@.name=='rtmp')].nodePort}"),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn words_come_by_load_balancer_node_port_and_cluster_ip_at_once_and_nothing_is_left_of_any() {
    let world = World::start().await.unwrap();
    the_examples_are_taken(&world).await;
    for (session, exposure, _) in EXPOSURES {
        world.join(session, "ada").await.unwrap();
        world
            .create(NAMESPACE, session, json!({"roomName": session, "ingest": {"exposure": exposure}}))
            .await
            .unwrap();
    }
    world.apply_example("push.yaml").await.unwrap();
    let wait = ["wait", "--for=condition=Ready", "ts", "--all", "--timeout=120s"];
    world.kubectl(&wait).await.unwrap();
    for (session, _, address) in EXPOSURES {
        livekit_is_told_the_address(&world, session, address).await;
        world.until_more_words(session, 3).await.unwrap();
    }
    a_publisher_finds_its_url(&world).await;
    world.kubectl(&["delete", "ts", "--all", "--timeout=120s"]).await.unwrap();
    world.until_nothing_is_left().await.unwrap();
    world.cluster.end().await.unwrap();
}

/// As the API server judges them.
async fn the_examples_are_taken(world: &World) {
    for example in ["session.yaml", "full.yaml", "push.yaml"] {
        let file = path(format!("docs/examples/{example}"));
        world.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", &file]).await.unwrap();
    }
}

/// The status, the Service and LiveKit's egress name the same.
async fn livekit_is_told_the_address(world: &World, session: &str, of_service: &str) {
    let get = async |kind: &str, name: &str, what: &str| {
        world.kubectl(&["get", kind, name, "-o", &format!("jsonpath={what}")]).await.unwrap()
    };
    let told = get("ts", session, "{.status.ingest.host}:{.status.ingest.port}").await;
    let service = get("service", &format!("ts-{session}"), of_service).await;
    let address = match service.contains(':') {
        true => service,
        false => format!(
            "{}:{service}",
            get("pod", &world.worker(session).await.unwrap(), "{.status.hostIP}").await
        ),
    };
    assert_eq!(told, address, "{session}");
    let egresses = world.egress_starts().await.unwrap();
    let leads = |egress: &&Value| egress["room"] == session;
    let urls = egresses.iter().find(leads).unwrap_or_else(|| panic!("no egress of {session}: {egresses:#?}"));
    assert!(urls.to_string().contains(&format!("rtmp://{address}/")), "{session}: {urls:#}");
}

/// What a person puts into OBS stands in the session's Secret.
async fn a_publisher_finds_its_url(world: &World) {
    let told = world.kubectl(&["get", "secret", "ts-studio", "-o", "jsonpath={.data.url}"]).await.unwrap();
    let url = String::from_utf8(STANDARD.decode(told).unwrap()).unwrap();
    let ip =
        world.kubectl(&["get", "service", "ts-studio", "-o", "jsonpath={.spec.clusterIP}"]).await.unwrap();
    assert!(url.starts_with(&format!("rtmp://{ip}:1935/")), "not of {NAMESPACE}/studio");
}
