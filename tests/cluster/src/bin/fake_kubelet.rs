//! The played kubelet as a program; what it does stands in `roomscribe_cluster::kubelet`.

use anyhow::Context;
use clap::Parser;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use roomscribe_cluster::kubelet::{Behaviour, FakeKubelet, Settings};
use std::path::PathBuf;

/// Plays scheduler, kubelet, load balancer and workers for Roomscribe's pods and Services.
#[derive(Debug, Parser)]
struct Args {
    /// Kubeconfig with every right; default as kubectl's.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Seed of delays and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Part of the sessions, as i/n, i from 0: several processes share many sessions.
    #[arg(long, default_value = "0/1", value_parser = shard)]
    shard: (u32, u32),
    /// Port of the control API on 127.0.0.1.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Behaviour as JSON, as `PUT /fake/behaviour` takes it.
    #[arg(long, default_value = "{}")]
    behaviour: String,
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parts =
        text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    parts.filter(|(part, parts)| part < parts).ok_or_else(|| "give i/n with i below n".into())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let args = Args::parse();
    let behaviour: Behaviour = serde_json::from_str(&args.behaviour).context("--behaviour")?;
    let config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    let settings = Settings {
        seed: args.seed,
        behaviour,
        shard: args.shard,
        control_port: args.control_port,
        ..Settings::default()
    };
    let kubelet = FakeKubelet::start(Client::try_from(config)?, settings).await?;
    println!("control http://{}", kubelet.control());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
