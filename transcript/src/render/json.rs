//! JSON: one object with every segment.

use super::Meta;
use super::script::{Script, Turn};
use super::text::clean;
use crate::model::{MediaMs, Offset, Record, SegmentId, Speaker, Word};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes `{session, epoch, head, complete, segments: […]}`, one segment per line.
///
/// A final that was relabelled into several turns gives one segment per turn, all with its offset.
pub fn write_json<'a>(
    meta: &'a Meta,
    records: impl IntoIterator<Item = &'a Record>,
    out: &mut impl Write,
) -> io::Result<()> {
    let script = Script::new(records, meta.language.as_deref());
    let head = Head { session: &meta.session, epoch: &meta.epoch, head: meta.head, complete: meta.complete };
    let head = serde_json::to_string(&head)?;
    write!(out, "{},\"segments\":[", head.trim_end_matches('}'))?;
    for (nth, turn) in script.turns().enumerate() {
        out.write_all(if nth > 0 { b",\n" } else { b"\n" })?;
        serde_json::to_writer(&mut *out, &segment(&turn, &script))?;
    }
    out.write_all(b"\n]}\n")
}

#[derive(Serialize)]
struct Head<'a> {
    session: &'a str,
    epoch: &'a str,
    head: Offset,
    complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    offset: Offset,
    seg: &'a SegmentId,
    start_ms: MediaMs,
    end_ms: MediaMs,
    speaker: Option<&'a Speaker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "<[Word]>::is_empty")]
    words: &'a [Word],
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    translations: Option<&'a BTreeMap<&'a str, &'a str>>,
}

fn segment<'a>(turn: &'a Turn<'a>, script: &'a Script<'a>) -> Segment<'a> {
    Segment {
        offset: turn.offset,
        seg: &turn.of.seg,
        start_ms: MediaMs(turn.start),
        end_ms: MediaMs(turn.end),
        speaker: turn.speaker,
        language: turn.language,
        text: if clean(&turn.of.text) == turn.text { &turn.of.text } else { &turn.text },
        words: turn.words,
        confidence: turn.of.confidence,
        at: &turn.of.at,
        translations: script.translations_of(&turn.of.seg).filter(|_| turn.part == 0),
    }
}
