//! The objects of a session: as committed (`UPDATE=1 cargo test -p roomscribe-operator --test children` writes them anew),
//! and the rules that a diff of them would not explain.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use k8s_openapi::api::core::v1::{EnvVar, Pod, Service};
use roomscribe_crds::*;
use roomscribe_operator::children::{self, Hidden, Installation, LogSettings, NatsSettings, names};
use roomscribe_operator::stream_key::InstallKey;
use serde_json::{Value, json};
use std::path::Path;

const ID: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";

fn installation() -> Installation {
    Installation {
        install: "9f2c01ab".into(),
        key: InstallKey::new("install key"),
        worker: children::WorkerDefaults::new("ghcr.io/roomscribe/worker:0.1.0"),
        speech: children::SpeechDefaults { api_key: Some(Hidden::new("speech-key")), ..Default::default() },
        ingest: children::IngestDefaults::default(),
        log: LogSettings::default(),
    }
}

fn session(spec: Value) -> TranscriptionSession {
    let mut spec = spec;
    spec["roomName"] = "standup".into();
    let metadata = json!({"name": "monday", "namespace": "meetings", "uid": ID});
    let kind = "TranscriptionSession";
    let object =
        json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn plain() -> TranscriptionSession {
    session(json!({}))
}

/// Everything that a session can ask for.
fn rich() -> TranscriptionSession {
    session(json!({
        "ingest": {
            "exposure": "LoadBalancer",
            "loadBalancerClass": "service.k8s.aws/nlb",
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"},
            "sourceRanges": ["203.0.113.0/24"],
            "tls": {"secretName": "rtmp-tls"},
        },
        "speech": {
            "apiUrl": "https://speech.example.com",
            "region": "eu-west",
            "secretRef": {"name": "gladia", "key": "apiKey"},
            "languages": ["ru", "en"],
            "codeSwitching": true,
            "vocabulary": [{"value": "Roomscribe", "pronunciations": ["room scribe"]}],
            "translateTo": ["de"],
            "endpointingMilliseconds": 200,
            "partials": false,
        },
        "limits": {"maxDurationSeconds": 7200},
        "worker": {
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}},
            "nodeSelector": {"pool": "media"},
            "tolerations": [{"key": "media", "operator": "Exists"}],
            "priorityClassName": "meetings",
            "podLabels": {"team": "video"},
            "podAnnotations": {"example.com/cost-centre": "7"},
            "disruption": "Never",
        },
    }))
}

fn same(name: &str, made: &impl serde::Serialize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let made = serde_json::to_string_pretty(made).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{} differs: UPDATE=1 writes it anew, the diff is yours to judge",
        path.display()
    );
}

fn with_nats() -> Installation {
    let creds = Some(Hidden::new("creds"));
    let url = "nats://nats.roomscribe:4222".into();
    let nats = NatsSettings { url, creds, replicas: 3, retention_days: 30 };
    Installation { log: LogSettings { nats: Some(nats) }, ..installation() }
}

/// The pod before, which is killed at a known time.
fn leaving() -> roomscribe_plan::Pod {
    roomscribe_plan::Pod {
        name: "ts-plain-2".into(),
        uid: "uid".into(),
        attempt: 2,
        key_generation: 1,
        created_at: None,
        node: "node".into(),
        state: roomscribe_plan::PodState::Listening,
        leaving: true,
        ends_at: Some("2026-11-26T12:00:30Z".parse().unwrap()),
        container_started_at: None,
        restarts: 0,
        last_exit: None,
    }
}

#[test]
fn a_plain_session_s_objects_are_the_committed_ones() {
    same("plain-pod.json", &children::pod(&plain(), &installation(), 3, None));
    same("plain-service.json", &children::service(&plain(), &installation(), 3));
    same("plain-secret.json", &children::secret(&plain(), &installation(), &[3]));
}

#[test]
fn the_objects_of_a_session_that_asks_for_everything_are_the_committed_ones() {
    same("rich-pod.json", &children::pod(&rich(), &with_nats(), 3, Some(&leaving())));
    same("rich-service.json", &children::service(&rich(), &with_nats(), 3));
    same("rich-secret.json", &children::secret(&rich(), &with_nats(), &[2, 3]));
}

/// `worker/src/config.rs` reads the same file in its own tests.
#[test]
fn the_session_file_is_the_committed_one() {
    let file: Value = serde_json::from_str(&children::session_file(&rich(), &installation(), 3)).unwrap();
    same("session-file.json", &file);
}

fn env<'a>(pod: &'a Pod, name: &str) -> Option<&'a EnvVar> {
    pod.spec.as_ref().unwrap().containers[0].env.iter().flatten().find(|env| env.name == name)
}

fn value(pod: &Pod, name: &str) -> Option<String> {
    env(pod, name)?.value.clone()
}

#[test]
fn names_labels_and_owner_are_those_of_the_contract() {
    let pod = children::pod(&plain(), &installation(), 3, None);
    assert_eq!(pod.metadata.name.as_deref(), Some("ts-monday-3"));
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(
        (labels["roomscribe.io/session-uid"].as_str(), labels["roomscribe.io/attempt"].as_str()),
        (ID, "3")
    );
    let owner = &pod.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("TranscriptionSession", ID));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
    assert_eq!(names::shared(&plain()), "ts-monday");
}

#[test]
fn a_session_s_labels_and_annotations_never_replace_ours() {
    let mine = session(json!({"worker": {
        "podLabels": {"roomscribe.io/session-uid": "another", "roomscribe.io/attempt": "9", "team": "video"},
        "podAnnotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
        "disruption": "Never",
    }}));
    let pod = children::pod(&mine, &installation(), 3, None);
    let labels = pod.metadata.labels.unwrap();
    assert_eq!((labels[names::SESSION_LABEL].as_str(), labels[names::ATTEMPT_LABEL].as_str()), (ID, "3"));
    assert_eq!(labels["team"], "video");
    assert_eq!(pod.metadata.annotations.unwrap()["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
}

#[test]
fn an_autoscaler_may_move_a_session_only_where_its_transcript_is_not_in_the_pod() {
    let evictable = |installation: &Installation| {
        children::pod(&plain(), installation, 1, None).metadata.annotations.unwrap()
            ["cluster-autoscaler.kubernetes.io/safe-to-evict"]
            .clone()
    };
    assert_eq!((evictable(&installation()).as_str(), evictable(&with_nats()).as_str()), ("false", "true"));
}

#[test]
fn a_pod_is_as_restricted_as_pod_security_standards_ask() {
    let pod = serde_json::to_value(children::pod(&rich(), &with_nats(), 1, None)).unwrap();
    let at = |pointer: &str| pod.pointer(pointer).unwrap_or(&Value::Null).clone();
    for (pointer, expected) in [
        ("/spec/securityContext/runAsNonRoot", json!(true)),
        ("/spec/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(false)),
        ("/spec/containers/0/securityContext/capabilities/drop", json!(["ALL"])),
        ("/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(true)),
        ("/spec/automountServiceAccountToken", json!(false)),
        ("/spec/enableServiceLinks", json!(false)),
    ] {
        assert_eq!(at(pointer), expected, "{pointer}");
    }
    let kinds = pod["spec"]["volumes"].as_array().unwrap().iter();
    assert!(kinds.clone().all(|volume| volume.get("secret").is_some() || volume.get("emptyDir").is_some()));
}

#[test]
fn a_session_s_own_speech_key_is_read_by_the_kubelet_and_copied_nowhere() {
    let pod = children::pod(&rich(), &installation(), 1, None);
    let reference = env(&pod, "GLADIA_API_KEY").unwrap().value_from.clone().unwrap().secret_key_ref.unwrap();
    assert_eq!((reference.name.as_str(), reference.key.as_str()), ("gladia", "apiKey"));
    assert!(!children::secret(&rich(), &installation(), &[1]).data.unwrap().contains_key("GLADIA_API_KEY"));
}

#[test]
fn the_installation_s_key_goes_to_the_installation_s_service_only() {
    let given = |url: &str| {
        let session = session(json!({"speech": {"apiUrl": url}}));
        let pod = children::pod(&session, &installation(), 1, None);
        let secret = children::secret(&session, &installation(), &[1]);
        (env(&pod, "GLADIA_API_KEY").is_some(), secret.data.unwrap().contains_key("GLADIA_API_KEY"))
    };
    assert_eq!(given("https://api.gladia.io/"), (true, true));
    assert_eq!(given("https://collector.example.com"), (false, false));
}

#[test]
fn the_installation_s_region_goes_with_its_own_service_only() {
    let mut installation = installation();
    installation.speech.api_url = Some("https://speech.internal".into());
    installation.speech.region = Some("eu-west".into());
    let pod = children::pod(&plain(), &installation, 1, None);
    assert_eq!(value(&pod, "GLADIA_API_URL").as_deref(), Some("https://speech.internal"));
    assert_eq!(value(&pod, "GLADIA_REGION").as_deref(), Some("eu-west"));
    let own = session(json!({"speech": {"apiUrl": "https://speech.example.com"}}));
    assert_eq!(value(&children::pod(&own, &installation, 1, None), "GLADIA_REGION"), None);
}

#[test]
fn each_attempt_s_pod_sees_its_own_session_file() {
    let secret = children::secret(&plain(), &installation(), &[2, 3]).data.unwrap();
    for attempt in [2, 3] {
        let key = format!("session-{attempt}.json");
        let pod = children::pod(&plain(), &installation(), attempt, None);
        let items = pod.spec.unwrap().volumes.unwrap()[0].secret.clone().unwrap().items.unwrap();
        assert_eq!((items[0].key.as_str(), items[0].path.as_str()), (key.as_str(), "session.json"));
        let file: Value = serde_json::from_slice(&secret[&key].0).unwrap();
        assert_eq!(file["gen"], attempt);
    }
}

#[test]
fn a_session_s_resources_are_merged_with_the_measured_ones() {
    let pod = serde_json::to_value(children::pod(&rich(), &installation(), 1, None)).unwrap();
    let expected = json!({"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}});
    assert_eq!(pod["spec"]["containers"][0]["resources"], expected);
}

#[test]
fn a_default_never_contradicts_a_value_of_the_session() {
    let asked = session(json!({"worker": {"resources": {"requests": {"memory": "512Mi"}}}}));
    let pod = serde_json::to_value(children::pod(&asked, &installation(), 1, None)).unwrap();
    let expected = json!({"requests": {"cpu": "20m", "memory": "512Mi"}});
    assert_eq!(pod["spec"]["containers"][0]["resources"], expected);
    let asked = session(json!({"worker": {"resources": {"limits": {"memory": "16Mi", "cpu": "10m"}}}}));
    let pod = serde_json::to_value(children::pod(&asked, &installation(), 1, None)).unwrap();
    // Without a request the API server takes the limit.
    let expected = json!({"limits": {"memory": "16Mi", "cpu": "10m"}});
    assert_eq!(pod["spec"]["containers"][0]["resources"], expected);
}

#[test]
fn a_toleration_of_a_lost_node_by_the_session_is_kept() {
    let own =
        json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 5}]);
    let pod = children::pod(&session(json!({"worker": {"tolerations": own}})), &installation(), 1, None);
    let seconds: Vec<_> = pod
        .spec
        .unwrap()
        .tolerations
        .unwrap()
        .iter()
        .map(|toleration| toleration.toleration_seconds)
        .collect();
    assert_eq!(seconds, [Some(5), Some(30)]);
}

fn kind(service: &Service) -> &str {
    service.spec.as_ref().unwrap().type_.as_deref().unwrap()
}

#[test]
fn each_exposure_has_its_service() {
    let exposed = |ingest: Value| children::service(&session(json!({"ingest": ingest})), &installation(), 1);
    assert_eq!(kind(&exposed(json!({"exposure": "LoadBalancer"}))), "LoadBalancer");
    assert_eq!(kind(&exposed(json!({"exposure": "NodePort"}))), "NodePort");
    let inside = exposed(json!({"exposure": "ClusterIP"}));
    assert_eq!(kind(&inside), "ClusterIP");
    assert_eq!(inside.spec.unwrap().external_traffic_policy, None);
    let external = json!({"exposure": "External", "external": {"host": "rtmp.example.com", "port": 443}});
    assert_eq!(kind(&exposed(external)), "ClusterIP");
}

#[test]
fn annotations_outside_the_allow_list_are_left_out_and_named() {
    let mut installation = installation();
    installation.ingest.annotations.insert("example.com/owner".into(), "platform".into());
    installation.ingest.annotations.insert("metallb.io/address-pool".into(), "default".into());
    let session = session(json!({"ingest": {"annotations": {
        "metallb.io/address-pool": "public",
        "prometheus.io/scrape": "true",
        "example.com/owner": "me",
    }}}));
    let annotations = children::service(&session, &installation, 1).metadata.annotations.unwrap();
    assert_eq!(annotations["metallb.io/address-pool"], "public");
    assert_eq!(annotations["example.com/owner"], "platform");
    assert!(!annotations.contains_key("prometheus.io/scrape"));
    assert_eq!(
        children::refused_annotations(&session, &installation),
        ["example.com/owner", "prometheus.io/scrape"]
    );
}

#[test]
fn a_load_balancer_takes_node_ports_as_kubernetes_does_unless_the_installation_says_no() {
    let allocates = |installation: &Installation, exposure: &str| {
        let session = session(json!({"ingest": {"exposure": exposure}}));
        children::service(&session, installation, 1).spec.unwrap().allocate_load_balancer_node_ports
    };
    assert_eq!(allocates(&installation(), "LoadBalancer"), None);
    let mut without = installation();
    without.ingest.load_balancer_node_ports = false;
    assert_eq!(allocates(&without, "LoadBalancer"), Some(false));
    // Another type refuses the field.
    assert_eq!(allocates(&without, "NodePort"), None);
}

#[test]
fn a_publisher_finds_its_url_in_the_secret_s_keys_and_only_with_push() {
    let push = |status: Value| {
        let mut push = session(json!({"capture": {"mode": "Push"}}));
        push.status = Some(serde_json::from_value(status).unwrap());
        children::publisher(&push, &installation(), "rtmp.example.com", 1935)
    };
    let keys = push(json!({"attempt": 1}));
    let text = |name: &str| String::from_utf8(keys[name].0.clone()).unwrap();
    assert_eq!(text("server"), format!("rtmp://rtmp.example.com:1935/live/9f2c01ab/{ID}.1"));
    // The example of the stream key's own tests.
    assert_eq!(text("streamKey"), "kDXEPVQsPKZCGUCg1krvnw");
    assert_eq!(text("url"), format!("{}/{}", text("server"), text("streamKey")));
    // Before its first attempt there is no key.
    assert!(push(json!({})).is_empty());
    assert!(children::publisher(&plain(), &installation(), "rtmp.example.com", 1935).is_empty());
}

#[test]
fn no_secret_is_shown_by_debug() {
    let shown = format!("{:?}", with_nats());
    assert!(
        !shown.contains("speech-key") && !shown.contains("install key") && !shown.contains("\"creds\""),
        "{shown}"
    );
}

#[test]
fn the_documentation_names_every_kind_of_annotation_that_a_service_may_have() {
    let page = include_str!("../../docs/operator.md");
    for prefix in children::IngestDefaults::default().annotation_prefixes {
        assert!(page.contains(&format!("`{prefix}`")), "docs/operator.md: {prefix}");
    }
}
