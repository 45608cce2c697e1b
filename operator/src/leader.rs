//! One operator at a time: a Lease. Two would be stopped by the intent in the status all the same, but cost calls.

use anyhow::Context as _;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The Lease, held or waited for.
pub struct Leader {
    held: watch::Receiver<bool>,
    task: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

/// Where and how long.
pub struct LeaseSettings {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// This process.
    pub identity: String,
    /// Seconds until a dead holder's Lease is free.
    pub seconds: u64,
}

impl Leader {
    /// Begins to wait for the Lease.
    ///
    /// # Errors
    /// When the Lease can be neither read nor made.
    pub async fn campaign(client: Client, settings: LeaseSettings) -> anyhow::Result<Self> {
        let (seconds, grace) = (settings.seconds, (settings.seconds / 3).max(1));
        let manager = LeaseManagerBuilder::new(client, &settings.name)
            .with_namespace(&settings.namespace)
            .with_identity(&settings.identity)
            .with_field_manager("roomscribe-operator-lease")
            .with_duration(seconds)
            .with_grace(grace)
            .build()
            .await
            .with_context(|| {
                format!("Lease {}/{}: check the operator's Role", settings.namespace, settings.name)
            })?;
        let (held, task) = manager.watch().await;
        Ok(Self { held, task })
    }

    /// Resolves when this process holds the Lease.
    pub async fn elected(&mut self) {
        // The sender ends with its task only, which `lost` reports.
        let _ = self.held.wait_for(|held| *held).await;
    }

    /// Resolves when it does not hold it any more.
    pub async fn lost(&self) {
        let mut held = self.held.clone();
        let _ = held.wait_for(|held| !*held).await;
    }

    /// Lets the Lease go, so that another operator need not wait for its end.
    pub async fn resign(self) {
        drop(self.held);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.task).await;
    }
}
