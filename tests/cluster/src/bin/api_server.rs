//! An API server with our CRD for a person: runs until Ctrl-C or SIGTERM, then leaves nothing.

use clap::Parser;
use roomscribe_cluster::ApiServer;
use tokio::signal::unix::{SignalKind, signal};

/// Starts etcd, kube-apiserver and the garbage collector on loopback with our CRD, and prints where the kubeconfigs are.
#[derive(Debug, Parser)]
struct Args {
    /// Further users: `system:serviceaccount:<namespace>:<name>`, or any name; each gets a kubeconfig.
    #[arg(long)]
    user: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let api = ApiServer::with_controllers().await?;
    println!("KUBECONFIG={}", api.kubeconfig("admin")?.display());
    println!("kubectl {}", api.folder().join("kubectl").display());
    for user in &args.user {
        println!("{user} {}", api.kubeconfig(user)?.display());
    }
    let mut ends = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = ends.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}
