//! Many sessions at once: the played kubelet and the simulated LiveKit carry them on a small machine. `CROWD=1000` for more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::until;
use futures_util::{StreamExt, stream};
use hmac::{Hmac, Mac};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use livekit_protocol as proto;
use roomscribe_cluster::ApiServer;
use roomscribe_cluster::kubelet::{FakeKubelet, Settings};
use roomscribe_sims::livekit::core::ReplyKind;
use roomscribe_sims::livekit::{Config, Faults, Keys, Person, Simulator};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

const SECRET: [u8; 32] = [7; 32];
const AT_ONCE: usize = 16;

fn key(session: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&SECRET).unwrap();
    mac.update(format!("rtmp{session}1").as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

fn objects(number: usize) -> (Pod, Service) {
    let labels = json!({"app.kubernetes.io/part-of": "roomscribe", "roomscribe.io/session-uid": format!("s{number}"), "roomscribe.io/attempt": "1"});
    let selector = json!({"roomscribe.io/session-uid": format!("s{number}"), "roomscribe.io/attempt": "1"});
    let pod = json!({
        "metadata": {"name": format!("ts-{number}-1"), "labels": labels},
        "spec": {
            "restartPolicy": "OnFailure",
            "volumes": [{"name": "config", "secret": {"secretName": "ts", "items": [{"key": "session-1.json", "path": "session.json"}]}}],
            "containers": [{"name": "worker", "image": "worker:1"}],
        },
    });
    let service = json!({
        "metadata": {"name": format!("ts-{number}"), "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": selector, "ports": [{"name": "rtmp", "port": 1935}, {"name": "http", "port": 8080}]},
    });
    (serde_json::from_value(pod).unwrap(), serde_json::from_value(service).unwrap())
}

async fn livekit() -> Simulator {
    let config = Config {
        faults: Faults { frame_gap_s: 2.0, ..Faults::default() },
        ..Config::repeating(Keys {
            api_key: "key".into(),
            api_secret: "a-secret-of-thirty-two-characters".into(),
        })
    };
    Simulator::start(config).await.unwrap()
}

fn start(livekit: &Simulator, number: usize, address: &str) -> String {
    let room = format!("room-{number}");
    livekit.join(&room, &Person::speaking("ada"));
    let url = format!("rtmp://{address}:1935/live/0a1b2c3d/s{number}.1/{}", key(&format!("s{number}")));
    let request = proto::RoomCompositeEgressRequest {
        room_name: room,
        audio_only: true,
        stream_outputs: vec![proto::StreamOutput { protocol: 1, urls: vec![url] }],
        ..Default::default()
    };
    match livekit.with_core(|core, now| core.start_room_composite(request, now)).kind {
        ReplyKind::Message(info) => info.egress_id,
        other => panic!("{other:?}"),
    }
}

async fn addresses(services: &Api<Service>) -> BTreeMap<usize, String> {
    let listed = services.list(&ListParams::default()).await.unwrap();
    let address = |service: &Service| {
        service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.clone()
    };
    let number = |service: &Service| service.metadata.name.as_ref()?.strip_prefix("ts-")?.parse().ok();
    listed.items.iter().filter_map(|service| Some((number(service)?, address(service)?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_are_played_fed_and_taken_away() {
    let count: usize = std::env::var("CROWD").ok().and_then(|count| count.parse().ok()).unwrap_or(100);
    let begun = Instant::now();
    let tell = |what: &str| println!("{:7.1} s  {count} {what}", begun.elapsed().as_secs_f64());
    let api = ApiServer::start().await.unwrap();
    let namespace = api.namespace(&[]).await.unwrap();
    let client = api.client_as("admin-of-the-crowd").await.unwrap();
    let kubelet = FakeKubelet::start(api.client().await.unwrap(), Settings::default()).await.unwrap();
    let (pods, services): (Api<Pod>, Api<Service>) =
        (Api::namespaced(client.clone(), &namespace), Api::namespaced(client.clone(), &namespace));
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let file: Value = json!({"v": 1, "secret": URL_SAFE_NO_PAD.encode(SECRET)});
    let secret = json!({"metadata": {"name": "ts"}, "stringData": {"session-1.json": file.to_string()}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();

    stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, async |number| {
            let (pod, service) = objects(number);
            pods.create(&PostParams::default(), &pod).await.unwrap();
            services.create(&PostParams::default(), &service).await.unwrap();
        })
        .await;
    tell("made");
    until("all pods are ready", async || kubelet.pods().iter().filter(|pod| pod.ready).count() == count)
        .await;
    until("all have an address", async || addresses(&services).await.len() == count).await;
    tell("ready");

    let livekit = livekit().await;
    let addresses = addresses(&services).await;
    let egresses: Vec<String> =
        addresses.iter().map(|(number, address)| start(&livekit, *number, address)).collect();
    let state = |wanted: &str| kubelet.pods().iter().filter(|pod| pod.report.state == wanted).count();
    until("all publish", async || state("publishing") == count).await;
    tell("publishing");
    let writes = api.requests("admin").unwrap();
    let frames = || kubelet.pods().iter().map(|pod| pod.frames).min().unwrap_or_default();
    let before = frames();
    until("three more frames of each", async || frames() >= before + 3).await;
    assert_eq!((state("publishing"), state("silent")), (count, 0));
    assert_eq!(
        api.requests("admin").unwrap().since(&writes).writes(),
        0,
        "nothing is written while all is well"
    );
    tell("went on publishing, one frame in two seconds");

    for egress in egresses {
        livekit.with_core(|core, now| core.stop_egress(&egress, now));
    }
    until("all have left", async || state("listening") == count).await;
    stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, async |number| {
            pods.delete(&format!("ts-{number}-1"), &DeleteParams::default()).await.unwrap();
            services.delete(&format!("ts-{number}"), &DeleteParams::default()).await.unwrap();
        })
        .await;
    until("all pods are gone", async || {
        kubelet.pods().is_empty() && pods.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    tell("gone");
}
