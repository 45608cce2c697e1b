//! What the operator's program does once and then ends: Helm's hooks.

use crate::world::{World, api, join, live, livekit};
use roomscribe_cluster::committed_rules;

async fn job(world: &World, environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    world.settings().with(environment).job(world.folder.path(), arguments).await.unwrap()
}

#[tokio::test]
async fn a_drain_ends_every_session_and_its_egress() {
    let livekit = livekit(61).await;
    let world = World::new(api().await, &livekit.url()).await;
    let _operator = world.operator().await;
    for room in ["standup", "retro"] {
        join(&livekit, room, "ada");
        world.create(room, room).await;
        world.until_ready(room).await;
    }
    let (code, said) = job(&world, &[], &["drain", "--timeout-seconds", "60"]).await;
    assert_eq!((code, said.trim()), (Some(0), "drained: 2 sessions have ended, nothing is left"));
    assert_eq!(live(&livekit, None), []);
    assert_eq!(world.children().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_drain_without_an_operator_names_what_is_left() {
    let livekit = livekit(62).await;
    join(&livekit, "standup", "ada");
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator().await;
    world.create("standup", "standup").await;
    world.until_ready("standup").await;
    operator.kill().await.unwrap();
    let (code, said) = job(&world, &[], &["drain", "--timeout-seconds", "2"]).await;
    assert_eq!(code, Some(75));
    let left = format!("1 sessions are still there: {}/standup; is an operator running?", world.namespace);
    assert!(said.starts_with(&left), "{said}");
    let _operator = world.operator().await;
    world.until_gone("standup").await;
}

#[tokio::test]
async fn a_self_test_passes_where_everything_is_there_and_names_what_is_not() {
    let livekit = livekit(63).await;
    let world = World::new(api().await, &livekit.url()).await;
    // LiveKit's simulator answers at every path: it stands in for a speech service.
    let (code, said) = job(&world, &[("GLADIA_API_URL", &livekit.url())], &["self-test"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("TranscriptionSession is served in namespace {}", world.namespace)),
        "{said}"
    );

    let wrong = [
        ("LIVEKIT_API_SECRET", "another-secret-of-thirty-two-char"),
        ("GLADIA_API_URL", "http://127.0.0.1:9"),
        ("NATS_URL", "nats://127.0.0.1:9"),
        ("GATEWAY_URL", "http://127.0.0.1:9"),
    ];
    let (code, said) = job(&world, &wrong, &["self-test"]).await;
    assert_eq!(code, Some(69));
    for mend in [
        "FAIL  LiveKit: LiveKit answered 401",
        "check GLADIA_API_URL",
        "FAIL  NATS: 127.0.0.1:9: Connection refused",
        "check GATEWAY_URL",
    ] {
        assert!(said.contains(mend), "no {mend:?} in {said}");
    }
    assert!(!said.contains("another-secret"));
}

#[tokio::test]
async fn a_self_test_names_the_right_that_is_missing() {
    let livekit = livekit(64).await;
    let (mut everywhere, own) = committed_rules().unwrap();
    for rule in &mut everywhere {
        rule.verbs.retain(|verb| verb != "watch");
    }
    let world = World::with_rules(api().await, &livekit.url(), everywhere, own).await;
    let (code, said) = job(&world, &[("GLADIA_API_URL", &livekit.url())], &["self-test"]).await;
    assert_eq!(code, Some(69));
    assert!(said.contains("watch transcriptionsessions, watch pods, watch services"), "{said}");
}
