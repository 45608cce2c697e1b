//! A cluster of one node for a person: runs until Ctrl-C or SIGTERM, then leaves nothing. `make cluster` starts it in the
//! background, `make cluster-down` ends it.

use anyhow::Context;
use clap::Parser;
use roomscribe_cluster::Node;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a node, writes what to do next into FILE, and waits.
#[derive(Debug, Parser)]
struct Args {
    /// Written once all is up.
    #[arg(long, value_name = "FILE")]
    ready: PathBuf,
    /// Images to bring, docker-archives.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // kube's client complains of every question to a server that is not up yet.
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter("warn,kube_client=off")
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let _node = tokio::select! {
        node = up(&args) => node?,
        _ = terminate.recv() => return Ok(()),
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

async fn up(args: &Args) -> anyhow::Result<Node> {
    let node = Node::start(|step| eprintln!("{step}")).await?;
    for image in &args.image {
        node.import(image).await?;
        eprintln!("imported {}", image.display());
    }
    let (kubeconfig, folder) = (node.api().kubeconfig("admin")?, node.api().folder());
    let text = format!(
        "export KUBECONFIG={}\nalias kubectl={}\n# logs: {}\n# everything goes with: make cluster-down\n",
        kubeconfig.display(),
        folder.join("kubectl").display(),
        folder.join("log").display(),
    );
    write_whole(&args.ready, &text)?;
    Ok(node)
}

/// Whole or not at all: somebody waits for it.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let half = path.with_extension("new");
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, path)).context("--ready")
}
