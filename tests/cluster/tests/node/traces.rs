//! What a node could leave on this machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const FOLDERS: &str = "roomscribe-cluster-";

/// Everything that a node makes outside its own folder, and its folders.
pub(crate) fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["/sys/class/net", "/var/lib", "/run", "/opt", "/var/run/netns", "/sys/fs/cgroup"] {
        found.extend(names(Path::new(folder)));
    }
    for hierarchy in names(Path::new("/sys/fs/cgroup")) {
        found.extend(names(Path::new(&hierarchy)).into_iter().filter(|path| Path::new(path).is_dir()));
    }
    let clusters = names(Path::new("/tmp")).into_iter().filter(|path| path.contains(FOLDERS));
    found.extend(clusters);
    found.extend(std::fs::read_to_string("/proc/mounts").unwrap().lines().map(str::to_owned));
    found.extend(said("ip", &["route"]));
    found.extend(said("nft", &["list", "tables"]));
    found.extend(processes());
    found
}

/// What is here and was not before. Another test's cluster is not ours: ours names its `folder`.
pub(crate) fn left(before: &BTreeSet<String>, folder: &str) -> Vec<String> {
    let is_ours = |trace: &&String| !trace.contains(FOLDERS) || trace.contains(folder);
    traces().difference(before).filter(is_ours).cloned().collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path().display().to_string()).collect()
}

fn said(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("{program}: {line}")).collect()
}

/// Those that a node has: its parts, shims and what runs in its pods names containerd or the cluster's folder.
fn processes() -> Vec<String> {
    let line = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(line);
    all.filter(|line| line.contains(FOLDERS) || line.starts_with("/pause") || line.contains("/coredns"))
        .map(|line| format!("process: {line}"))
        .collect()
}
