//! Objects of the cluster and the worker's words, as the decisions read them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec};
use roomscribe_operator::observe::{self, StatusJson};
use roomscribe_plan::{Hearing, PodState, SpeechState};
use serde_json::{Value, json};

fn seen(status: Value) -> roomscribe_plan::Pod {
    observed(json!({}), status).unwrap()
}

fn observed(metadata: Value, status: Value) -> Option<roomscribe_plan::Pod> {
    let mut full = json!({"name": "ts-monday-3", "uid": "u-1", "labels": {"roomscribe.io/attempt": "3"}});
    full.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    let object =
        json!({"metadata": full, "spec": {"nodeName": "node-a", "containers": []}, "status": status});
    observe::pod(&serde_json::from_value::<Pod>(object).unwrap())
}

fn running(ready: bool) -> Value {
    json!({"phase": "Running", "containerStatuses": [
        {"name": "worker", "image": "", "imageID": "", "ready": ready, "restartCount": 1,
         "state": {"running": {"startedAt": "2026-11-25T10:00:00Z"}},
         "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-25T09:59:50Z"}}},
    ]})
}

fn container(state: Value) -> Value {
    json!({"phase": "Running", "containerStatuses": [
        {"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
    ]})
}

fn waiting(reason: &str, message: &str) -> PodState {
    seen(container(json!({"waiting": {"reason": reason, "message": message}}))).state
}

#[test]
fn a_pod_s_facts_are_read() {
    let pod = seen(running(true));
    assert_eq!((pod.name.as_str(), pod.uid.as_str(), pod.attempt), ("ts-monday-3", "u-1", 3));
    assert_eq!((pod.node.as_str(), pod.state, pod.leaving), ("node-a", PodState::Listening, false));
    assert_eq!(pod.container_started_at, "2026-11-25T10:00:00Z".parse().ok());
    let exit = pod.last_exit.unwrap();
    assert_eq!((pod.restarts, exit.code, exit.reason.as_str()), (1, 137, "OOMKilled"));
    assert_eq!(seen(running(false)).state, PodState::NotListening);
}

#[test]
fn a_container_that_ended_is_known_by_its_last_words_and_lines_of_a_log_are_none() {
    let words = |message: &str| {
        let end = json!({"exitCode": 64, "finishedAt": "2026-11-25T10:00:00Z", "message": message});
        seen(container(json!({"terminated": end}))).last_exit.unwrap().words
    };
    assert_eq!(
        words("{\"level\":\"INFO\"}\nroomscribe-worker: GLADIA_API_KEY: is not set\n"),
        "GLADIA_API_KEY: is not set"
    );
    assert_eq!(words("exec: no such file"), "exec: no such file");
    assert_eq!(words("{\"level\":\"ERROR\"}\n"), "");
    assert_eq!(words(""), "");
}

#[test]
fn a_pod_that_is_not_a_worker_s_is_not_read() {
    assert_eq!(observed(json!({"labels": {}}), running(true)), None);
    assert_eq!(observed(json!({"labels": {"roomscribe.io/attempt": "x"}}), running(true)), None);
}

#[test]
fn what_holds_a_pod_back_has_a_reason_and_the_cluster_s_words() {
    let pending = |reason, text: &str| PodState::Pending(reason, text.to_owned());
    let unschedulable = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
    ]});
    assert_eq!(seen(unschedulable).state, pending(Reason::Unschedulable, "0/3 nodes are available"));
    assert_eq!(
        waiting("ImagePullBackOff", "no such image"),
        pending(Reason::ImagePullFailed, "no such image")
    );
    assert_eq!(waiting("ErrImagePull", ""), pending(Reason::ImagePullFailed, ""));
    let missing = "secret \"gladia\" not found";
    assert_eq!(waiting("CreateContainerConfigError", missing), pending(Reason::SecretNotFound, missing));
    let keyless = "couldn't find key apiKey in Secret meetings/gladia";
    assert_eq!(waiting("CreateContainerConfigError", keyless), pending(Reason::SecretKeyMissing, keyless));
    assert_eq!(waiting("ContainerCreating", ""), pending(Reason::PodPending, ""));
    assert_eq!(seen(json!({"phase": "Pending"})).state, pending(Reason::PodPending, ""));
    assert_eq!(seen(json!({})).state, pending(Reason::PodPending, ""));
}

#[test]
fn a_long_text_of_the_scheduler_is_cut() {
    let PodState::Pending(_, text) = waiting("ErrImagePull", &"é".repeat(5000)) else {
        panic!("not pending")
    };
    assert_eq!(text.chars().count(), 512);
}

#[test]
fn a_container_that_waits_for_its_restart_does_not_listen() {
    assert_eq!(waiting("CrashLoopBackOff", "back-off 20s"), PodState::NotListening);
    let ended = |code: i32| {
        let end = json!({"exitCode": code, "reason": "Error", "finishedAt": "2026-11-25T10:00:00Z"});
        seen(container(json!({"terminated": end})))
    };
    assert_eq!(ended(1).state, PodState::NotListening);
    assert_eq!(ended(1).last_exit.unwrap().code, 1);
    assert_eq!(ended(0).state, PodState::Done);
    assert_eq!(seen(json!({"phase": "Succeeded"})).state, PodState::Done);
}

#[test]
fn a_pod_that_failed_says_whose_doing_it_was() {
    let failed = |reason: &str| seen(json!({"phase": "Failed", "reason": reason})).state;
    assert_eq!(failed("Evicted"), PodState::Failed(Reason::Evicted));
    assert_eq!(failed("Terminated"), PodState::Failed(Reason::Evicted));
    assert_eq!(failed("OutOfmemory"), PodState::Failed(Reason::Unschedulable));
    assert_eq!(failed("NodeLost"), PodState::Failed(Reason::NodeLost));
}

fn with_conditions(ready: &str, containers: &str) -> Value {
    let mut status = running(true);
    status["conditions"] =
        json!([{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers}]);
    status
}

#[test]
fn the_node_controller_s_mark_on_a_pod_means_that_its_node_is_lost() {
    assert_eq!(seen(with_conditions("False", "True")).state, PodState::NodeLost);
    assert_eq!(seen(with_conditions("Unknown", "True")).state, PodState::NodeLost);
    assert_eq!(seen(with_conditions("True", "True")).state, PodState::Listening);
    let mut starting = with_conditions("False", "False");
    starting["containerStatuses"][0]["ready"] = false.into();
    assert_eq!(seen(starting).state, PodState::NotListening);
}

#[test]
fn deletion_and_eviction_are_seen_before_the_pod_ends() {
    assert!(observed(json!({"deletionTimestamp": "2026-11-25T10:00:00Z"}), running(true)).unwrap().leaving);
    let mut drained = running(true);
    drained["conditions"] =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    assert!(seen(drained.clone()).leaving);
    // One that was evicted and lies there is not on its way any more: somebody must delete it.
    drained["phase"] = "Failed".into();
    drained["reason"] = "Evicted".into();
    let over = seen(drained);
    assert_eq!((over.leaving, over.state), (false, PodState::Failed(Reason::Evicted)));
}

fn spec(ingest: Value) -> TranscriptionSessionSpec {
    serde_json::from_value(json!({"roomName": "standup", "ingest": ingest})).unwrap()
}

fn service(change: impl FnOnce(&mut Value)) -> Service {
    let mut object = json!({
        "metadata": {"name": "ts-monday", "creationTimestamp": "2026-11-25T10:00:00Z"},
        "spec": {
            "clusterIP": "10.0.0.7",
            "selector": {"roomscribe.io/attempt": "3"},
            "ports": [{"name": "http", "port": 8080}, {"name": "rtmp", "port": 1935, "nodePort": 31935}],
        },
    });
    change(&mut object);
    serde_json::from_value(object).unwrap()
}

fn address(ingest: Value, service: &Service, node: Option<&str>) -> Option<(String, u16)> {
    observe::service(service, &spec(ingest), node).unwrap().address
}

#[test]
fn a_load_balancer_s_address_is_an_ip_a_name_or_not_there_yet() {
    let balanced = |ingress: Value| {
        let service = service(|object| object["status"] = json!({"loadBalancer": {"ingress": ingress}}));
        address(json!({"exposure": "LoadBalancer"}), &service, None)
    };
    assert_eq!(balanced(json!([])), None);
    assert_eq!(balanced(json!([{}])), None);
    assert_eq!(balanced(json!([{"ip": ""}])), None);
    assert_eq!(balanced(json!([{"ip": "198.18.112.1"}])), Some(("198.18.112.1".into(), 1935)));
    assert_eq!(balanced(json!([{"hostname": "lb.example.com"}])), Some(("lb.example.com".into(), 1935)));
    assert_eq!(balanced(json!([{"ip": "2001:db8::7"}])), Some(("2001:db8::7".into(), 1935)));
    assert_eq!(address(json!({"exposure": "LoadBalancer"}), &service(|_| ()), None), None);
}

#[test]
fn a_cluster_ip_is_known_at_once() {
    let inside = json!({"exposure": "ClusterIP"});
    assert_eq!(address(inside.clone(), &service(|_| ()), None), Some(("10.0.0.7".into(), 1935)));
    let headless = service(|object| object["spec"]["clusterIP"] = "None".into());
    assert_eq!(address(inside, &headless, None), None);
}

#[test]
fn a_node_port_is_reached_by_a_host_of_the_nodes() {
    let ported = json!({"exposure": "NodePort"});
    assert_eq!(address(ported.clone(), &service(|_| ()), None), None);
    let node = Some("nodes.example.com");
    assert_eq!(address(ported.clone(), &service(|_| ()), node), Some(("nodes.example.com".into(), 31935)));
    let unassigned = service(|object| object["spec"]["ports"][1]["nodePort"] = Value::Null);
    assert_eq!(address(ported, &unassigned, node), None);
}

#[test]
fn an_external_address_is_the_given_one() {
    let external = json!({"exposure": "External", "external": {"host": "rtmp.example.com", "port": 443}});
    assert_eq!(address(external, &service(|_| ()), None), Some(("rtmp.example.com".into(), 443)));
}

#[test]
fn a_service_says_whom_it_selects_and_whether_it_leaves() {
    let observed = |service: &Service| observe::service(service, &spec(json!({})), None).unwrap();
    let plain = observed(&service(|_| ()));
    assert_eq!((plain.selects, plain.leaving), (3, false));
    let leaving = service(|object| {
        object["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z".into();
        object["spec"]["selector"] = json!({});
    });
    let leaving = observed(&leaving);
    assert_eq!((leaving.selects, leaving.leaving), (0, true));
}

#[test]
fn a_resource_is_read_with_its_finalizer_and_its_way_out() {
    let read = |metadata: Value| {
        let object = json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession",
            "metadata": metadata, "spec": {"roomName": "standup"}});
        observe::session(&serde_json::from_value::<TranscriptionSession>(object).unwrap())
    };
    assert!(read(json!({"name": "monday"})).is_none());
    let metadata =
        json!({"name": "monday", "uid": "u", "generation": 4, "creationTimestamp": "2026-11-25T10:00:00Z"});
    let plain = read(metadata.clone()).unwrap();
    assert_eq!((plain.id.as_str(), plain.generation, plain.has_finalizer), ("u", Some(4), false));
    let mut forced = metadata;
    forced["finalizers"] = json!(["example.com/other", "roomscribe.io/egress"]);
    forced["annotations"] = json!({"roomscribe.io/force-finalize": "true"});
    forced["deletionTimestamp"] = "2026-11-25T11:00:00Z".into();
    let forced = read(forced).unwrap();
    assert!(forced.has_finalizer && forced.force_finalize && forced.deleted_at.is_some());
}

fn at() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn told(change: Value) -> roomscribe_plan::WorkerReport {
    let mut status = json!({"v": 1, "version": 7, "state": "listening", "reason": "", "publisher": null,
        "speech": {"state": "idle", "reason": ""}, "mediaMs": 1200, "audioLostMs": 30, "lastError": null, "new": 1});
    status.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let status = StatusJson::parse(status.to_string().as_bytes()).unwrap();
    observe::report("ts-monday-3", &status, at())
}

#[test]
fn a_worker_says_whom_it_hears() {
    let publisher =
        json!({"attempt": 2, "since": "2026-11-25T11:00:00.120Z", "lastByteAt": "2026-11-25T11:30:00Z"});
    let nobody = told(json!({}));
    assert_eq!((nobody.hearing, nobody.since, nobody.media_ms), (Hearing::Nobody, at(), 1200));
    let publishing = told(json!({"state": "publishing", "publisher": publisher}));
    assert_eq!(publishing.hearing, Hearing::Publishing(2));
    assert_eq!(publishing.since, "2026-11-25T11:00:00.120Z".parse().unwrap());
    let silent = told(json!({"state": "silent", "publisher": publisher}));
    assert_eq!(silent.hearing, Hearing::Silent(2));
    assert_eq!(silent.since, "2026-11-25T11:30:00Z".parse().unwrap());
    assert_eq!(told(json!({"state": "draining", "publisher": publisher})).hearing, Hearing::Publishing(2));
}

#[test]
fn the_worker_s_words_for_the_speech_service_are_ours() {
    let speech =
        |state: &str, reason: &str| told(json!({"speech": {"state": state, "reason": reason}})).speech;
    assert_eq!(speech("live", ""), SpeechState::Live);
    assert_eq!(speech("connecting", ""), SpeechState::Connecting);
    assert_eq!(speech("idle", ""), SpeechState::Idle);
    assert_eq!(speech("retrying", "RateLimited"), SpeechState::Retrying(Reason::RateLimited));
    assert_eq!(
        speech("refused", "SpeechOptionsRejected"),
        SpeechState::Refused(Reason::SpeechOptionsRejected)
    );
    // A word of a newer worker.
    assert_eq!(speech("retrying", "Sulking"), SpeechState::Retrying(Reason::UpstreamUnavailable));
}

#[test]
fn a_worker_that_cannot_store_or_decode_says_so() {
    assert_eq!(told(json!({})).trouble, None);
    assert_eq!(told(json!({"reason": "StorageFull"})).trouble, Some(Reason::StorageFull));
    assert_eq!(told(json!({"reason": "StorageFailed"})).trouble, Some(Reason::StorageFailed));
    assert_eq!(told(json!({"reason": "NatsUnreachable"})).trouble, Some(Reason::NatsUnreachable));
    let publisher = json!({"attempt": 2, "reason": "UnsupportedAudio"});
    let deaf = told(json!({"state": "publishing", "publisher": publisher}));
    assert_eq!(deaf.trouble, Some(Reason::UnsupportedAudio));
    // A reason of another list is not a worker's trouble.
    assert_eq!(told(json!({"reason": "RoomEnded"})).trouble, None);
}

#[test]
fn a_report_of_another_version_is_refused() {
    let error = StatusJson::parse(br#"{"v":2,"version":1,"state":"listening"}"#).unwrap_err();
    assert!(error.to_string().contains("v 2"), "{error}");
    assert!(StatusJson::parse(b"<html>").is_err());
}
