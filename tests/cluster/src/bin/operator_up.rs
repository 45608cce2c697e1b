//! An operator to play with: API server, simulated LiveKit, played kubelet and the real operator, on loopback. Runs until
//! Ctrl-C or SIGTERM, then leaves nothing. `make operator-up` starts it, `make operator-down` ends it.

use anyhow::Context;
use clap::Parser;
use roomscribe_cluster::kubelet::{FakeKubelet, Settings};
use roomscribe_cluster::{API_KEY, API_SECRET, ApiServer, Operator, OperatorSettings};
use roomscribe_sims::livekit::{Config, Keys, Person, Simulator};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

const USER: &str = "system:serviceaccount:roomscribe:roomscribe-operator";
const NAMESPACE: &str = "meetings";
const ROOM: &str = "standup";

/// Starts everything, writes what to do next into FILE, and waits.
#[derive(Debug, Parser)]
struct Args {
    /// Written once all is up.
    #[arg(long, value_name = "FILE")]
    ready: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let folder = tempfile::tempdir()?;
    let up = tokio::select! {
        up = up(&args, folder.path()) => up?,
        _ = terminate.recv() => return Ok(()),
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let Up { operator, .. } = up;
    operator.stop().await?;
    Ok(())
}

/// Everything that ends with it.
struct Up {
    operator: Operator,
    _kubelet: FakeKubelet,
    _livekit: Simulator,
    _api: ApiServer,
}

async fn up(args: &Args, folder: &std::path::Path) -> anyhow::Result<Up> {
    eprintln!("starting etcd and kube-apiserver");
    let api = ApiServer::with_controllers().await?;
    Operator::install(&api).await?;
    api.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n")).await?;
    eprintln!("starting a simulated LiveKit and a played kubelet");
    let livekit = livekit().await?;
    let kubelet = FakeKubelet::start(api.client().await?, Settings::default()).await?;
    eprintln!("starting the operator");
    std::fs::write(folder.join("id"), format!("{:08x}", fastrand::u32(..)))?;
    std::fs::write(
        folder.join("key"),
        std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect::<Vec<_>>(),
    )?;
    let settings = OperatorSettings::new(&api, USER, "roomscribe", &livekit.url())?;
    let settings = settings.with(&[("GLADIA_API_URL", "http://speech.played:8080")]);
    let operator = Operator::start(&settings, folder).await?;
    let text = next_steps(&api, &livekit, &kubelet, &operator)?;
    // Whole or not at all: somebody waits for it.
    let half = args.ready.with_extension("new");
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &args.ready)).context("--ready")?;
    Ok(Up { operator, _kubelet: kubelet, _livekit: livekit, _api: api })
}

async fn livekit() -> anyhow::Result<Simulator> {
    let keys = Keys { api_key: API_KEY.into(), api_secret: API_SECRET.into() };
    let config = Config { seed: fastrand::u64(..), ..Config::repeating(keys) };
    let livekit = Simulator::start(config).await?;
    livekit.join(ROOM, &Person::speaking("ada"));
    Ok(livekit)
}

fn next_steps(
    api: &ApiServer,
    livekit: &Simulator,
    kubelet: &FakeKubelet,
    operator: &Operator,
) -> anyhow::Result<String> {
    let (kubeconfig, kubectl) = (api.kubeconfig("admin")?, api.folder().join("kubectl"));
    let (sim, played) = (livekit.url(), kubelet.control());
    Ok(format!(
        "export KUBECONFIG={}\n\
         alias kubectl={}\n\
         # then, for example:\n\
         #   kubectl -n {NAMESPACE} apply -f docs/examples/session.yaml\n\
         #   kubectl -n {NAMESPACE} get ts -w\n\
         #   kubectl -n {NAMESPACE} describe ts {ROOM}\n\
         #   curl -X POST http://{played}/fake/pods/{NAMESPACE}/ts-{ROOM}-1/crash?code=1   # the worker dies\n\
         #   curl {sim}/sim/egresses                                                   # what LiveKit really runs\n\
         #   kubectl -n {NAMESPACE} delete ts {ROOM}\n\
         # the operator's log: {}\n",
        kubeconfig.display(),
        kubectl.display(),
        operator.log().display(),
    ))
}
