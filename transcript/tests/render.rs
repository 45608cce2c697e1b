//! The renderings: golden files, an independent parser, and the subtitle rules as properties of any transcript.
//!
//! `UPDATE_GOLDEN=1` writes the golden files anew; look at the difference before committing it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod scene;

use roomscribe_transcript::render::*;
use roomscribe_transcript::{Offset, Record};
use scene::*;
use std::path::Path;
use subtp::srt::SubRip;
use subtp::vtt::{VttBlock, VttCue, WebVtt};

fn meta(language: Option<&str>) -> Meta {
    Meta {
        session: "019aaaaa-0000-7000-8000-000000000001".into(),
        epoch: "9f2c01ab".into(),
        head: Offset(17),
        complete: true,
        language: language.map(str::to_owned),
    }
}

fn rendered(format: &str, meta: &Meta, records: &[Record]) -> String {
    let mut out = Vec::new();
    match format {
        "json" => write_json(meta, records, &mut out),
        "srt" => write_srt(meta, records, &mut out),
        "vtt" => write_vtt(meta, records, &mut out),
        "txt" => write_txt(meta, records, &mut out),
        "growing.vtt" => GrowingVtt::begin(meta, &mut out)
            .and_then(|mut vtt| records.iter().try_for_each(|record| vtt.push(record, &mut out))),
        other => panic!("{other}"),
    }
    .unwrap();
    String::from_utf8(out).unwrap()
}

fn same_as_golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == got, "{name} differs from its golden file:\n{got}");
}

fn cues(vtt: &str) -> Vec<VttCue> {
    let blocks = WebVtt::parse(vtt).unwrap_or_else(|error| panic!("{error:?}\n{vtt}")).blocks;
    let cues = blocks.into_iter().filter_map(|block| match block {
        VttBlock::Que(cue) => Some(cue),
        _ => None,
    });
    cues.collect()
}

/// What a player shows of a cue: without the voice's tag, entities read.
fn shown_lines(cue: &VttCue) -> Vec<String> {
    let text = cue.payload.join("\n");
    let inside = text.strip_prefix("<v ").and_then(|rest| Some(rest.split_once('>')?.1));
    let text = inside.map_or(text.as_str(), |inside| inside.trim_end_matches("</v>"));
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.split('\n').map(str::to_owned).collect()
}

fn vtt_ms(at: subtp::vtt::VttTimestamp) -> u64 {
    ((u64::from(at.hours) * 60 + u64::from(at.minutes)) * 60 + u64::from(at.seconds)) * 1000
        + u64::from(at.milliseconds)
}

fn srt_ms(at: subtp::srt::SrtTimestamp) -> u64 {
    ((u64::from(at.hours) * 60 + u64::from(at.minutes)) * 60 + u64::from(at.seconds)) * 1000
        + u64::from(at.milliseconds)
}

#[test]
fn the_golden_files_are_what_is_written() {
    for (scene, records) in scenes() {
        for format in ["json", "srt", "vtt", "txt", "growing.vtt"] {
            same_as_golden(&format!("{scene}.{format}"), &rendered(format, &meta(None), &records));
        }
    }
}

#[test]
fn a_translation_is_shown_where_there_is_one_and_the_original_elsewhere() {
    let records = languages();
    for format in ["json", "srt", "vtt", "txt", "growing.vtt"] {
        let got = rendered(format, &meta(Some("en")), &records);
        same_as_golden(&format!("languages-en.{format}"), &got);
        assert!(got.contains("Good morning, everyone.") && got.contains("שלום"), "{got}");
        assert!(format == "json" || !got.contains("Доброе утро"), "{got}");
    }
}

#[test]
fn an_empty_transcript_is_an_empty_but_valid_file() {
    assert_eq!(rendered("srt", &meta(None), &[]), "");
    assert_eq!(rendered("txt", &meta(None), &[]), "");
    assert_eq!(cues(&rendered("vtt", &meta(None), &[])).len(), 0);
    let json: serde_json::Value = serde_json::from_str(&rendered("json", &meta(None), &[])).unwrap();
    assert_eq!(json["segments"], serde_json::json!([]));
    assert_eq!((&json["head"], &json["complete"]), (&17.into(), &true.into()));
}

#[test]
fn a_relabel_gives_each_speaker_their_own_words() {
    let records = meeting();
    assert!(rendered("txt", &meta(None), &records).contains("Bob: Yes, we do.\n\nAlice: Good."));
    let json: serde_json::Value = serde_json::from_str(&rendered("json", &meta(None), &records)).unwrap();
    let parts: Vec<_> =
        json["segments"].as_array().unwrap().iter().filter(|segment| segment["offset"] == 3).collect();
    assert_eq!(parts.len(), 2);
    assert_eq!((&parts[0]["speaker"]["id"], &parts[0]["text"]), (&"bob".into(), &"Yes, we do.".into()));
    assert_eq!((&parts[1]["speaker"]["id"], &parts[1]["text"]), (&"alice".into(), &"Good.".into()));
}

#[test]
fn hostile_text_opens_no_tag_and_no_cue() {
    let records = hostile();
    let vtt = rendered("vtt", &meta(None), &records);
    for line in vtt.lines().filter(|line| line.contains("-->")) {
        assert!(line.starts_with("00:"), "an arrow outside a timing line: {line}");
    }
    for cue in cues(&vtt) {
        let text = cue.payload.join("\n");
        let inner = text.strip_prefix("<v ").map_or(text.as_str(), |rest| {
            let (name, inner) = rest.split_once('>').unwrap();
            assert!(!name.contains(['<', '\n']), "{name}");
            inner.strip_suffix("</v>").unwrap()
        });
        assert!(!inner.contains(['<', '>']), "{inner}");
    }
    let srt = rendered("srt", &meta(None), &records);
    assert!(!srt.contains(['<', '{', '}']), "{srt}");
    assert_eq!(srt.matches('>').count(), srt.matches(" --> ").count());
}

#[test]
fn a_parser_of_others_reads_srt_back_as_the_rules_ask() {
    for (scene, records) in scenes().into_iter().chain(any_scenes()) {
        let srt = rendered("srt", &meta(None), &records);
        let parsed =
            SubRip::parse(&srt).unwrap_or_else(|error| panic!("{scene}: {error:?}\n{srt}")).subtitles;
        assert_eq!(parsed.len(), srt.matches(" --> ").count(), "{scene}");
        let mut free_from = 0;
        for (nth, cue) in parsed.iter().enumerate() {
            let (start, end) = (srt_ms(cue.start), srt_ms(cue.end));
            assert_eq!(cue.sequence as usize, nth + 1, "{scene}: the counter has no hole");
            assert!(start >= free_from && end > start, "{scene}: caption {} overlaps", nth + 1);
            assert!(end - start <= CUE_MS_MAX, "{scene}: caption {} stays {} ms", nth + 1, end - start);
            assert!(cue.text.len() <= LINES_MAX, "{scene}: {:?}", cue.text);
            assert!(
                cue.text.iter().all(|line| line.chars().count() <= LINE_CHARS_MAX),
                "{scene}: {:?}",
                cue.text
            );
            free_from = end + 1;
        }
    }
}

#[test]
fn a_parser_of_others_reads_webvtt_back_as_the_rules_ask() {
    for (scene, records) in scenes().into_iter().chain(any_scenes()) {
        for format in ["vtt", "growing.vtt"] {
            let vtt = rendered(format, &meta(None), &records);
            let parsed = cues(&vtt);
            assert_eq!(parsed.len(), vtt.matches(" --> ").count(), "{scene}");
            let mut last = 0;
            let mut ids = std::collections::HashSet::new();
            for cue in &parsed {
                let (start, end) = (vtt_ms(cue.timings.start), vtt_ms(cue.timings.end));
                assert!(start >= last && end > start, "{scene}.{format}: {start} after {last}, until {end}");
                assert!(format != "vtt" || end - start <= CUE_MS_MAX, "{scene}: {} ms", end - start);
                let lines = shown_lines(cue);
                assert!(lines.len() <= LINES_MAX, "{scene}: {lines:?}");
                assert!(
                    lines.iter().all(|line| line.chars().count() <= LINE_CHARS_MAX),
                    "{scene}: {lines:?}"
                );
                assert!(ids.insert(cue.identifier.clone()), "{scene}: an id twice");
                last = start;
            }
        }
    }
}

#[test]
fn no_word_is_lost_in_captions() {
    for (scene, records) in scenes().into_iter().chain(any_scenes()).filter(|(name, _)| *name != "hostile") {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        let json: serde_json::Value = serde_json::from_str(&rendered("json", &meta(None), &records)).unwrap();
        let said: usize =
            json["segments"].as_array().unwrap().iter().map(|s| letters(s["text"].as_str().unwrap())).sum();
        for format in ["vtt", "growing.vtt"] {
            let cues = cues(&rendered(format, &meta(None), &records));
            let shown: usize = cues.iter().flat_map(shown_lines).map(|line| letters(&line)).sum();
            assert_eq!(shown, said, "{scene}.{format}");
        }
    }
}

#[test]
fn a_long_final_is_split_where_its_words_are() {
    let vtt = cues(&rendered("vtt", &meta(None), &monologue()));
    assert!(vtt.len() > 3);
    for cue in &vtt {
        let (start, end) = (vtt_ms(cue.timings.start), vtt_ms(cue.timings.end));
        assert!(start % 500 == 0 || start == 0, "a caption starts with a word: {start}");
        assert!(end - start <= CUE_MS_MAX);
    }
}

#[test]
fn hours_beyond_ninety_nine_keep_their_digits() {
    let records = [final_at(1, 360_000_000, 360_001_500, None, "late")];
    assert!(rendered("vtt", &meta(None), &records).contains("100:00:00.000 --> 100:00:01.500"));
    assert!(rendered("srt", &meta(None), &records).contains("100:00:00,000 --> 100:00:01,500"));
}

#[test]
fn a_growing_file_ends_as_the_whole_one_where_speech_is_in_order_and_no_one_is_relabelled() {
    for records in [monologue(), languages()] {
        assert_eq!(rendered("growing.vtt", &meta(None), &records), rendered("vtt", &meta(None), &records));
    }
}

#[test]
fn a_growing_file_waits_for_sixty_four_translations_and_no_more() {
    let mut out = Vec::new();
    let mut vtt = GrowingVtt::begin(&meta(Some("de")), &mut out).unwrap();
    let header = out.len();
    for n in 1..=64 {
        vtt.push(&final_at(n, n * 1000, n * 1000 + 900, None, "hello"), &mut out).unwrap();
    }
    assert_eq!(out.len(), header, "all wait");
    for n in 65..=66 {
        vtt.push(&final_at(n, n * 1000, n * 1000 + 900, None, "hello"), &mut out).unwrap();
    }
    let text = String::from_utf8(out.clone()).unwrap();
    assert_eq!(cues(&text).iter().map(|cue| vtt_ms(cue.timings.start)).collect::<Vec<_>>(), [1000, 2000]);
    vtt.flush(&mut out).unwrap();
    assert_eq!(cues(&String::from_utf8(out).unwrap()).len(), 66);
}
