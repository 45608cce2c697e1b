//! What every process of the node uses, by what it is for, from `/proc`.

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Parts of Kubernetes; each is the first or second word of its command line.
const PARTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    SHIM,
];
const SHIM: &str = "containerd-shim-runc-v2";
/// Labels that say what a pod is for.
const LABELS: [&str; 3] = ["app.kubernetes.io/component", "app", "k8s-app"];
/// Of this program: the watches and the viewers.
const MEASURING: &str = "measuring";
/// Ticks of `/proc/<pid>/stat` in a second, on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// Memory of one kind of process now, and its CPU over a time; MB are millions of bytes.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Use {
    pub(crate) processes: usize,
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mb: f64,
    /// What several map is divided by their number.
    pub(crate) proportional_mb: f64,
    /// Nobody else's: heap and stacks.
    pub(crate) anonymous_mb: f64,
    /// What the pods' cgroups are charged: with page cache and kernel.
    pub(crate) charged_mb: f64,
}

/// Between two readings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) by_kind: BTreeMap<String, Use>,
    /// CPU-seconds of everything on this machine, also what is none of ours.
    pub(crate) machine_cpu_seconds: f64,
    /// Of the machine, at the end.
    pub(crate) available_mb: f64,
}

/// At one moment.
pub(crate) struct Reading {
    at: Instant,
    cpu: HashMap<u32, (String, f64)>,
    memory: BTreeMap<String, Use>,
    machine_cpu: f64,
    available_mb: f64,
}

impl Reading {
    /// `folder`: the node's own.
    pub(crate) async fn take(client: &Client, folder: &Path) -> anyhow::Result<Self> {
        let (kinds, folder) = (kinds_of_pods(client).await?, folder.to_owned());
        tokio::task::spawn_blocking(move || Self::read(&kinds, &folder)).await?
    }

    fn read(kinds: &HashMap<String, String>, folder: &Path) -> anyhow::Result<Self> {
        let at = Instant::now();
        let (mut cpu, mut memory, mut pods) =
            (HashMap::new(), BTreeMap::<String, Use>::new(), BTreeSet::new());
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may end while it is read.
            let Some(process) = Process::read(pid, kinds, folder) else { continue };
            let entry = memory.entry(process.kind.clone()).or_default();
            process.add_to(entry);
            if let Some(pod) = process.cgroup.filter(|pod| pods.insert(pod.clone())) {
                // A pod's charge is told with its program, or with its pause container when that is read first.
                let kind = pod.file_name().and_then(|name| kinds.get(name.to_str()?.strip_prefix("pod")?));
                memory.entry(kind.cloned().unwrap_or_default()).or_default().charged_mb += charged(&pod);
            }
            cpu.insert(pid, (process.kind, process.cpu));
        }
        Ok(Self { at, cpu, memory, machine_cpu: machine_cpu()?, available_mb: available_mb()? })
    }

    /// What was used since an earlier one.
    pub(crate) fn since(&self, earlier: &Self) -> Usage {
        let mut by_kind = self.memory.clone();
        for (pid, (kind, cpu)) in &self.cpu {
            let before = earlier.cpu.get(pid).map_or(0.0, |(_, cpu)| *cpu);
            if let Some(entry) = by_kind.get_mut(kind) {
                entry.cpu_seconds += cpu - before;
            }
        }
        Usage {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            by_kind,
            machine_cpu_seconds: self.machine_cpu - earlier.machine_cpu,
            available_mb: self.available_mb,
        }
    }
}

struct Process {
    kind: String,
    cpu: f64,
    resident: f64,
    proportional: f64,
    anonymous: f64,
    /// Of its pod.
    cgroup: Option<PathBuf>,
}

impl Process {
    fn read(pid: u32, kinds: &HashMap<String, String>, folder: &Path) -> Option<Self> {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let cgroup = cgroup_of_pod(&file("cgroup")?);
        let kind = match &cgroup {
            Some(pod) => {
                let kind = kinds.get(pod.file_name()?.to_str()?.strip_prefix("pod")?)?;
                if file("comm")?.trim() == "pause" { "pause".to_owned() } else { kind.clone() }
            }
            None if pid == std::process::id() => MEASURING.to_owned(),
            None => part(&file("cmdline")?, folder)?.to_owned(),
        };
        let (status, rollup) = (file("status")?, file("smaps_rollup")?);
        Some(Self {
            kind,
            cpu: cpu_seconds(&file("stat")?)?,
            resident: kilobytes(&status, "VmRSS:")?,
            proportional: kilobytes(&rollup, "Pss:")?,
            anonymous: kilobytes(&status, "RssAnon:")?,
            cgroup,
        })
    }

    fn add_to(&self, of_kind: &mut Use) {
        of_kind.processes += 1;
        of_kind.resident_mb += self.resident;
        of_kind.proportional_mb += self.proportional;
        of_kind.anonymous_mb += self.anonymous;
    }
}

/// What each pod is for, by uid.
async fn kinds_of_pods(client: &Client) -> anyhow::Result<HashMap<String, String>> {
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
    let kind = |pod: &Pod| {
        let label = LABELS.iter().find_map(|label| pod.labels().get(*label));
        Some((pod.uid()?, label.cloned().unwrap_or_else(|| pod.name_any())))
    };
    Ok(pods.items.iter().filter_map(kind).collect())
}

/// `…/pod<uid>` under `/sys/fs/cgroup`, of the memory hierarchy.
fn cgroup_of_pod(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        match rest.split_once(':')? {
            ("memory", path) => Some(format!("/sys/fs/cgroup/memory{path}")),
            ("", path) if line.starts_with("0:") && path != "/" => Some(format!("/sys/fs/cgroup{path}")),
            _ => None,
        }
    })?;
    let is_pod =
        |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pod"));
    Path::new(&path).ancestors().find(is_pod).map(Path::to_owned)
}

/// Which part of this node's Kubernetes has this command line.
fn part(cmdline: &str, folder: &Path) -> Option<&'static str> {
    if !cmdline.contains(folder.to_str()?) {
        return None;
    }
    let words = cmdline.split('\0').take(2).filter_map(|word| Path::new(word).file_name()?.to_str());
    words.filter_map(|word| PARTS.into_iter().find(|part| *part == word)).last()
}

/// MB that a cgroup and those in it are charged.
fn charged(cgroup: &Path) -> f64 {
    let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse::<f64>().ok();
    read("memory.usage_in_bytes").or_else(|| read("memory.current")).unwrap_or(0.0) / 1e6
}

/// MB.
fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0 / 1e6)
}

/// Of a process, and of those that it started and saw end.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    // utime, stime, cutime and cstime are fields 14 to 17 of the whole line.
    Some((ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?) / TICKS)
}

/// Everything but idle and waiting for disks.
fn machine_cpu() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat")?;
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|index| ticks.get(*index)).sum::<f64>();
    Ok(busy / TICKS)
}

fn available_mb() -> anyhow::Result<f64> {
    kilobytes(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:").context("MemAvailable")
}
