//! Whose keys: the operator's own, or Secrets of the session.

use crate::world::{KEY, SECRET, World, api, join, live, livekit};
use k8s_openapi::api::rbac::v1::PolicyRule;
use roomscribe_crds::condition::ConditionType;
use roomscribe_crds::{LocalReference, SecretKeyReference};
use serde_json::json;

fn read_secrets() -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["secrets".into()]),
        verbs: vec!["get".into()],
        ..PolicyRule::default()
    }
}

async fn secret(world: &World, name: &str, data: serde_json::Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": world.namespace}, "stringData": data});
    world.api.apply(&secret.to_string()).await.unwrap();
}

#[tokio::test]
async fn without_the_right_to_read_secrets_a_session_with_its_own_is_refused_and_none_is_read() {
    let livekit = livekit(21).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    let own = |spec: &mut roomscribe_crds::TranscriptionSessionSpec| {
        spec.livekit_ref = Some(LocalReference { name: "livekit".into() });
    };
    world.create_with("standup", "standup", own).await;
    let refused = world
        .until_condition("standup", ConditionType::Accepted, "False", "PerSessionCredentialsDisabled")
        .await;
    assert!(refused.message.contains("credentials.perSession"), "{refused:?}");
    assert_eq!(world.api.requests(&world.user).unwrap().count("get", "secrets"), 0);
}

#[tokio::test]
async fn a_session_with_its_own_secrets_waits_for_them_and_then_uses_their_project() {
    let livekit = livekit(22).await;
    join(&livekit, "standup", "ada");
    let (mut everywhere, own) = roomscribe_cluster::committed_rules().unwrap();
    everywhere.push(read_secrets());
    let world = World::with_rules(api().await, &livekit.url(), everywhere, own).await;
    // The operator's own project does not exist: only the session's Secret can lead to the room.
    let nowhere = [("CREDENTIALS_PER_SESSION", "true"), ("LIVEKIT_HTTP_URL", "http://127.0.0.1:9")];
    let _operator = world.operator_with(&nowhere).await;
    world
        .create_with("standup", "standup", |spec| {
            spec.livekit_ref = Some(LocalReference { name: "livekit".into() });
            spec.speech.secret_ref = Some(SecretKeyReference { name: "gladia".into(), key: "apiKey".into() });
        })
        .await;
    let missing = world.until_condition("standup", ConditionType::Accepted, "False", "SecretNotFound").await;
    assert!(missing.message.contains("livekit"), "{missing:?}");
    secret(&world, "livekit", json!({"url": livekit.url(), "apiKey": KEY})).await;
    let lacks = world.until_condition("standup", ConditionType::Accepted, "False", "SecretKeyMissing").await;
    assert!(lacks.message.contains("livekit/apiSecret"), "{lacks:?}");
    secret(&world, "livekit", json!({"url": livekit.url(), "apiKey": KEY, "apiSecret": SECRET})).await;
    secret(&world, "gladia", json!({"apiKey": "a-speech-key"})).await;
    world.until_ready("standup").await;
    assert_eq!(live(&livekit, None).len(), 1);
    let pod = world
        .api
        .kubectl(&["get", "pod", "ts-standup-1", "-n", &world.namespace, "-o", "yaml"])
        .await
        .unwrap();
    assert!(pod.contains("name: gladia") && !pod.contains("a-speech-key"), "{pod}");
}

#[tokio::test]
async fn a_refused_livekit_key_starts_nothing_and_says_whose_it_is() {
    let livekit = livekit(23).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator_with(&[("LIVEKIT_API_SECRET", "another-secret-of-thirty-two-char")]).await;
    world.create("standup", "standup").await;
    world.until_condition("standup", ConditionType::Accepted, "False", "CredentialsRefused").await;
    assert_eq!(live(&livekit, None), []);
    let status = world.api.kubectl(&["get", "ts", "-n", &world.namespace, "-o", "yaml"]).await.unwrap();
    assert!(!status.contains("another-secret") && !operator.said().contains("another-secret"));
}

#[tokio::test]
async fn once_a_refused_key_is_mended_in_its_file_the_session_begins_and_no_restart_is_needed() {
    let livekit = livekit(24).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apiSecret");
    std::fs::write(&file, "another-secret-of-thirty-two-char").unwrap();
    let _operator = world.operator_with(&[("LIVEKIT_API_SECRET_FILE", file.to_str().unwrap())]).await;
    world.create("standup", "standup").await;
    world.until_condition("standup", ConditionType::Accepted, "False", "CredentialsRefused").await;
    std::fs::write(&file, SECRET).unwrap();
    world.until_ready("standup").await;
}
