//! The harness itself: a real API server comes, obeys, is watched, is hurt, and leaves nothing; and what it says of our
//! resource.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod common;

use common::until;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use roomscribe_cluster::{ApiProxy, ApiServer, Fault, Part};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::OnceCell;

/// One server for the tests that do not hurt it; it ends with the process.
async fn api() -> &'static ApiServer {
    static API: OnceCell<ApiServer> = OnceCell::const_new();
    API.get_or_try_init(ApiServer::with_controllers).await.unwrap()
}

async fn sessions(api: &ApiServer, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("roomscribe.io", "v1alpha1", "TranscriptionSession");
    Api::namespaced_with(api.client().await.unwrap(), namespace, &ApiResource::from_gvk(&kind))
}

fn session(name: &str, spec: &Value) -> DynamicObject {
    let value = json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

fn note(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn rule(verbs: &[&str], resource: &str) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.into()]),
        verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
        ..PolicyRule::default()
    }
}

#[derive(Deserialize)]
struct Case {
    case: String,
    name: Option<String>,
    old: Option<Value>,
    spec: Value,
    refused: Option<String>,
}

#[tokio::test]
async fn the_api_server_gives_every_case_of_the_rules_the_verdict_that_it_has_in_process() {
    let api = api().await;
    let namespace = api.namespace(&[]).await.unwrap();
    let sessions = sessions(api, &namespace).await;
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../crds/tests/rules.json")).unwrap();
    assert!(cases.len() > 20);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for case in cases {
        let name = case.name.as_deref().unwrap_or("standup");
        let mut new = session(name, &case.spec);
        let said = match &case.old {
            None => sessions.create(&dry, &new).await,
            Some(old) => {
                let old = sessions.create(&PostParams::default(), &session(name, old)).await.unwrap();
                new.metadata.resource_version = old.metadata.resource_version;
                let said = sessions.replace(name, &dry, &new).await;
                sessions.delete(name, &DeleteParams::default()).await.unwrap();
                said
            }
        };
        match (said, &case.refused) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{}: {error}", case.case);
            }
            (Ok(_), Some(_)) => panic!("{}: accepted", case.case),
            (Err(error), None) => panic!("{}: {error}", case.case),
        }
    }
}

#[tokio::test]
async fn the_examples_of_the_documentation_apply() {
    let api = api().await;
    let namespace = api.namespace(&[]).await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let path = path.to_str().unwrap();
        api.kubectl(&["apply", "--server-side", "-n", &namespace, "-f", path]).await.unwrap();
        count += 1;
    }
    let listed = api.kubectl(&["get", "ts", "-n", &namespace, "--no-headers"]).await.unwrap();
    assert_eq!((count, listed.lines().count()), (3, 3), "{listed}");
}

#[tokio::test]
async fn kubectl_explains_the_fields_of_the_resource() {
    let api = api().await;
    let ingest = api.kubectl(&["explain", "ts.spec.ingest"]).await.unwrap();
    for expected in ["DESCRIPTION", "exposure", "sourceRanges", "keyGeneration"] {
        assert!(ingest.contains(expected), "{expected}: {ingest}");
    }
    assert!(!ingest.contains("<no description>"), "{ingest}");
    let columns = api.kubectl(&["get", "ts", "-A"]).await;
    assert!(columns.is_ok());
}

#[tokio::test]
async fn sessions_are_selected_by_the_name_of_their_room() {
    let api = api().await;
    let namespace = api.namespace(&[]).await.unwrap();
    let sessions = sessions(api, &namespace).await;
    for (name, room) in [("a", "standup"), ("b", "retro"), ("c", "standup")] {
        sessions.create(&PostParams::default(), &session(name, &json!({"roomName": room}))).await.unwrap();
    }
    let found = sessions.list(&ListParams::default().fields("spec.roomName=standup")).await.unwrap();
    let names: Vec<_> = found.items.iter().filter_map(|found| found.metadata.name.as_deref()).collect();
    assert_eq!(names, ["a", "c"]);
}

#[tokio::test]
async fn what_a_deleted_session_owns_is_collected_and_a_deleted_namespace_goes() {
    let api = api().await;
    let namespace = api.namespace(&[]).await.unwrap();
    let sessions = sessions(api, &namespace).await;
    let owner =
        sessions.create(&PostParams::default(), &session("a", &json!({"roomName": "a"}))).await.unwrap();
    let notes: Api<ConfigMap> = Api::namespaced(api.client().await.unwrap(), &namespace);
    let mut owned = note("owned");
    owned.metadata.owner_references = Some(
        serde_json::from_value(json!([{"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession", "name": "a", "uid": owner.metadata.uid}]))
            .unwrap(),
    );
    notes.create(&PostParams::default(), &owned).await.unwrap();
    sessions.delete("a", &DeleteParams::default()).await.unwrap();
    until("the owned object goes", async || notes.get_opt("owned").await.unwrap().is_none()).await;
    api.kubectl(&["delete", "namespace", &namespace, "--timeout=60s"]).await.unwrap();
}

#[tokio::test]
async fn a_user_may_do_what_was_granted_and_the_log_counts_what_they_did() {
    let api = api().await;
    let (here, there) = (api.namespace(&[]).await.unwrap(), api.namespace(&[]).await.unwrap());
    let user = format!("system:serviceaccount:{here}:operator");
    api.grant(&user, Some(&here), vec![rule(&["get", "create"], "configmaps")]).await.unwrap();
    let client = api.client_as(&user).await.unwrap();
    let notes: Api<ConfigMap> = Api::namespaced(client.clone(), &here);
    until("the rule is known", async || notes.get_opt("none").await.is_ok()).await;
    let before = api.requests(&user).unwrap();

    notes.create(&PostParams::default(), &note("a")).await.unwrap();
    let refused = notes.delete("a", &DeleteParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_forbidden()));
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, &there);
    assert!(
        matches!(elsewhere.get("a").await.unwrap_err(), kube::Error::Api(status) if status.is_forbidden())
    );

    let since = api.requests(&user).unwrap().since(&before);
    let counted: Vec<_> = since.all().collect();
    assert_eq!(
        counted,
        [("create", "configmaps", 201, 1), ("delete", "configmaps", 403, 1), ("get", "configmaps", 403, 1)]
    );
    assert_eq!((since.writes(), since.of("secrets")), (2, 0));
    let creations = api.requests_where(|request| request.user == user && request.verb == "create").unwrap();
    assert_eq!((creations.len(), creations[0].namespace.as_str()), (1, here.as_str()));
}

#[tokio::test]
async fn a_restricted_namespace_refuses_a_pod_that_is_not() {
    let api = api().await;
    let namespace = api.namespace(&[("pod-security.kubernetes.io/enforce", "restricted")]).await.unwrap();
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}),
    )
    .unwrap();
    let pods = Api::namespaced(api.client().await.unwrap(), &namespace);
    let refused = pods.create(&PostParams::default(), &pod).await.unwrap_err().to_string();
    assert!(refused.contains("PodSecurity"), "{refused}");
}

#[tokio::test]
async fn the_proxy_loses_answers_delays_and_cuts_watches_but_changes_nothing_else() {
    let api = api().await;
    let namespace = api.namespace(&[]).await.unwrap();
    let user = "through-the-proxy";
    let verbs = ["get", "list", "watch", "create", "update"];
    api.grant(user, Some(&namespace), vec![rule(&verbs, "configmaps")]).await.unwrap();
    let proxy = ApiProxy::start(api, user, 1).await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(proxy.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    // Its retries would hide the faults.
    let client = kube::client::ClientBuilder::try_from(config).unwrap().build();
    let notes: Api<ConfigMap> = Api::namespaced(client, &namespace);
    until("the rule is known", async || notes.get_opt("none").await.is_ok()).await;

    proxy.set_faults(vec![
        Fault::answer(409).on("PUT").at_most(1),
        Fault::lose(504).on("POST").at_most(1),
        Fault::hang().on("GET").at("/hung").at_most(1),
    ]);
    let lost = notes.create(&PostParams::default(), &note("a")).await;
    assert!(lost.is_err() || proxy.happened()[1] == 1);
    let mut there = notes.get("a").await.unwrap();
    let conflict = notes.replace("a", &PostParams::default(), &there).await.unwrap_err();
    assert!(matches!(conflict, kube::Error::Api(status) if status.is_conflict()));
    there.data = Some([("k".to_owned(), "v".to_owned())].into());
    notes.replace("a", &PostParams::default(), &there).await.unwrap();
    let hung = tokio::time::timeout(Duration::from_millis(300), notes.get("hung")).await;
    assert!(hung.is_err());
    assert_eq!(proxy.happened(), [1, 1, 1]);

    let (sender, mut seen) = tokio::sync::mpsc::channel(16);
    let watched = watcher(notes.clone(), watcher::Config::default()).default_backoff().touched_objects();
    tokio::spawn(watched.for_each(move |found| {
        let sender = sender.clone();
        async move {
            if let Ok(found) = found {
                let _ = sender.send(found.metadata.name.unwrap()).await;
            }
        }
    }));
    assert_eq!(seen.recv().await.unwrap(), "a");
    let watches = || api.requests(user).unwrap().count("watch", "configmaps");
    until("the watch is open", async || watches() == 1).await;
    proxy.cut();
    notes.create(&PostParams::default(), &note("b")).await.unwrap();
    until("what came after the cut is seen", async || seen.try_recv().is_ok_and(|name| name == "b")).await;
    until("the watch is there again", async || watches() >= 2).await;
}

#[tokio::test]
async fn an_api_server_that_was_killed_or_frozen_goes_on_with_what_it_had() {
    let api = ApiServer::start().await.unwrap();
    let namespace = api.namespace(&[]).await.unwrap();
    let notes: Api<ConfigMap> = Api::namespaced(api.client().await.unwrap(), &namespace);
    notes.create(&PostParams::default(), &note("a")).await.unwrap();
    let before = api.requests("admin").unwrap();

    api.kill(Part::ApiServer).unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(2), notes.get("a")).await;
    assert!(!matches!(gone, Ok(Ok(_))));
    api.start_again(Part::ApiServer).await.unwrap();
    notes.get("a").await.unwrap();
    assert!(api.requests("admin").unwrap().since(&before).total() > 0, "the audit log goes on");

    api.freeze(Part::ApiServer).unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(300), notes.get("a")).await;
    api.thaw(Part::ApiServer).unwrap();
    assert!(silent.is_err());
    notes.get("a").await.unwrap();
}

#[tokio::test]
#[ignore = "the child of the next test"]
async fn child_that_is_killed() {
    let api = ApiServer::with_controllers().await.unwrap();
    println!("folder={}", api.folder().display());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_test_that_was_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let folder = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| line.split_once("folder=").map(|(_, folder)| folder.to_owned())).next()
    })
    .await
    .unwrap()
    .unwrap();
    assert!(processes(&folder) >= 3, "etcd, API server, controllers");
    child.kill().unwrap();
    child.wait().unwrap();
    until("its processes end", async || processes(&folder) == 0).await;
    until("its folder goes", async || !std::path::Path::new(&folder).exists()).await;
}

/// Processes that name this folder.
fn processes(folder: &str) -> usize {
    let command_line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(command_line);
    all.filter(|line| String::from_utf8_lossy(line).contains(folder)).count()
}
