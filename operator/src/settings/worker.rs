//! Settings of the worker pods that this operator makes.

use super::SettingError;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::ResourceRequirements;
use std::collections::BTreeMap;

/// `imagePullPolicy` of worker pods, spelled as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Ask it once per node.
    IfNotPresent,
    /// The image is on the node already.
    Never,
}

/// The worker pod, where the session does not say otherwise.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// Image of worker pods.
    #[arg(long, env = "WORKER_IMAGE", default_value = "roomscribe-worker:latest", value_name = "IMAGE")]
    pub worker_image: String,
    /// When a node asks the registry for it; none: the cluster's default.
    #[arg(long, env = "WORKER_PULL_POLICY", value_name = "POLICY")]
    pub worker_pull_policy: Option<PullPolicy>,
    /// Secrets with the registry's password, separated by commas.
    #[arg(long, env = "WORKER_PULL_SECRETS", value_delimiter = ',', value_name = "SECRET")]
    pub worker_pull_secrets: Vec<String>,
    /// Resources of worker pods as JSON, {"requests":{"cpu":"20m"},"limits":{"memory":"128Mi"}}; none: what was measured.
    #[arg(long, env = "WORKER_RESOURCES", value_parser = json::<ResourceRequirements>, value_name = "JSON")]
    pub worker_resources: Option<ResourceRequirements>,
    /// Seconds between SIGTERM and SIGKILL of a worker: for a planned move it stays until its publisher has left.
    #[arg(long, env = "WORKER_GRACE_SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(30..=3600), value_name = "SECONDS")]
    pub worker_grace_seconds: u32,
    /// Annotations of every session's Service as a JSON object; a session's own go over them.
    #[arg(long, env = "WORKER_SERVICE_ANNOTATIONS", default_value = "{}", value_parser = json::<Annotations>, value_name = "JSON")]
    pub worker_service_annotations: Annotations,
    /// Log filter of workers.
    #[arg(long, env = "WORKER_LOG", default_value = "info", value_name = "FILTER")]
    pub worker_log: String,
}

/// Names and values.
pub type Annotations = BTreeMap<String, String>;

impl WorkerArgs {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        if self.worker_image.trim().is_empty() {
            return Err(SettingError::new("WORKER_IMAGE", "is empty: give the image of worker pods"));
        }
        match self.worker_resources.as_ref().and_then(in_thousandths) {
            Some((name, quantity)) => Err(SettingError::new(
                "WORKER_RESOURCES",
                format!("{name} of {quantity} is a fraction of a byte: write 64Mi for 64 mebibytes"),
            )),
            None => Ok(()),
        }
    }
}

/// `memory: 64m` is 64 thousandths of a byte, and an often made mistake.
fn in_thousandths(resources: &ResourceRequirements) -> Option<(&str, &str)> {
    let all = [&resources.requests, &resources.limits].into_iter().flatten().flatten();
    let mut sizes = all.filter(|(name, _)| matches!(name.as_str(), "memory" | "ephemeral-storage"));
    sizes.find_map(|(name, size)| size.0.ends_with('m').then_some((name.as_str(), size.0.as_str())))
}

/// A setting that is written as JSON.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("no such JSON: {error}"))
}
