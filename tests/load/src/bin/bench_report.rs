//! Puts the stages' results together: `docs/benchmarks.json` and `docs/benchmarks.md`.

use anyhow::{Context, Result};
use clap::Parser;
use roomscribe_load::report::{document, merge, page};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to put together.
#[derive(Debug, Parser)]
struct Args {
    /// Folder with one JSON file per stage.
    #[arg(long)]
    results: PathBuf,
    /// Folder with the peers' package.json.
    #[arg(long)]
    peers: PathBuf,
    /// Markdown for the page's end.
    #[arg(long)]
    profile: PathBuf,
    /// Folder to write to.
    #[arg(long)]
    docs: PathBuf,
    /// Said of the run: `full`, `quick` or `keep`. With `keep`, results that are not in the folder stay as `--docs` has them.
    #[arg(long)]
    kind: String,
    /// Minutes of load average before the run began.
    #[arg(long)]
    load: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut results = Map::new();
    for stage in ["ingest", "sessions", "fanout", "log", "operator"] {
        let Ok(text) = fs::read_to_string(args.results.join(format!("{stage}.json"))) else { continue };
        let result: Map<String, Value> =
            serde_json::from_str(&text).with_context(|| format!("{stage}.json"))?;
        results.extend(result);
    }
    let (file, about) = (args.docs.join("benchmarks.json"), about(&args)?);
    let document = match args.kind.as_str() {
        "keep" => {
            let kept = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            merge(&serde_json::from_str(&kept)?, &about, results).map_err(anyhow::Error::msg)?
        }
        _ => document(about, results),
    };
    let profile = fs::read_to_string(&args.profile).unwrap_or_default();
    fs::write(file, format!("{document:#}\n"))?;
    fs::write(args.docs.join("benchmarks.md"), page(&document, &profile))?;
    for (name, value) in document["ratios"].as_object().into_iter().flatten() {
        println!("{name:<40} {value}");
    }
    Ok(())
}

fn about(args: &Args) -> Result<Value> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kilobytes = memory.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(json!({
        "machine": {
            "cpu": model.map_or("unknown", |(_, model)| model),
            "cores": std::thread::available_parallelism()?.get(),
            "memoryGigabytes": (kilobytes as f64 / 1e6).round(),
            "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        },
        "versions": {
            "roomscribe": env!("CARGO_PKG_VERSION"),
            "rustc": words("rustc", &["--version"], 1),
            "ffmpeg": words("ffmpeg", &["-version"], 2),
            "node": words("node", &["--version"], 0),
            "nodeMediaServer": package(&args.peers, "node-media-server")?,
            "ws": package(&args.peers, "ws")?,
        },
        "run": {
            "date": words("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"], 0),
            "commit": words("git", &["describe", "--always", "--dirty", "--exclude", "*"], 0),
            "kind": args.kind,
            "loadBefore": args.load,
        },
    }))
}

/// The nth word of what a program prints first; `unknown` when it cannot be run.
fn words(program: &str, arguments: &[&str], nth: usize) -> String {
    let output =
        Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.split_whitespace().nth(nth).unwrap_or("unknown").to_owned()
}

fn package(peers: &Path, name: &str) -> Result<Value> {
    let package: Value = serde_json::from_str(&fs::read_to_string(peers.join("package.json"))?)?;
    Ok(package["dependencies"][name].clone())
}
