//! Turns the stages' results into what `docs/benchmarks.json` and `docs/benchmarks.md` say. Pure: names of ratios are
//! promises, so they stand here once.

use crate::stats::round;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A number with a name that stays.
struct Ratio {
    name: &'static str,
    meaning: &'static str,
    aim: Option<Aim>,
    of: Of,
}

enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

/// JSON pointers into the results.
enum Of {
    /// The value itself.
    Value(&'static str),
    /// First over second.
    Quotient(&'static str, &'static str),
}

const OURS_CPU: &str = "/ingest/roomscribe/cpuSecondsPerHour/median";
const OURS_MEMORY: &str = "/ingest/roomscribe/peakMegabytes/median";

const RATIOS: &[Ratio] = &[
    Ratio {
        name: "ingest.cpuVsNodeMediaServer",
        meaning: "CPU of node-media-server and the ffmpeg that pulls from it, over ours",
        aim: Some(Aim::AtLeast(10.0)),
        of: Of::Quotient("/ingest/nodeMediaServerAndFfmpeg/cpuSecondsPerHour/median", OURS_CPU),
    },
    Ratio {
        name: "ingest.memoryVsNodeMediaServer",
        meaning: "peak memory of those two, over ours",
        aim: Some(Aim::AtLeast(20.0)),
        of: Of::Quotient("/ingest/nodeMediaServerAndFfmpeg/peakMegabytes/median", OURS_MEMORY),
    },
    Ratio {
        name: "ingest.cpuVsFfmpegListen",
        meaning: "CPU of `ffmpeg -listen 1` alone, over ours",
        aim: None,
        of: Of::Quotient("/ingest/ffmpegListen/cpuSecondsPerHour/median", OURS_CPU),
    },
    Ratio {
        name: "ingest.memoryVsFfmpegListen",
        meaning: "peak memory of `ffmpeg -listen 1` alone, over ours",
        aim: None,
        of: Of::Quotient("/ingest/ffmpegListen/peakMegabytes/median", OURS_MEMORY),
    },
    Ratio {
        name: "ingest.firstPcmSeconds",
        meaning: "publisher's TCP connection → first audio frame at the speech service",
        aim: Some(Aim::AtMost(0.2)),
        of: Of::Value("/ingest/firstPcmSeconds/roomscribe/median"),
    },
    Ratio {
        name: "ingest.firstPcmVsNodeMediaServer",
        meaning: "first PCM of node-media-server and ffmpeg, over ours",
        aim: None,
        of: Of::Quotient(
            "/ingest/firstPcmSeconds/nodeMediaServerAndFfmpeg/median",
            "/ingest/firstPcmSeconds/roomscribe/median",
        ),
    },
    Ratio {
        name: "ingest.firstFinalSeconds",
        meaning: "publisher's TCP connection → first final in the log",
        aim: None,
        of: Of::Value("/ingest/firstFinalSeconds/median"),
    },
    Ratio {
        name: "sessions.cpuSecondsPerSessionHour",
        meaning: "CPU-seconds per session and hour, many sessions in one process",
        aim: None,
        of: Of::Value("/sessions/cpuSecondsPerSessionHour"),
    },
    Ratio {
        name: "sessions.megabytesPerSession",
        meaning: "memory that each of them adds, MB",
        aim: None,
        of: Of::Value("/sessions/megabytesPerSession"),
    },
    Ratio {
        name: "fanout.deliveriesVsWs",
        meaning: "deliveries per core-second, ours over `ws`, 2 messages in flight",
        aim: Some(Aim::AtLeast(1.4)),
        of: Of::Quotient(
            "/fanout/roomscribe/closedLoop2/deliveriesPerCoreSecond/median",
            "/fanout/ws/closedLoop2/deliveriesPerCoreSecond/median",
        ),
    },
    Ratio {
        name: "fanout.burstDeliveriesVsWs",
        meaning: "the same with 16 in flight",
        aim: None,
        of: Of::Quotient(
            "/fanout/roomscribe/closedLoop16/deliveriesPerCoreSecond/median",
            "/fanout/ws/closedLoop16/deliveriesPerCoreSecond/median",
        ),
    },
    Ratio {
        name: "fanout.p99VsWs",
        meaning: "p99 latency of `ws` over ours, 20 messages a second",
        aim: None,
        of: Of::Quotient(
            "/fanout/ws/openLoop20PerSecond/p99Ms/median",
            "/fanout/roomscribe/openLoop20PerSecond/p99Ms/median",
        ),
    },
    Ratio {
        name: "fanout.p99Ms",
        meaning: "our p99 latency there, ms",
        aim: None,
        of: Of::Value("/fanout/roomscribe/openLoop20PerSecond/p99Ms/median"),
    },
    Ratio {
        name: "fanout.idleViewerBytes",
        meaning: "resident memory of the server per idle viewer, bytes",
        aim: Some(Aim::AtMost(8192.0)),
        of: Of::Value("/fanout/roomscribe/idleViewerBytes/median"),
    },
    Ratio {
        name: "fanout.idleViewerVsWs",
        meaning: "memory per idle viewer of `ws`, over ours",
        aim: None,
        of: Of::Quotient("/fanout/ws/idleViewerBytes/median", "/fanout/roomscribe/idleViewerBytes/median"),
    },
    Ratio {
        name: "log.oneWriterVsPlainFsync",
        meaning: "durable appends a second of one session, over a plain write + fdatasync loop",
        aim: None,
        of: Of::Value("/log/oneWriterVsPlainFsync"),
    },
    Ratio {
        name: "log.manySessionsVsPlainManyThreads",
        meaning: "the same of 64 sessions, over 64 plain threads",
        aim: None,
        of: Of::Value("/log/manySessionsVsPlainManyThreads"),
    },
    Ratio {
        name: "log.pipelinedVsPlainFsync",
        meaning: "appends of one session with 32 under way, over one plain loop",
        aim: None,
        of: Of::Value("/log/pipelinedVsPlainFsync"),
    },
    Ratio {
        name: "log.replayMs",
        meaning: "a new process opens a session of 10,000 finals and reads them all, ms",
        aim: None,
        of: Of::Value("/log/replayMs"),
    },
];

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

impl Ratio {
    /// `None` when its stage did not run.
    fn value(&self, results: &Value) -> Option<f64> {
        let number = |pointer| results.pointer(pointer).and_then(Value::as_f64);
        let value = match self.of {
            Of::Value(of) => number(of)?,
            Of::Quotient(over, under) => number(over)? / number(under).filter(|under| *under > 0.0)?,
        };
        Some(round(value))
    }
}

impl Aim {
    fn describe(&self, value: f64) -> Value {
        match self {
            Self::AtLeast(least) => json!({"atLeast": least, "met": value >= *least}),
            Self::AtMost(most) => json!({"atMost": most, "met": value <= *most}),
        }
    }

    fn text(&self, value: f64) -> String {
        let (sign, aim, met) = match self {
            Self::AtLeast(least) => ("≥", least, value >= *least),
            Self::AtMost(most) => ("≤", most, value <= *most),
        };
        format!("{sign} {aim}: {}", if met { "met" } else { "**not met**" })
    }
}

/// The page for people. `profile` is Markdown that is put at its end as it is.
pub fn page(document: &Value, profile: &str) -> String {
    let mut page = String::from(PREFACE);
    let about = &document["about"];
    for (name, key) in [("Machine", "machine"), ("Versions", "versions"), ("Run", "run")] {
        // Writing into a String cannot fail.
        let _ = writeln!(page, "- {name}: {}", sentence(&about[key]));
    }
    page.push_str("\n## Ratios\n\n| name | value | aim | what it is |\n|---|---|---|---|\n");
    for ratio in RATIOS {
        let Some(value) = document["ratios"][ratio.name].as_f64() else { continue };
        let aim = ratio.aim.as_ref().map(|aim| aim.text(value)).unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {value} | {aim} | {} |", ratio.name, ratio.meaning);
    }
    for (key, title, text) in SECTIONS.iter().filter(|(key, ..)| !document["results"][*key].is_null()) {
        let _ = writeln!(page, "\n## {title}\n\n{text}\n");
        table(&mut page, &document["results"][key]);
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
    fn the_page_shows_medians_with_their_spread() {
        let about = json!({"machine": {"cpu": "x", "cores": 2}});
        let page = page(&document(about, results()), "## Profile\n");
        assert!(page.contains("- Machine: cores 2, cpu x") || page.contains("- Machine: cpu x, cores 2"));
        assert!(page.contains("| roomscribe.peakMegabytes | 5.0 (1.0 – 9.0) |"), "{page}");
        assert!(page.contains("| `ingest.memoryVsNodeMediaServer` | 18 | ≥ 20: **not met** |"), "{page}");
        assert!(page.ends_with("## Profile\n"));
    }
}
