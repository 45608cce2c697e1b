//! The fuzz targets' entry points under seeded inputs, so that every `cargo test` fuzzes a little, the same each time.
//!
//! Inputs are seeds (hostile inputs and pieces of real recordings), mutated. The kept corpus is run too. A failing
//! seed number is printed: make it a named test.

mod common;

use common::wire::*;
use roomscribe_rtmp::fuzzing;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] = [
    ("chunk_reader", fuzzing::chunk_reader),
    ("amf0", fuzzing::amf0),
    ("handshake", fuzzing::handshake),
    ("session", fuzzing::session),
];

/// Two bytes of cut seed; for `session` a third byte that says how far the connection is.
fn prefixed(target: &str, start: u8, bytes: &[u8]) -> Vec<u8> {
    let start: &[u8] = if target == "session" { &[start] } else { &[] };
    let seed: &[u8] = if target == "amf0" { &[] } else { &[7, 1] };
    [seed, start, bytes].concat()
}

fn recording(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/egress-rtmp/{name}.c2s", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("sample")
}

fn metadata_values() -> Vec<(&'static str, Vec<u8>)> {
    let real = recording("steady")[3355 + 12..3577].to_vec();
    vec![
        ("lone-set-data-frame", text("@setDataFrame")),
        ("real-metadata", real),
        ("nested", [text("onMetaData"), [0x0A, 0, 0, 0, 1].repeat(40)].concat()),
        ("lying-array", vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 5, 5]),
        ("date", [&[0x0B][..], &[0; 10]].concat()),
        ("long-string", [&[0x0C, 0, 0, 0, 3][..], b"abc"].concat()),
        ("typed", [&[0x10, 0, 1, b'C'][..], &property("x", &number(1.0)), &[0, 0, 9]].concat()),
        ("reference-xml-unsupported", vec![7, 0, 1, 0x0F, 0, 0, 0, 1, b'x', 0x0D, 6, 5]),
        ("ecma", [&[8, 0, 0, 0, 99][..], &property("stereo", &[1, 1]), &[0, 0, 9]].concat()),
        ("avm-plus", vec![0x11, 1]),
        ("short-string", [vec![2, 0, 200], b"connect".to_vec()].concat()),
    ]
}

fn chunk_inputs() -> Vec<(&'static str, Vec<u8>)> {
    let partial = |csid, body: &[u8]| [head0(csid, 0, 1000, AUDIO, 1), body.to_vec()].concat();
    vec![
        ("real-start", recording("steady")[3073..5200].to_vec()),
        ("real-reconnect", recording("reconnect-2")[3073..6000].to_vec()),
        ("real-goodbye", recording("steady")[recording("steady").len() - 87..].to_vec()),
        ("interleaved", [partial(4, &[0; 128]), message(6, 1, AUDIO, &[0xaf; 10], 128)].concat()),
        ("abort", [partial(4, &[0; 128]), message(2, 0, 2, &4u32.to_be_bytes(), 128)].concat()),
        ("header-inside", [partial(4, &[0; 128]), head1(4, 0, 5, AUDIO)].concat()),
        (
            "all-types",
            [audio(1, &[0xaf]), head1(4, 2, 1, AUDIO), vec![1], head2(4, 3), vec![1], basic(3, 4), vec![1]]
                .concat(),
        ),
        (
            "extended",
            [message(4, 0x100_0000, AUDIO, &[0xaf; 300], 128), head2(4, 0xFF_FFFF), vec![1; 300]].concat(),
        ),
        ("long-ids", [message(64, 0, AUDIO, &[1], 128), message(65_599, 0, VIDEO, &[1; 200], 128)].concat()),
        (
            "huge-chunk",
            [set_chunk_size(0x7FFF_FFFF), head0(4, 0, 0xFF_FFFF, VIDEO, 1), vec![0; 300]].concat(),
        ),
        ("tiny-chunk", set_chunk_size(1)),
        ("many-ids", (10..80).flat_map(|id| message(id, 0, AUDIO, &[1], 128)).collect()),
        ("many-partials", (10..20).flat_map(|id| partial(id, &[0; 128])).collect()),
        ("window-zero", [message(2, 0, 5, &[0; 4], 128), audio(0, &[0xaf; 300])].concat()),
        ("ping", message(2, 0, 4, &[0, 6, 1, 2, 3, 4], 128)),
        ("empty-messages", [head0(9, 0, 0, AUDIO, 1), basic(3, 9), basic(3, 9)].concat()),
    ]
}

fn session_inputs() -> Vec<(&'static str, u8, Vec<u8>)> {
    let mut inputs = vec![
        ("real-whole", 0, recording("steady")[..5200].to_vec()),
        ("commands", 1, [connect("live/a/b.1"), create_stream(), publish("key")].concat()),
        ("two-connects", 1, [connect("live"), connect("live")].concat()),
        ("early-create", 1, create_stream()),
        ("empty-key", 1, [connect("live"), create_stream(), publish("")].concat()),
        ("rejected", 0x42, audio(0, &[0xaf, 0, 0x12, 0x10])),
        ("with-time", 0x82, (0..20).flat_map(|i| audio(i * 23, &[0xaf, 1, 2])).collect()),
        ("goodbye", 2, command("deleteStream", 0.0, &[vec![5], text("KEY1")])),
        ("amf3", 2, message(4, 0, 15, &[vec![0], text("onMetaData"), vec![5]].concat(), 128)),
        ("tls", 0, vec![0x16, 3, 1, 2, 0, 1]),
    ];
    inputs.extend(chunk_inputs().into_iter().map(|(name, bytes)| (name, 2, bytes)));
    inputs
        .extend(metadata_values().into_iter().map(|(name, body)| (name, 2, message(4, 0, DATA, &body, 128))));
    inputs
}

fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let inputs: Vec<(&'static str, u8, Vec<u8>)> = match target {
        "amf0" => metadata_values().into_iter().map(|(name, bytes)| (name, 0, bytes)).collect(),
        "chunk_reader" => chunk_inputs().into_iter().map(|(name, bytes)| (name, 0, bytes)).collect(),
        "handshake" => vec![
            ("simple", 0, handshake()),
            ("real", 0, recording("steady")[..3100].to_vec()),
            ("digest", 0, digest_handshake()),
            ("tls", 0, vec![0x16]),
        ],
        _ => session_inputs(),
    };
    inputs.into_iter().map(|(name, start, bytes)| (name, prefixed(target, start, &bytes))).collect()
}

/// C0 and C1 as ffmpeg 5.1 sends them to itself: a digest by the first schema, over a C1 that counts upwards.
fn digest_handshake() -> Vec<u8> {
    let mut c1: Vec<u8> = (0..1536).map(|i| i as u8).collect();
    c1[..8].copy_from_slice(&[0, 0, 0, 0, 9, 0, 124, 2]);
    let at = 12 + (c1[8..12].iter().map(|b| usize::from(*b)).sum::<usize>()) % 728;
    let digest =
        common::digest::hmac_sha256(b"Genuine Adobe Flash Player 001", &[&c1[..at], &c1[at + 32..]].concat());
    c1[at..at + 32].copy_from_slice(&digest);
    [vec![3], c1, vec![0; 1536]].concat()
}

fn mutate(random: &mut fastrand::Rng, input: &mut Vec<u8>, others: &[(&'static str, Vec<u8>)]) {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=input.len());
        match random.u8(0..6) {
            0 if at < input.len() => input[at] = random.u8(..),
            1 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            2 => input.truncate(at.max(4)),
            3 => {
                let other = &others[random.usize(0..others.len())].1;
                let from = random.usize(0..=other.len());
                input.splice(at..at, other[from..].iter().copied());
            }
            4 => {
                let end = random.usize(at..=(at + 40).min(input.len()));
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            _ => input.insert(at, random.choice([0, 1, 2, 3, 5, 8, 9, 0x0A, 0x7F, 0xFF]).expect("a byte")),
        }
    }
    input.truncate(8192);
}

fn run_seeded((name, target): Target, rounds: u64) {
    let seeds = seeds(name);
    for (_, seed) in &seeds {
        target(seed);
    }
    for round in 0..rounds {
        let mut random = fastrand::Rng::with_seed(round);
        let mut input = seeds[random.usize(0..seeds.len())].1.clone();
        mutate(&mut random, &mut input, &seeds);
        let caught = std::panic::catch_unwind(|| target(&input));
        assert!(caught.is_ok(), "{name} fails with seed {round}: {input:02x?}");
    }
}

#[test]
fn any_bytes_as_chunks_are_messages_or_an_error_whatever_the_cuts() {
    run_seeded(TARGETS[0], 6_000);
}

#[test]
fn any_bytes_as_amf0_are_bounded_values_or_an_error() {
    run_seeded(TARGETS[1], 40_000);
}

#[test]
fn any_bytes_as_a_handshake_are_an_answer_or_an_error_whatever_the_cuts() {
    run_seeded(TARGETS[2], 500);
}

#[test]
fn any_bytes_as_a_session_keep_its_rules_whatever_the_cuts() {
    run_seeded(TARGETS[3], 4_000);
}

#[test]
fn the_kept_corpus_holds() {
    for (name, target) in TARGETS {
        let folder = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(&folder).expect("the kept corpus").flatten().collect();
        assert!(files.len() >= seeds(name).len(), "{folder} has lost files");
        for file in files {
            target(&std::fs::read(file.path()).expect("a corpus file"));
        }
    }
}

#[test]
#[ignore = "writes the seeds into rtmp/fuzz/corpus; run it after changing them"]
fn write_the_seed_corpus() {
    for (name, _) in TARGETS {
        let folder = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir_all(&folder).expect("folder");
        for (seed, bytes) in seeds(name) {
            std::fs::write(format!("{folder}/{seed}"), bytes).expect("written");
        }
    }
}
