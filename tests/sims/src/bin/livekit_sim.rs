//! The simulated LiveKit as a program; what it does stands in `roomscribe_sims::livekit`.

use anyhow::Context;
use clap::Parser;
use roomscribe_sims::audio_file;
use roomscribe_sims::egress::AudioSource;
use roomscribe_sims::livekit::{AtEnd, Config, Faults, Keys, Simulator};
use roomscribe_sims::meeting::MEETING_AAC;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A simulated LiveKit: Twirp API, real RTMP, webhooks, faults under /sim.
#[derive(Debug, Parser)]
struct Args {
    /// Address of the API.
    #[arg(long, default_value = "127.0.0.1:7880")]
    listen: SocketAddr,
    /// API key.
    #[arg(long, default_value = "devkey")]
    api_key: String,
    /// API secret.
    #[arg(long, default_value = "secret-of-the-simulated-livekit-0")]
    api_secret: String,
    /// Where webhooks go.
    #[arg(long)]
    webhook_url: Option<String>,
    /// What rooms hear; the demo's meeting by default.
    #[arg(long)]
    fixture: Option<PathBuf>,
    /// What happens at its end.
    #[arg(long, value_enum, default_value_t)]
    at_end: AtEnd,
    /// Times real time.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Seed of ids and chances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Begin with the faults of a real egress at the frequencies that were seen.
    #[arg(long)]
    observed: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let audio = match &args.fixture {
        None => AudioSource::Adts(MEETING_AAC.to_vec()),
        Some(path) => {
            audio_file::load(path).await.with_context(|| format!("--fixture {}", path.display()))?
        }
    };
    let simulator = Simulator::start(Config {
        listen: args.listen,
        keys: Keys { api_key: args.api_key, api_secret: args.api_secret },
        webhook_url: args.webhook_url,
        audio,
        at_end: args.at_end,
        speed: args.speed,
        seed: args.seed,
        faults: if args.observed { Faults::observed() } else { Faults::default() },
    })
    .await?;
    println!("listening {}", simulator.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
