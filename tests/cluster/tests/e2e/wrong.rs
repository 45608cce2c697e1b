//! What bad input gets: an installation in which everything is wrong, mended piece by piece. Each piece is told where a
//! person looks: pods, `kubectl get ts`, /readyz. docs/troubleshooting.md shows the words.

use crate::cluster::path;
use crate::nats::Nats;
use crate::world::{CHART, NAMESPACE, RELEASE, World};
use crate::{SESSION, assert_true};
use serde_json::{Value, json};

const OPERATOR: &str = "app.kubernetes.io/component=operator";
const GATEWAY: &str = "app.kubernetes.io/component=gateway";
/// Another room's, for which no load balancer comes.
const STRANDED: &str = "stranded";
/// Subject of a session of nobody.
const FILLER: &str = "roomscribe.log.00000000-0000-4000-8000-00000000f111";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn whatever_is_wrong_is_named_and_once_it_is_mended_the_session_goes_on_by_itself() {
    let world = World::without_chart().await.unwrap();
    missing_secrets_are_named_by_the_notes_and_the_pods(&world).await;
    a_gateway_without_nats_says_so_and_does_not_end(&world).await;
    a_wrong_livekit_key_is_the_session_s_reason(&world).await;
    an_image_that_cannot_be_pulled_is_the_session_s_reason(&world).await;
    a_worker_without_nats_says_so_and_does_not_end(&world).await;
    once_nats_is_there_all_is_well(&world).await;
    a_full_nats_is_told_and_costs_no_word(&world).await;
    without_a_load_balancer_the_session_ends_in_words(&world).await;
    world.kubectl(&["delete", "ts", "--all", "--timeout=120s"]).await.unwrap();
    world.until_nothing_is_left().await.unwrap();
    world.cluster.end().await.unwrap();
}

async fn missing_secrets_are_named_by_the_notes_and_the_pods(world: &World) {
    let secrets = ["livekit", "gladia", "api"];
    let mut delete = vec!["-n", RELEASE, "delete", "secret"];
    delete.extend(secrets);
    world.cluster.kubectl.run(&delete).await.unwrap();
    let notes = helm(world, "install", &["worker.image.tag=nosuch", "nats.image.tag=nosuch"]).await;
    for secret in secrets {
        assert!(notes.contains(&format!("MISSING: the Secret \"{secret}\"")), "{notes}");
    }
    until_pods_say(world, OPERATOR, "secret \"livekit\" not found").await;
    until_pods_say(world, GATEWAY, "secret \"api\" not found").await;
    let other = json!({"url": "http://livekit.peers.svc:7880", "apiKey": "devkey", "apiSecret": "not-the-secret-of-this-livekit-0000"});
    secret(world, "livekit", other).await;
    secret(world, "api", json!({"apiKey": "the-api-key-of-these-tests"})).await;
    until_pods_say(world, OPERATOR, "secret \"gladia\" not found").await;
    secret(world, "gladia", json!({"apiKey": "key-of-the-speech-server"})).await;
}

async fn a_gateway_without_nats_says_so_and_does_not_end(world: &World) {
    world
        .until("/readyz of a gateway names NATS", async || {
            let (status, said) = world.page(GATEWAY, 9090, "readyz").await?;
            Ok(status == 503
                && said.contains("NATS at nats://roomscribe-nats.roomscribe.svc:4222")
                && told("gateway /readyz", &said))
        })
        .await
        .unwrap();
    assert_eq!(world.page(GATEWAY, 9090, "healthz").await.unwrap().0, 200);
}

async fn a_wrong_livekit_key_is_the_session_s_reason(world: &World) {
    world.join(SESSION, "ada").await.unwrap();
    world.apply_example("session.yaml").await.unwrap();
    until_session_says(world, SESSION, "CredentialsRefused", "mend apiKey and apiSecret").await;
    let right = json!({"url": "http://livekit.peers.svc:7880", "apiKey": "devkey", "apiSecret": "secret-of-the-simulated-livekit-0"});
    secret(world, "livekit", right).await;
    // The kubelet shows a changed Secret within a minute or two; at once when it looks at the pod anyway.
    let look = ["-n", RELEASE, "annotate", "pods", "-l", OPERATOR, "looked=now"];
    world.cluster.kubectl.run(&look).await.unwrap();
}

async fn an_image_that_cannot_be_pulled_is_the_session_s_reason(world: &World) {
    until_session_says(world, SESSION, "ImagePullFailed", "roomscribe/worker:nosuch").await;
    helm(world, "upgrade", &["nats.image.tag=nosuch"]).await;
}

async fn a_worker_without_nats_says_so_and_does_not_end(world: &World) {
    until_session_says(
        world,
        SESSION,
        "NatsUnreachable",
        "NATS at nats://roomscribe-nats.roomscribe.svc:4222",
    )
    .await;
    let restarts = ["get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"];
    assert_eq!(world.kubectl(&restarts).await.unwrap(), "0", "a crash loop");
}

async fn once_nats_is_there_all_is_well(world: &World) {
    helm(world, "upgrade", &[]).await;
    world.kubectl(&["wait", "--for=condition=Ready", "ts/standup", "--timeout=120s"]).await.unwrap();
    world.until_more_words(SESSION, 3).await.unwrap();
    world.join(STRANDED, "bob").await.unwrap();
    let ingest = json!({"loadBalancerClass": "example.com/nobody", "addressTimeoutSeconds": 10});
    world.create(NAMESPACE, STRANDED, json!({"roomName": STRANDED, "ingest": ingest})).await.unwrap();
    until_session_says(world, STRANDED, "AddressPending", "The load balancer has no address yet").await;
}

async fn a_full_nats_is_told_and_costs_no_word(world: &World) {
    let nats =
        world.way(RELEASE, "app.kubernetes.io/component=nats").await.unwrap().open(4222).await.unwrap();
    let mut nats = Nats::connect(&nats.address).await.unwrap();
    nats.fill(FILLER, 1 << 20).await.unwrap();
    until_session_says(world, SESSION, "StorageFull", "NATS has no room").await;
    nats.purge("ROOMSCRIBE", FILLER).await.unwrap();
    world.kubectl(&["wait", "--for=condition=Ready", "ts/standup", "--timeout=120s"]).await.unwrap();
    world.until_more_words(SESSION, 3).await.unwrap();
    assert_true(&world.transcript(SESSION).await.unwrap(), "around a full NATS");
}

/// The Service, which costs money, is gone.
async fn without_a_load_balancer_the_session_ends_in_words(world: &World) {
    until_session_says(world, STRANDED, "AddressTimeout", "choose another exposure").await;
    let service = ["get", "service", "ts-stranded", "--ignore-not-found", "-o", "name"];
    world
        .until("its Service is deleted", async || Ok(world.kubectl(&service).await?.is_empty()))
        .await
        .unwrap();
}

/// What it says. The NATS is a small one, soon full.
async fn helm(world: &World, verb: &str, values: &[&str]) -> String {
    let mut set = vec!["--set", "nats.maxFileStore=1Mi"];
    values.iter().for_each(|value| set.extend(["--set", value]));
    world.release(verb, &path(CHART), &set).await.unwrap()
}

async fn secret(world: &World, name: &str, values: Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": RELEASE}, "stringData": values});
    world.cluster.kubectl.apply(&secret.to_string()).await.unwrap();
}

/// As `kubectl describe pod` shows it.
async fn until_pods_say(world: &World, label: &str, words: &str) {
    let waits = [
        "-n",
        RELEASE,
        "get",
        "pods",
        "-l",
        label,
        "-o",
        "jsonpath={.items[*].status.containerStatuses[0].state.waiting}",
    ];
    let says = async || {
        let said = world.cluster.kubectl.run(&waits).await?;
        Ok(said.replace("\\\"", "\"").contains(words) && told(label, &said))
    };
    world.until(&format!("pods say {words}"), says).await.unwrap();
}

/// `kubectl get ts` has the reason, the condition Ready the words.
async fn until_session_says(world: &World, session: &str, reason: &str, words: &str) {
    let message = ["get", "ts", session, "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}"];
    let says = async || {
        let (table, said) = (world.kubectl(&["get", "ts", session]).await?, world.kubectl(&message).await?);
        anyhow::ensure!(table.contains(reason) && said.contains(words), "{table}{said}");
        Ok(told(table.lines().last().unwrap_or_default(), &said))
    };
    world.until(&format!("{session} of {NAMESPACE} says {reason}: {words}"), says).await.unwrap();
}

/// For docs/troubleshooting.md.
fn told(where_: &str, words: &str) -> bool {
    eprintln!("{where_}\n    {words}");
    true
}
