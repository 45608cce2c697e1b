//! Turns the stages' results into what `docs/benchmarks.json` and `docs/benchmarks.md` say. Pure: names of ratios are
//! promises, so they stand once, in `ratios`.

mod crowd;
mod ratios;

use ratios::RATIOS;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The JSON document: `about` (machine, versions, date, commit), every ratio, every aim, every result.
pub fn document(about: Value, results: Map<String, Value>) -> Value {
    let results = Value::Object(results);
    let mut ratios = Map::new();
    let mut aims = Map::new();
    for ratio in RATIOS {
        let value = ratio.value(&results);
        ratios.insert(ratio.name.into(), json!(value));
        if let (Some(aim), Some(value)) = (&ratio.aim, value) {
            aims.insert(ratio.name.into(), aim.describe(value));
        }
    }
    json!({"v": 1, "about": about, "ratios": ratios, "aims": aims, "results": results})
}

/// What a run of some stages adds to the document of a whole run: their results replace the old ones, `about.later` says
/// when they ran, everything else stays. `Err` says why it cannot: numbers of one page come from one machine.
///
/// # Errors
/// The document is of another machine.
pub fn merge(kept: &Value, about: &Value, results: Map<String, Value>) -> Result<Value, String> {
    for key in ["cpu", "cores", "memoryGigabytes"] {
        let (then, now) = (&kept["about"]["machine"][key], &about["machine"][key]);
        if then != now {
            return Err(format!("{key} was {then} and is {now}: run the whole bench on this machine"));
        }
    }
    let mut merged = kept["about"].clone();
    let mut all = kept["results"].as_object().cloned().unwrap_or_default();
    for (stage, result) in results {
        merged["later"][&stage] = about["run"].clone();
        all.insert(stage, result);
    }
    Ok(document(merged, all))
}

/// The page for people. `profile` is Markdown that is put at its end as it is.
pub fn page(document: &Value, profile: &str) -> String {
    let mut page = String::from(PREFACE);
    let about = &document["about"];
    for (name, key) in [("Machine", "machine"), ("Versions", "versions"), ("Run", "run")] {
        // Writing into a String cannot fail.
        let _ = writeln!(page, "- {name}: {}", sentence(&about[key]));
    }
    for (stage, run) in about["later"].as_object().into_iter().flatten() {
        let _ = writeln!(page, "- Run of `{stage}` alone, later: {}", sentence(run));
    }
    page.push_str("\n## Ratios\n\n| name | value | aim | what it is |\n|---|---|---|---|\n");
    for ratio in RATIOS {
        let Some(value) = document["ratios"][ratio.name].as_f64() else { continue };
        let aim = ratio.aim.as_ref().map(|aim| aim.text(value)).unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {value} | {aim} | {} |", ratio.name, ratio.meaning);
    }
    for (key, title, text) in SECTIONS.iter().filter(|(key, ..)| !document["results"][*key].is_null()) {
        let _ = writeln!(page, "\n## {title}\n\n{text}\n");
        match *key {
            "operator" => crowd::table(&mut page, &document["results"][key]),
            _ => table(&mut page, &document["results"][key]),
        }
    }
    page.push('\n');
    page.push_str(profile);
    page
}

const PREFACE: &str = "# Benchmarks\n\n\
Written by `make bench`; edits here are lost. Every peer is measured in the same run on the same machine, so the ratios \
carry over to other machines and the absolute numbers do not. Values are medians (least – most) of the runs.\n\n";

const SECTIONS: &[(&str, &str, &str)] = &[
    (
        "ingest",
        "Ingest",
        "One ffmpeg publisher (48 kHz stereo AAC, 128 kbit/s, real time) gives the same packets to three receivers at \
         once: `roomscribe-worker` (RTMP, decoding, speech socket, spool, log), node-media-server with an ffmpeg that \
         pulls 16 kHz mono PCM from it, and `ffmpeg -listen 1` alone. CPU is read from the scheduler to the nanosecond, \
         without start-up. The speech service is `roomscribe speech` with a scripted recogniser in its own process, and is not counted. \
         First PCM is measured with each receiver alone, from the publisher's TCP connection: for ours to the first audio \
         frame at the speech service, for the others to ffmpeg's first byte (ffmpeg looks at 5 s of input before it begins). \
         The first final is ours only: the others have no speech stage. The scripted recogniser says it after \
         `firstFinalAudioSeconds` of audio, so that much of it is the speaker's time.",
    ),
    ("sessions", "Many sessions in one process", "`roomscribe serve` with one publisher per session."),
    (
        "fanout",
        "Fan-out",
        "One publisher, 1,000 WebSocket viewers, 300-byte messages; the server is pinned to one core, the generator to another. \
         Ours is the real gateway: each message is appended to a log (in memory) as a final and reaches viewers through the hub. \
         `ws` sends each line to every client. The generator checks that every viewer gets every message once, in order.",
    ),
    (
        "log",
        "Log",
        "Appends of 300-byte finals with fdatasync before the answer, beside plain loops on the same disk; replay of 10,000 finals.",
    ),
    ("operator", "Operator", crowd::TEXT),
];

/// `a: 1, b: 2` of an object.
fn sentence(value: &Value) -> String {
    let Value::Object(object) = value else { return cell(value) };
    object.iter().map(|(key, value)| format!("{key} {}", cell(value))).collect::<Vec<_>>().join(", ")
}

/// Leaves of a result, one row each.
fn table(page: &mut String, results: &Value) {
    page.push_str("| what | value |\n|---|---|\n");
    rows(page, "", results);
}

fn rows(page: &mut String, path: &str, value: &Value) {
    match value {
        Value::Object(object) if !object.contains_key("median") => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                rows(page, &path, value);
            }
        }
        leaf => {
            let _ = writeln!(page, "| {path} | {} |", cell(leaf));
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Object(spread) => {
            format!("{} ({} – {})", spread["median"], spread["min"], spread["max"])
        }
        Value::String(text) => text.clone(),
        Value::Null => "–".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test support")]
mod tests {
    use super::*;

    fn results() -> Map<String, Value> {
        let one = |cpu: f64, peak: f64| json!({"cpuSecondsPerHour": {"median": cpu, "min": cpu, "max": cpu}, "peakMegabytes": {"median": peak, "min": 1.0, "max": 9.0}});
        let ingest = json!({
            "roomscribe": one(10.0, 5.0),
            "nodeMediaServerAndFfmpeg": one(120.0, 90.0),
            "firstPcmSeconds": {"roomscribe": {"median": 0.25, "min": 0.2, "max": 0.3}},
        });
        Map::from_iter([("ingest".to_owned(), ingest)])
    }

    #[test]
    fn ratios_are_better_when_they_are_higher_and_aims_say_whether_they_are_met() {
        let document = document(json!({}), results());
        assert_eq!(document["ratios"]["ingest.cpuVsNodeMediaServer"], 12.0);
        assert_eq!(document["aims"]["ingest.cpuVsNodeMediaServer"], json!({"atLeast": 10.0, "met": true}));
        assert_eq!(
            document["aims"]["ingest.memoryVsNodeMediaServer"],
            json!({"atLeast": 20.0, "met": false})
        );
        assert_eq!(document["aims"]["ingest.firstPcmSeconds"], json!({"atMost": 0.2, "met": false}));
    }

    #[test]
    fn a_stage_that_did_not_run_has_no_number() {
        let document = document(json!({}), results());
        assert_eq!(document["ratios"]["fanout.deliveriesVsWs"], Value::Null);
        let page = page(&document, "");
        assert!(!page.contains("`fanout.deliveriesVsWs`") && !page.contains("## Fan-out"), "{page}");
    }

    #[test]
    fn a_run_of_one_stage_replaces_its_results_and_keeps_the_others() {
        let about = |cores, commit| json!({"machine": {"cores": cores}, "run": {"commit": commit}});
        let whole = document(about(2, "one"), results());
        let operator = Map::from_iter([("operator".to_owned(), json!({"1000": {"allReadySeconds": 60.0}}))]);
        let merged = merge(&whole, &about(2, "two"), operator.clone()).unwrap();
        assert_eq!(merged["results"]["ingest"], whole["results"]["ingest"]);
        assert_eq!(merged["ratios"]["ingest.cpuVsNodeMediaServer"], 12.0);
        assert_eq!(merged["ratios"]["operator.secondsTo1000Ready"], 60.0);
        assert_eq!(merged["about"]["run"]["commit"], "one");
        assert_eq!(merged["about"]["later"]["operator"]["commit"], "two");
        assert!(page(&merged, "").contains("- Run of `operator` alone, later: commit two"));
        assert!(merge(&whole, &about(8, "two"), operator).unwrap_err().starts_with("cores was 2 and is 8"));
    }

    #[test]
    fn the_page_shows_medians_with_their_spread() {
        let about = json!({"machine": {"cpu": "x", "cores": 2}});
        let page = page(&document(about, results()), "## Profile\n");
        assert!(page.contains("- Machine: cores 2, cpu x") || page.contains("- Machine: cpu x, cores 2"));
        assert!(page.contains("| roomscribe.peakMegabytes | 5.0 (1.0 – 9.0) |"), "{page}");
        assert!(page.contains("| `ingest.memoryVsNodeMediaServer` | 18 | ≥ 20: **not met** |"), "{page}");
        assert!(page.ends_with("## Profile\n"));
    }
}
