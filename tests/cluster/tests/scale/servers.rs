//! What the API server and NATS tell of themselves.

use crate::world::{NAMESPACE, World};
use anyhow::Context;
use kube::Client;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// As the API server's metrics name them.
const WRITES: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
/// Kinds of objects that a session has, and where they are listed.
const OBJECTS: [(&str, &str); 7] = [
    ("transcriptionsessions", "/apis/roomscribe.io/v1alpha1"),
    ("pods", "/api/v1"),
    ("services", "/api/v1"),
    ("secrets", "/api/v1"),
    ("endpoints", "/api/v1"),
    ("endpointslices", "/apis/discovery.k8s.io/v1"),
    ("events", "/api/v1"),
];

/// Numbers that only grow, and their growth.
pub(crate) type Counts = BTreeMap<String, f64>;

/// At one moment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Servers {
    /// Writes to the API server, by verb and resource.
    pub(crate) writes: Counts,
    /// Everything else that it was asked, by verb.
    pub(crate) reads: Counts,
    /// What it asked of etcd, by operation.
    pub(crate) etcd: Counts,
    /// Size of etcd's file.
    pub(crate) etcd_mb: f64,
    /// Counters of NATS; `storedBytes` and `storedMessages` are the log's.
    pub(crate) nats: Counts,
}

impl Servers {
    pub(crate) async fn ask(client: &Client, world: &World) -> anyhow::Result<Self> {
        let metrics = raw(client, "/metrics").await?;
        let total = || samples(&metrics, "apiserver_request_total");
        let is_write = |labels: &str| label(labels, "verb").is_some_and(|verb| WRITES.contains(&verb));
        Ok(Self {
            writes: sums(
                total().filter(|(labels, _)| is_write(labels)),
                &["verb", "resource", "subresource"],
            ),
            reads: sums(total().filter(|(labels, _)| !is_write(labels)), &["verb"]),
            etcd: sums(samples(&metrics, "etcd_requests_total"), &["operation"]),
            etcd_mb: samples(&metrics, "apiserver_storage_size_bytes").map(|(_, bytes)| bytes).sum::<f64>()
                / 1e6,
            nats: nats(world).await?,
        })
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            writes: growth(&self.writes, &earlier.writes),
            reads: growth(&self.reads, &earlier.reads),
            etcd: growth(&self.etcd, &earlier.etcd),
            etcd_mb: self.etcd_mb,
            nats: growth(&self.nats, &earlier.nats),
        }
    }
}

/// Bytes of JSON and number of a session's objects, by kind, for `sessions` of them.
pub(crate) async fn objects(
    client: &Client,
    sessions: usize,
) -> anyhow::Result<BTreeMap<String, (f64, f64)>> {
    let mut sizes = BTreeMap::new();
    for (kind, group) in OBJECTS {
        let text = raw(client, &format!("{group}/namespaces/{NAMESPACE}/{kind}")).await?;
        let list: Value = serde_json::from_str(&text)?;
        let count = list["items"].as_array().map_or(0, Vec::len);
        sizes.insert(kind.to_owned(), (count as f64 / sessions as f64, text.len() as f64 / sessions as f64));
    }
    Ok(sizes)
}

async fn nats(world: &World) -> anyhow::Result<Counts> {
    let ask = async |page: &str| {
        let (_, text) = world.page("app.kubernetes.io/component=nats", 8222, page).await?;
        serde_json::from_str::<Value>(&text).with_context(|| format!("NATS /{page}: {text}"))
    };
    let (server, log) = (ask("varz").await?, ask("jsz").await?);
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or(0.0);
    let mut counts: Counts = ["in_msgs", "out_msgs", "in_bytes", "out_bytes"]
        .map(|name| (name.to_owned(), number(&server, name)))
        .into();
    counts.insert("storedBytes".into(), number(&log, "bytes"));
    counts.insert("storedMessages".into(), number(&log, "messages"));
    Ok(counts)
}

async fn raw(client: &Client, path: &str) -> anyhow::Result<String> {
    Ok(client.request_text(axum::http::Request::get(path).body(Vec::new())?).await?)
}

/// Labels and value of each sample of a metric.
fn samples<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once('}')?;
        Some((labels, value.trim().parse().ok()?))
    })
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

/// Summed by these labels, those that are empty left out.
fn sums<'a>(samples: impl Iterator<Item = (&'a str, f64)>, by: &[&str]) -> Counts {
    let mut sums = Counts::new();
    for (labels, value) in samples {
        let words: Vec<&str> =
            by.iter().filter_map(|name| label(labels, name)).filter(|word| !word.is_empty()).collect();
        *sums.entry(words.join(" ")).or_default() += value;
    }
    sums
}

fn growth(now: &Counts, before: &Counts) -> Counts {
    let grown = |(name, value): (&String, &f64)| {
        let growth = value - before.get(name).copied().unwrap_or_default();
        (growth != 0.0).then(|| (name.clone(), growth))
    };
    now.iter().filter_map(grown).collect()
}
