//! The tables of `docs/scale.md`.

use crate::report::{Fit, Results, Start, Window};
use crate::steps::{Spread, Step};
use crate::usage::Use;
use std::collections::BTreeMap;

const EMPTY: &str = "no session";
const REST: &str = "at rest";
const EACH: &str = "1 viewer each";
const FEW: &str = "1 viewer at each of a few";
const MANY: &str = "10 viewers at each of a few";
const BURST: &str = "the burst";

pub(crate) fn all(results: &Results) -> String {
    let about: Vec<String> = results.about.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut parts = vec![format!("Measured: {}.", about.join(", "))];
    parts.extend(results.starts.iter().map(start));
    parts.push(sessions(results));
    parts.push(viewers(results));
    parts.push(kinds(results));
    parts.push(writes(results));
    parts.push(objects(results));
    parts.extend(results.fits.iter().map(fit));
    parts.join("\n\n")
}

fn start(start: &Start) -> String {
    let mut table = Table::new(
        &format!("From apply to words, {} sessions {}, s", start.sessions, start.name),
        &["step", "p50", "p95", "max", "by itself p50", "p95", "max"],
    );
    for row in &start.rows {
        let alone = row.by_itself.map_or([f64::NAN; 3], |alone| [alone.p50, alone.p95, alone.max]);
        let all = row.since_apply;
        table.row(said(row.step), &[all.p50, all.p95, all.max, alone[0], alone[1], alone[2]]);
    }
    let gone = start.seconds_to_gone.map(|seconds| format!("\n\nAll deleted and gone after {seconds:.1} s."));
    table.text + &gone.unwrap_or_default()
}

fn said(step: Step) -> &'static str {
    match step {
        Step::Accepted => "accepted: finalizer",
        Step::ServiceCreated => "Service created (follows the finalizer)",
        Step::AddressGiven => "load balancer's address",
        Step::PodCreated => "pod created (follows the finalizer)",
        Step::PodScheduled => "pod scheduled",
        Step::SandboxReady => "sandbox: pause container, network, volumes",
        Step::ContainerRunning => "worker runs",
        Step::PodReady => "pod ready: RTMP listens",
        Step::EgressIntended => "attempt written",
        Step::EgressTold => "status names the egress",
        Step::FirstAudio => "first audio at the worker (follows the attempt)",
        Step::Ready => "Ready",
        Step::FirstWord => "first word at a viewer",
    }
}

/// What each session adds.
fn sessions(results: &Results) -> String {
    let (empty, rest, count) = (results.window(EMPTY), results.window(REST), results.sessions as f64);
    let mut table = Table::new(
        &format!("What a session adds, {count} sessions over none, nobody watching"),
        &["part", "CPU, thousandths of a core", "PSS, MB", "anonymous, MB", "charged to cgroups, MB"],
    );
    let nothing = Use::default();
    for (kind, with) in &rest.usage.by_kind {
        let without = empty.usage.by_kind.get(kind).unwrap_or(&nothing);
        let cpu = cores(with, rest) - cores(without, empty);
        let grown = |of: fn(&Use) -> f64| (of(with) - of(without)) / count;
        let numbers = [
            cpu * 1000.0 / count,
            grown(|of| of.proportional_mb),
            grown(|of| of.anonymous_mb),
            grown(|of| of.charged_mb),
        ];
        table.row(kind, &numbers);
    }
    let hours = rest.usage.seconds / 3600.0;
    let log = |name: &str| rest.servers.nats.get(name).copied().unwrap_or_default();
    table.text
        + &format!(
            "\n\nThe machine's available memory: {:.1} MB less per session; its CPU: {:.2} cores with them, {:.2} without.\n\n\
             NATS, per session: {:.2} messages and {:.0} bytes in a second, {:.0} stored messages and {:.3} MB stored in an hour, \
             {:.0} bytes each.",
            (empty.usage.available_mb - rest.usage.available_mb) / count,
            rest.usage.machine_cpu_seconds / rest.usage.seconds,
            empty.usage.machine_cpu_seconds / empty.usage.seconds,
            log("in_msgs") / rest.usage.seconds / count,
            log("in_bytes") / rest.usage.seconds / count,
            log("storedMessages") / hours / count,
            log("storedBytes") / 1e6 / hours / count,
            log("storedBytes") / log("storedMessages"),
        )
}

/// What viewers add to gateway and NATS.
fn viewers(results: &Results) -> String {
    let mut table = Table::new(
        "Viewers (CPU in thousandths of a core, memory in MB; all replicas together)",
        &[
            "look",
            "sessions",
            "gateway CPU",
            "gateway anonymous",
            "NATS CPU",
            "messages/s to viewers",
            "kB/s",
            "final → viewer p50, s",
            "p95",
            "end of word → viewer p50, s",
            "p95",
        ],
    );
    let full = results.windows.iter().filter(|window| window.name.starts_with("full"));
    for window in [REST, EACH, FEW, MANY].map(|name| results.window(name)).into_iter().chain(full) {
        let of = |kind: &str| window.usage.by_kind.get(kind).cloned().unwrap_or_default();
        let (gateway, heard) = (of("gateway"), window.viewers.as_ref());
        let rate = |count: Option<u64>| count.unwrap_or_default() as f64 / window.usage.seconds;
        let delay = |of: Option<Option<Spread>>| of.flatten().map_or([f64::NAN; 2], |all| [all.p50, all.p95]);
        let mut numbers =
            vec![window.sessions as f64, cores(&gateway, window) * 1000.0, gateway.anonymous_mb];
        numbers.extend([cores(&of("nats"), window) * 1000.0]);
        numbers
            .extend([rate(heard.map(|heard| heard.messages)), rate(heard.map(|heard| heard.bytes)) / 1000.0]);
        numbers.extend(delay(heard.map(|heard| heard.final_to_viewer)));
        numbers.extend(delay(heard.map(|heard| heard.word_to_viewer)));
        table.row(&window.name, &numbers);
    }
    table.text
}

/// Everything that ran.
fn kinds(results: &Results) -> String {
    let mut heads = vec!["part".to_owned()];
    heads.extend(
        results.windows.iter().map(|window| format!("{}: {} sessions", window.name, window.sessions)),
    );
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new("CPU of everything, thousandths of a core / PSS, MB", &heads);
    let names: BTreeMap<&String, ()> = results
        .windows
        .iter()
        .flat_map(|window| window.usage.by_kind.keys())
        .map(|kind| (kind, ()))
        .collect();
    for kind in names.keys() {
        let cells = results.windows.iter().map(|window| {
            let of = window.usage.by_kind.get(*kind);
            of.map_or_else(
                || "–".to_owned(),
                |of| format!("{} / {}", shown(cores(of, window) * 1000.0), shown(of.proportional_mb)),
            )
        });
        table.cells(kind, cells);
    }
    let machine = results.windows.iter().map(|window| {
        let usage = &window.usage;
        format!("{} / –", shown(usage.machine_cpu_seconds / usage.seconds * 1000.0))
    });
    table.cells("the machine, others too", machine);
    table.text
}

fn cores(of: &Use, window: &Window) -> f64 {
    of.cpu_seconds / window.usage.seconds
}

type CountsOf = fn(&Window) -> &BTreeMap<String, f64>;

/// Per session: until Ready, and at rest in an hour, less what the cluster writes without sessions.
fn writes(results: &Results) -> String {
    let (burst, rest, empty) = (results.window(BURST), results.window(REST), results.window(EMPTY));
    let count = results.sessions as f64;
    let mut table = Table::new(
        "Writes to the API server per session",
        &["write", "of whom", "until Ready", "in an hour at rest"],
    );
    let sources: [(&str, CountsOf); 4] = [
        ("operator", |window| &window.operator_writes),
        ("kubelet", |window| &window.kubelet_writes),
        ("all", |window| &window.servers.writes),
        ("asked of etcd", |window| &window.servers.etcd),
    ];
    for (who, of) in sources {
        for (what, number) in of(burst) {
            let per_second =
                |window: &Window| of(window).get(what).copied().unwrap_or(0.0) / window.usage.seconds;
            let until_ready = (number - per_second(empty) * burst.usage.seconds) / count;
            let at_rest = (per_second(rest) - per_second(empty)) * 3600.0 / count;
            if until_ready.abs() >= 0.1 || at_rest.abs() >= 0.5 {
                table.cells(what, [who.to_owned(), shown(until_ready), shown(at_rest)].into_iter());
            }
        }
    }
    let cpu = burst.usage.by_kind.iter().filter(|(_, of)| of.cpu_seconds / count >= 0.002);
    let cpu: Vec<String> =
        cpu.map(|(kind, of)| format!("{kind} {}", shown(of.cpu_seconds / count))).collect();
    table.text
        + &format!("\n\nCPU-seconds per session in the burst, until its first word: {}.", cpu.join(", "))
}

fn objects(results: &Results) -> String {
    let mut table =
        Table::new("Objects of a session in the API server", &["kind", "objects", "bytes of JSON together"]);
    for (kind, (count, bytes)) in &results.objects {
        table.row(kind, &[*count, *bytes]);
    }
    let sizes: Vec<String> = results
        .windows
        .iter()
        .map(|window| format!("{} {} MB", window.name, shown(window.servers.etcd_mb)))
        .collect();
    table.text + &format!("\n\netcd's file, with old revisions: {}.", sizes.join(", "))
}

fn fit(fit: &Fit) -> String {
    let mut table = Table::new(
        &format!("As many as fit, {} requests", fit.requests),
        &["sessions", "last ones Ready after p50, s", "max, s", "cores busy meanwhile"],
    );
    for batch in &fit.batches {
        let seconds = batch.seconds_to_ready.map_or([f64::NAN; 2], |all| [all.p50, all.max]);
        table.row(&batch.sessions.to_string(), &[seconds[0], seconds[1], batch.busy_cores]);
    }
    table.text + &format!("\n\n{} sessions ran. It ended with: {}", fit.sessions, fit.ended)
}

/// Markdown.
struct Table {
    text: String,
}

impl Table {
    fn new(title: &str, heads: &[&str]) -> Self {
        let line = "---|".repeat(heads.len());
        Self { text: format!("### {title}\n\n| {} |\n|{line}", heads.join(" | ")) }
    }

    fn row(&mut self, name: &str, numbers: &[f64]) {
        self.cells(name, numbers.iter().map(|number| shown(*number)));
    }

    fn cells(&mut self, name: &str, cells: impl Iterator<Item = String>) {
        let cells: Vec<String> = cells.collect();
        self.text.push_str(&format!("\n| {name} | {} |", cells.join(" | ")));
    }
}

/// Three digits.
fn shown(number: f64) -> String {
    match number.abs() {
        _ if number.is_nan() => "–".to_owned(),
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
