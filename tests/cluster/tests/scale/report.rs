//! What a run has shown, as `docs/scale.json` keeps it.

use crate::cluster::path;
use crate::crowd::Heard;
use crate::servers::Servers;
use crate::steps::{Row, Spread};
use crate::tables;
use crate::usage::Usage;
use anyhow::{Context, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Between these lines of `docs/scale.md` stands what is measured.
const BEGIN: &str = "<!-- begin: written by make scale -->\n";
const END: &str = "<!-- end -->";

/// See the module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    pub(crate) about: BTreeMap<&'static str, String>,
    pub(crate) starts: Vec<Start>,
    pub(crate) windows: Vec<Window>,
    /// Number and bytes of JSON of a session's objects, by kind.
    pub(crate) objects: BTreeMap<String, (f64, f64)>,
    pub(crate) fits: Vec<Fit>,
    /// Sessions of the burst, and of the looks after it.
    pub(crate) sessions: usize,
}

/// How sessions started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) sessions: usize,
    pub(crate) rows: Vec<Row>,
    /// From the first deletion to the last of them gone.
    pub(crate) seconds_to_gone: Option<f64>,
}

/// What was used in a while.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Window {
    pub(crate) name: String,
    pub(crate) sessions: usize,
    pub(crate) usage: Usage,
    pub(crate) servers: Servers,
    pub(crate) operator_writes: BTreeMap<String, f64>,
    pub(crate) kubelet_writes: BTreeMap<String, f64>,
    pub(crate) viewers: Option<Heard>,
}

/// As many as fit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fit {
    /// `default`, or `least` that the API server takes.
    pub(crate) requests: String,
    pub(crate) batches: Vec<Batch>,
    pub(crate) sessions: usize,
    /// Whose words ended it.
    pub(crate) ended: String,
}

/// Sessions that came together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Batch {
    /// That run with them.
    pub(crate) sessions: usize,
    pub(crate) seconds_to_ready: Option<Spread>,
    /// Of the machine, meanwhile.
    pub(crate) busy_cores: f64,
}

impl Results {
    pub(crate) fn begin(sessions: usize) -> Self {
        Self {
            about: about(),
            starts: Vec::new(),
            windows: Vec::new(),
            objects: BTreeMap::new(),
            fits: Vec::new(),
            sessions,
        }
    }

    pub(crate) fn window(&self, name: &str) -> &Window {
        self.windows.iter().find(|window| window.name == name).unwrap()
    }

    /// Into `docs/`.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        fs::write(path("docs/scale.json"), serde_json::to_string_pretty(self)? + "\n")?;
        let tables = tables::all(self);
        println!("{tables}");
        let page = path("docs/scale.md");
        let text = fs::read_to_string(&page)?;
        let (before, rest) = text.split_once(BEGIN).context("docs/scale.md has no place for tables")?;
        let (_, after) = rest.split_once(END).context("docs/scale.md: the place for tables has no end")?;
        ensure!(!after.contains(BEGIN), "docs/scale.md has two places for tables");
        Ok(fs::write(&page, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?)
    }
}

fn about() -> BTreeMap<&'static str, String> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let value = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    BTreeMap::from([
        ("commit", said("git", &["describe", "--always", "--dirty", "--exclude=*"])),
        ("cores", std::thread::available_parallelism().map(|cores| cores.to_string()).unwrap_or_default()),
        ("cpu", value("/proc/cpuinfo", "model name")),
        ("date", jiff::Timestamp::now().to_string()),
        ("kernel", said("uname", &["-r"])),
        ("memory", value("/proc/meminfo", "MemTotal")),
        ("programs", "release, but for the one that measures".into()),
    ])
}
