//! A real Kubernetes for tests: kube-apiserver and etcd on loopback ([`ApiServer`]), a proxy that misbehaves between it
//! and a client ([`ApiProxy`]), a program that plays kubelet and load balancer ([`kubelet`]); and a whole cluster of one node
//! with real pods ([`Node`]).
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use roomscribe_cluster::{ApiServer, Fault, ApiProxy};
//! let api = ApiServer::with_controllers().await?;
//! let namespace = api.namespace(&[("pod-security.kubernetes.io/enforce", "restricted")]).await?;
//! api.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}").await?;
//! let role = api.kubeconfig("system:serviceaccount:roomscribe:operator")?; // for a process that must run as that role
//! let proxy = ApiProxy::start(&api, "system:serviceaccount:roomscribe:operator", 1).await?;
//! proxy.set_faults(vec![Fault::answer(409).on("PUT").share(0.1)]);
//! let before = api.requests("system:serviceaccount:roomscribe:operator")?;
//! api.restart_api_server().await?;
//! let since = api.requests("system:serviceaccount:roomscribe:operator")?.since(&before);
//! assert_eq!(since.writes(), 0, "{since}");
//! # drop((namespace, role)); Ok(()) }
//! ```

mod access;
mod api_server;
mod audit;
mod certificates;
pub mod kubelet;
mod machine;
mod node;
mod operator;
mod program;
mod proxy;
pub mod scale;

pub use access::Kubectl;
pub use api_server::ApiServer;
pub use audit::{Request, Requests};
pub use machine::Part;
pub use node::Node;
pub use operator::{API_KEY, API_SECRET, Operator, OperatorSettings, committed_rules, operator_program};
pub use proxy::{ApiProxy, Fault};

pub(crate) use api_server::free_port;
