//! An installation of an earlier version is replaced by this one under a running session, and back; then a namespace goes with
//! the session in it, and the installation with another.

use crate::cluster::{Cluster, given, path};
use crate::transcript::Transcript;
use crate::world::{CHART, NAMESPACE, World};
use crate::{SESSION, assert_true, meeting};
use anyhow::ensure;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Made after the upgrade, in a namespace of its own; so is its room called.
const LATER: &str = "retro";
const ITS_NAMESPACE: &str = "webinars";
const ITS_YAML: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: webinars, labels: {pod-security.kubernetes.io/enforce: restricted}}\n";
/// Programs of the chart that this tree builds.
const ROLES: [&str; 3] = ["operator", "worker", "gateway"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_session_runs_on_through_upgrade_and_rollback_and_nothing_outlives_its_namespace_or_the_installation()
 {
    let world = World::without_chart().await.unwrap();
    let Some(earlier) = Earlier::given(&world.cluster).await.unwrap() else {
        eprintln!("left out: E2E_FROM_TAG names no earlier images in {}", world.cluster.registry);
        return world.cluster.end().await.unwrap();
    };
    world.cluster.kubectl.apply(ITS_YAML).await.unwrap();
    release(&world, "install", &earlier).await;
    meeting(&world).await;
    // By its id: a name is found no longer than its resource is there.
    let id = id(&world, NAMESPACE, SESSION).await;
    let worker = worker_of(&world, NAMESPACE).await.unwrap();
    assert!(worker.image.ends_with(&format!(":{}", earlier.tag)), "{worker:?}");

    release(&world, "upgrade", &Earlier::not()).await;
    goes_on(&world, &id, &worker, "upgrade").await;
    let later = starts_later(&world).await;
    let its_worker = worker_of(&world, ITS_NAMESPACE).await.unwrap();
    assert!(!its_worker.image.ends_with(&format!(":{}", earlier.tag)), "after the upgrade: {its_worker:?}");
    assert!(has_our_resource(&world).await.unwrap(), "the upgrade brings the resource of this tree");

    step("rollback", world.helm(&["rollback", "roomscribe", "1", "--wait", "--timeout", "120s"])).await;
    goes_on(&world, &id, &worker, "rollback").await;

    // What is taken away now is taken away by this tree.
    release(&world, "upgrade", &Earlier::not()).await;
    let delete = ["delete", "namespace", NAMESPACE, "--timeout=120s"];
    step("the namespace goes", world.cluster.kubectl.run(&delete)).await;
    ended_whole(&world, &id, "with its namespace").await;
    assert_eq!(world.egresses().await.unwrap().len(), 1, "only the other session's");

    step("uninstall", world.helm(&["uninstall", "roomscribe", "--wait", "--timeout", "180s"])).await;
    ended_whole(&world, &later, "with the installation").await;
    nothing_but_what_is_kept(&world).await;
    world.cluster.end().await.unwrap();
}

/// A version that can be installed.
struct Earlier {
    chart: String,
    /// Of its images; empty: the chart's own.
    tag: String,
}

impl Earlier {
    /// E2E_FROM_CHART and E2E_FROM_TAG, with archives in E2E_FROM_IMAGES for a node of our own. Without them this tree's chart
    /// with its images by another name, so that every pod is replaced as well; `None` where that cannot be.
    async fn given(cluster: &Cluster) -> anyhow::Result<Option<Self>> {
        let chart = given("E2E_FROM_CHART").unwrap_or_else(|| path(CHART));
        let tag = given("E2E_FROM_TAG");
        let Some(node) = cluster.node() else { return Ok(tag.map(|tag| Self { chart, tag })) };
        for role in ROLES {
            match (given("E2E_FROM_IMAGES"), &tag) {
                (Some(folder), _) => node.import(&Path::new(&folder).join(format!("{role}.tar"))).await?,
                (None, Some(_)) => {}
                (None, None) => {
                    let name = format!("{}/roomscribe/{role}", cluster.registry);
                    node.tag(&format!("{name}:0.1.0"), &format!("{name}:from")).await?;
                }
            }
        }
        Ok(Some(Self { chart, tag: tag.unwrap_or_else(|| "from".into()) }))
    }

    /// This tree.
    fn not() -> Self {
        Self { chart: path(CHART), tag: String::new() }
    }
}

async fn release(world: &World, verb: &str, version: &Earlier) {
    let namespaces = format!("gateway.namespaces={{{NAMESPACE},{ITS_NAMESPACE}}}");
    let tag = format!("image.tag={}", version.tag);
    let more = ["--set", &namespaces, "--set", &tag, "--wait", "--timeout", "120s"];
    step(verb, world.release(verb, &version.chart, &more)).await;
}

async fn step(what: &str, doing: impl Future<Output = anyhow::Result<String>>) {
    let begun = Instant::now();
    doing.await.unwrap();
    eprintln!("{:5.1} s  {what}", begun.elapsed().as_secs_f64());
}

/// The pod that hears a session.
#[derive(Debug, PartialEq, Eq)]
struct Worker {
    uid: String,
    image: String,
    restarts: String,
}

async fn id(world: &World, namespace: &str, session: &str) -> String {
    let uid = ["-n", namespace, "get", "ts", session, "-o", "jsonpath={.metadata.uid}"];
    world.cluster.kubectl.run(&uid).await.unwrap()
}

/// Of the namespace's one session.
async fn worker_of(world: &World, namespace: &str) -> anyhow::Result<Worker> {
    let pods = ["-n", namespace, "get", "pods", "-l", "app.kubernetes.io/component=worker"];
    let told = r"jsonpath={range .items[*]}{.metadata.uid} {.spec.containers[0].image} {.status.containerStatuses[0].restartCount}{'\n'}";
    let told = world.cluster.kubectl.run(&[&pods[..], &["-o", told]].concat()).await?;
    let words: Vec<&str> = told.split_whitespace().collect();
    let &[uid, image, restarts] = words.as_slice() else { anyhow::bail!("workers in {namespace}: {told}") };
    Ok(Worker { uid: uid.into(), image: image.into(), restarts: restarts.into() })
}

/// Two more words come to all viewers from the same pod, and not one was missed.
async fn goes_on(world: &World, session: &str, before: &Worker, what: &str) {
    world.until_more_words(session, 2).await.unwrap();
    assert_eq!(&worker_of(world, NAMESPACE).await.unwrap(), before, "after the {what}");
    whole(&world.transcript(session).await.unwrap(), what);
}

fn whole(transcript: &Transcript, after: &str) {
    assert_true(transcript, after);
    assert_eq!(transcript.gaps_ms(), Vec::<u64>::new(), "gaps {after}\n{}", transcript.brief());
}

/// A session of what is installed now; its id.
async fn starts_later(world: &World) -> String {
    world.join(LATER, "grace").await.unwrap();
    world.create(ITS_NAMESPACE, LATER, json!({"roomName": LATER})).await.unwrap();
    let id = id(world, ITS_NAMESPACE, LATER).await;
    world.until_more_words(&id, 3).await.unwrap();
    id
}

/// A dry run of this tree's would change nothing.
async fn has_our_resource(world: &World) -> anyhow::Result<bool> {
    let generation = "jsonpath={.metadata.generation}";
    let now = ["get", "crd", "transcriptionsessions.roomscribe.io", "-o", generation];
    let crd = path("crds/transcriptionsessions.yaml");
    let dry =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", &crd, "-o", generation];
    Ok(world.cluster.kubectl.run(&now).await? == world.cluster.kubectl.run(&dry).await?)
}

/// All viewers have its `end`, after everything that was said.
async fn ended_whole(world: &World, session: &str, how: &str) {
    let end = async || Ok(world.transcript(session).await?.has_ended());
    world.until(&format!("a session ends {how}, for all viewers"), end).await.unwrap();
    whole(&world.transcript(session).await.unwrap(), how);
}

/// Of everything that was ever made: the resource, and the keys of the next installation.
async fn nothing_but_what_is_kept(world: &World) {
    let kinds = "all,ts,secrets,configmaps,serviceaccounts,pdb,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings,crds";
    let ours = ["get", kinds, "-A", "-l", "app.kubernetes.io/part-of=roomscribe", "-o", "name"];
    let kept = [
        "customresourcedefinition.apiextensions.k8s.io/transcriptionsessions.roomscribe.io",
        "secret/roomscribe-install",
    ];
    let only = async || {
        let left = world.cluster.kubectl.run(&ours).await?;
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        ensure!(left == kept, "{left:?}");
        ensure!(world.cluster.kubectl.run(&["get", "ts", "-A", "-o", "name"]).await?.is_empty(), "sessions");
        Ok(world.egresses().await?.is_empty())
    };
    world.until("only what the chart keeps is left, and no egress", only).await.unwrap();
}
