//! Where an installation is tried: on a node of our own, or on the cluster of KUBECONFIG with images from E2E_REGISTRY.

use anyhow::{Context, bail, ensure};
use roomscribe_cluster::{Kubectl, Node};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// As `make e2e` packs them.
const IMAGES: [&str; 6] = ["operator", "worker", "gateway", "speech", "livekit-sim", "nats"];
/// What it makes in a given cluster, and takes away again.
const NAMESPACES: [&str; 4] = ["roomscribe", "meetings", "webinars", "peers"];
/// For kubectl to open a way.
const OPENING: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Cluster {
    pub(crate) kubectl: Kubectl,
    /// `None`: somebody else's.
    node: Option<Node>,
    /// Registry of the images.
    pub(crate) registry: String,
}

impl Cluster {
    pub(crate) async fn begin() -> anyhow::Result<Self> {
        match (given("KUBECONFIG"), given("E2E_REGISTRY")) {
            (Some(config), Some(registry)) => Self::given(config.into(), registry).await,
            (None, Some(_)) => bail!("E2E_REGISTRY without KUBECONFIG: name the cluster too"),
            (_, None) => Self::own().await,
        }
    }

    async fn own() -> anyhow::Result<Self> {
        let folder = PathBuf::from(std::env::var("IMAGES_DIR").context("IMAGES_DIR: run make e2e")?);
        let node = Node::start(|step| eprintln!("{step}")).await?;
        for image in IMAGES {
            node.import(&folder.join(format!("{image}.tar"))).await?;
        }
        Ok(Self { kubectl: node.api().as_admin()?, node: Some(node), registry: "localhost".into() })
    }

    async fn given(config: PathBuf, registry: String) -> anyhow::Result<Self> {
        let kubectl = Kubectl::installed(config);
        for namespace in NAMESPACES {
            let found =
                kubectl.run(&["get", "namespace", namespace, "--ignore-not-found", "-o", "name"]).await?;
            ensure!(
                found.is_empty(),
                "the cluster of KUBECONFIG has a namespace {namespace}: delete it, or use another cluster"
            );
        }
        Ok(Self { kubectl, node: None, registry })
    }

    /// The node, when it is our own.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// The node, of which something is to be killed.
    pub(crate) fn own_node(&self) -> anyhow::Result<&Node> {
        self.node().context("this needs a node of our own")
    }

    /// YAML of ours, with images that this cluster can have.
    pub(crate) fn adapt(&self, yaml: &str) -> String {
        match self.node {
            Some(_) => yaml.to_owned(),
            None => yaml
                .replace("image: localhost/", &format!("image: {}/", self.registry))
                .replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent"),
        }
    }

    /// The chart's values that depend on the cluster.
    pub(crate) fn values(&self) -> Vec<String> {
        match self.node {
            Some(_) => vec!["--values".into(), path("tests/cluster/tests/e2e/own-node.yaml")],
            None => vec!["--set".into(), format!("image.registry={}", self.registry)],
        }
    }

    /// How a pod is reached from here; `ip`: its own address.
    pub(crate) fn way(&self, namespace: &str, pod: &str, ip: &str) -> Way {
        match self.node {
            Some(_) => Way::Straight(ip.to_owned()),
            None => {
                Way::Tunnel { kubectl: self.kubectl.clone(), namespace: namespace.into(), pod: pod.into() }
            }
        }
    }

    /// Takes away what was made in somebody else's cluster.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        if self.node.is_none() {
            let mut delete = vec!["delete", "namespace", "--ignore-not-found", "--timeout=180s"];
            delete.extend(NAMESPACES);
            self.kubectl.run(&delete).await?;
        }
        Ok(())
    }
}

/// To a port of a pod.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// The pod's address, which a node of our own lets this machine reach.
    Straight(String),
    /// Through the API server.
    Tunnel { kubectl: Kubectl, namespace: String, pod: String },
}

/// An open way; it closes with this value.
pub(crate) struct Open {
    /// `address:port`.
    pub(crate) address: String,
    _tunnel: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Way {
    pub(crate) async fn open(&self, port: u16) -> anyhow::Result<Open> {
        match self {
            Self::Straight(ip) => Ok(Open { address: format!("{ip}:{port}"), _tunnel: None }),
            Self::Tunnel { kubectl, namespace, pod } => {
                let port = format!(":{port}");
                let mut tunnel = kubectl.command(&["-n", namespace, "port-forward", pod, &port]).spawn()?;
                let mut said = BufReader::new(tunnel.stdout.take().context("stdout")?).lines();
                let line = tokio::time::timeout(OPENING, said.next_line()).await??.unwrap_or_default();
                let address = line.strip_prefix("Forwarding from ").and_then(|line| line.split(' ').next());
                let address =
                    address.with_context(|| format!("kubectl port-forward {pod}: {line}"))?.to_owned();
                Ok(Open { address, _tunnel: Some((tunnel, said)) })
            }
        }
    }
}

/// A setting of these tests, from the environment.
pub(crate) fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file of this repository.
pub(crate) fn path(name: impl AsRef<Path>) -> String {
    format!("{}/../../{}", env!("CARGO_MANIFEST_DIR"), name.as_ref().display())
}
