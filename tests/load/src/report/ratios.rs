//! Numbers that are compared over time. Their names are promises.

use crate::stats::round;
use serde_json::{Value, json};

/// A number with a name that stays.
pub(super) struct Ratio {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) aim: Option<Aim>,
    of: Of,
}

pub(super) enum Aim {
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

pub(super) const RATIOS: &[Ratio] = &[
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
    Ratio {
        name: "operator.secondsTo1000Ready",
        meaning: "1,000 sessions created at once → the last one Ready",
        aim: None,
        of: Of::Value("/operator/1000/allReadySeconds"),
    },
    Ratio {
        name: "operator.secondsTo5000Ready",
        meaning: "the same with 5,000",
        aim: None,
        of: Of::Value("/operator/5000/allReadySeconds"),
    },
    Ratio {
        name: "operator.readyPerSecond",
        meaning: "of those 5,000, sessions that became Ready per second",
        aim: None,
        of: Of::Quotient("/operator/5000/sessions", "/operator/5000/allReadySeconds"),
    },
    Ratio {
        name: "operator.writesPerSession",
        meaning: "the operator's writes to the API server until Ready, per session of 5,000",
        aim: None,
        of: Of::Value("/operator/5000/writesPerSession"),
    },
    Ratio {
        name: "operator.steadyWrites",
        meaning: "its writes with 5,000 sessions at rest, in a minute",
        aim: Some(Aim::AtMost(0.0)),
        of: Of::Value("/operator/5000/steadyWrites"),
    },
    Ratio {
        name: "operator.megabytesPerThousand",
        meaning: "resident memory that 1,000 sessions add to it, MB, with 5,000",
        aim: None,
        of: Of::Value("/operator/5000/megabytesPerThousand"),
    },
    Ratio {
        name: "operator.cpuSecondsPerSession",
        meaning: "its CPU-seconds until Ready, per session of 5,000",
        aim: None,
        of: Of::Quotient("/operator/5000/cpuSeconds", "/operator/5000/sessions"),
    },
];

impl Ratio {
    /// `None` when its stage did not run.
    pub(super) fn value(&self, results: &Value) -> Option<f64> {
        let number = |pointer| results.pointer(pointer).and_then(Value::as_f64);
        let value = match self.of {
            Of::Value(of) => number(of)?,
            Of::Quotient(over, under) => number(over)? / number(under).filter(|under| *under > 0.0)?,
        };
        Some(round(value))
    }
}

impl Aim {
    pub(super) fn describe(&self, value: f64) -> Value {
        match self {
            Self::AtLeast(least) => json!({"atLeast": least, "met": value >= *least}),
            Self::AtMost(most) => json!({"atMost": most, "met": value <= *most}),
        }
    }

    pub(super) fn text(&self, value: f64) -> String {
        let (sign, aim, met) = match self {
            Self::AtLeast(least) => ("≥", least, value >= *least),
            Self::AtMost(most) => ("≤", most, value <= *most),
        };
        format!("{sign} {aim}: {}", if met { "met" } else { "**not met**" })
    }
}
