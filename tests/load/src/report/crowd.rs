//! The operator with many sessions at once: one column per run, beside what Agones has published.

use serde_json::Value;
use std::fmt::Write;

pub(super) const TEXT: &str = "The operator takes so many `TranscriptionSession`s, all created at once, to Ready: pod, Service, Secret, one egress and \
its audio at the worker each. Seconds of a step are from the session's creation to its condition, p50 / p99 / most; a condition's time (Kubernetes' `Time`) has whole \
seconds, so a step reads up to one second too short.\n\n\
**Beside Agones.** Its load test's page \
([test/load/allocation](https://github.com/googleforgames/agones/blob/main/test/load/allocation/README.md), 2020) shows a fleet of 4,000 game \
servers, all Ready at an age of 158 s. That is another experiment, so the two columns show the order of magnitude and not a ratio. \
There: 75 nodes, real kubelets and containers, a control plane and controllers on machines of their own; nothing outside the cluster is \
asked; one fleet object, whose controller makes the game servers. Here: one machine for everything (see Machine) — kube-apiserver and etcd \
with `--unsafe-no-fsync` and an audit log, the operator, the played kubelet (pods are statuses with delays of 0.1 to 0.5 s, no container is \
started), and the simulated LiveKit, which every session asks for an egress that sends real RTMP, one frame in two seconds instead of 47 \
a second. No controller manager runs.";

/// Ready, and at which age, s.
const AGONES: (u64, f64) = (4000, 158.0);

/// Steps in the order in which they come.
const STEPS: [(&str, &str); 4] = [
    ("WorkerReady", "worker's pod ready"),
    ("IngestReady", "address"),
    ("EgressActive", "egress active"),
    ("Ready", "Ready: its audio has come"),
];

struct Row {
    what: String,
    values: Vec<String>,
    agones: String,
}

pub(super) fn table(page: &mut String, results: &Value) {
    let mut runs: Vec<&Value> = results.as_object().into_iter().flat_map(|runs| runs.values()).collect();
    runs.sort_by_key(|run| run["sessions"].as_u64());
    let heads: Vec<String> = runs.iter().map(|run| format!("{} sessions", run["sessions"])).collect();
    // Writing into a String cannot fail.
    let _ = writeln!(page, "| what | {} | Agones, {} |", heads.join(" | "), AGONES.0);
    let _ = writeln!(page, "|---|{}---|", "---|".repeat(runs.len()));
    for row in rows(&runs) {
        let _ = writeln!(page, "| {} | {} | {} |", row.what, row.values.join(" | "), row.agones);
    }
}

fn rows(runs: &[&Value]) -> Vec<Row> {
    let row = |what: &str, of: &dyn Fn(&Value) -> Option<String>| Row {
        what: what.to_owned(),
        values: runs.iter().map(|run| of(run).unwrap_or_else(|| "–".into())).collect(),
        agones: "–".to_owned(),
    };
    let plain = |what: &str, key: &str| row(what, &|run| Some(shown(run[key].as_f64()?)));
    let mut rows = vec![
        Row { agones: shown(AGONES.1), ..plain("all Ready, s", "allReadySeconds") },
        Row {
            agones: shown(AGONES.0 as f64 / AGONES.1),
            ..row("Ready per second", &|run| {
                Some(shown(run["sessions"].as_f64()? / run["allReadySeconds"].as_f64()?))
            })
        },
        plain("creating them, s", "creatingSeconds"),
    ];
    for (step, what) in STEPS {
        rows.push(row(&format!("{what}, s"), &|run| {
            let at = |key: &str| run["steps"][step][key].as_f64().map(shown);
            Some(format!("{} / {} / {}", at("p50")?, at("p99")?, at("max")?))
        }));
    }
    rows.push(plain("operator's API writes per session", "writesPerSession"));
    for kind in kinds(runs) {
        rows.push(row(&format!("– {kind}"), &|run| Some(shown(run["writes"][&kind].as_f64()?))));
    }
    rows.push(row("API writes at rest", &|run| {
        Some(format!("{} in {} s", run["steadyWrites"], run["steadySeconds"]))
    }));
    rows.push(row("operator's memory before / with all, MB", &|run| {
        let at = |index: usize| run["megabytes"][index].as_f64().map(shown);
        Some(format!("{} / {}", at(0)?, at(1)?))
    }));
    rows.push(plain("– that 1,000 sessions add, MB", "megabytesPerThousand"));
    rows.push(plain("operator's CPU until all Ready, s", "cpuSeconds"));
    rows.push(row("– at rest, % of a core", &|run| {
        Some(shown(run["steadyCpuSeconds"].as_f64()? * 100.0 / run["steadySeconds"].as_f64()?))
    }));
    rows.push(plain("egresses started", "egressesStarted"));
    rows.push(plain("all deleted and gone, s", "allGoneSeconds"));
    rows
}

/// Every kind of write of any run, the most frequent of the last run first.
fn kinds(runs: &[&Value]) -> Vec<String> {
    let of = |run: &Value| run["writes"].as_object().cloned().unwrap_or_default();
    let mut kinds: Vec<String> =
        runs.iter().flat_map(|run| of(run).into_iter().map(|(kind, _)| kind)).collect();
    kinds.sort();
    kinds.dedup();
    let last = runs.last().map(|run| of(run)).unwrap_or_default();
    let number = |kind: &String| last.get(kind).and_then(Value::as_f64).unwrap_or_default();
    kinds.sort_by(|a, b| number(b).total_cmp(&number(a)));
    kinds
}

/// Two digits after the point, none of them in vain.
fn shown(value: f64) -> String {
    format!("{}", (value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_stand_side_by_side_in_the_order_of_their_size() {
        let run = |sessions: u64, seconds: f64| {
            json!({"sessions": sessions, "allReadySeconds": seconds, "writes": {"create pods": 1.0}, "megabytes": [9.0, 99.5],
                "steps": {"Ready": {"p50": 1.5, "p99": 2.0, "max": 3.004}}, "steadyWrites": 0, "steadySeconds": 60})
        };
        let mut page = String::new();
        table(&mut page, &json!({"5000": run(5000, 400.0), "200": run(200, 10.0)}));
        for line in [
            "| what | 200 sessions | 5000 sessions | Agones, 4000 |",
            "|---|---|---|---|",
            "| all Ready, s | 10 | 400 | 158 |",
            "| Ready per second | 20 | 12.5 | 25.32 |",
            "| Ready: its audio has come, s | 1.5 / 2 / 3 | 1.5 / 2 / 3 | – |",
            "| – create pods | 1 | 1 | – |",
            "| API writes at rest | 0 in 60 s | 0 in 60 s | – |",
            "| operator's memory before / with all, MB | 9 / 99.5 | 9 / 99.5 | – |",
            "| egresses started | – | – | – |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
