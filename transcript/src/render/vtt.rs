//! WebVTT (W3C): starts never go back, ends come after starts, everything from people is escaped. Overlaps stay.

use super::Meta;
use super::cues::{Cue, cues_of, in_order};
use super::script::{Script, Turn};
use super::text::name_of;
use crate::model::Record;
use std::io::{self, Write};

/// Writes WebVTT: `<v Name>` names the speaker.
pub fn write_vtt<'a>(
    meta: &'a Meta,
    records: impl IntoIterator<Item = &'a Record>,
    out: &mut impl Write,
) -> io::Result<()> {
    let script = Script::new(records, meta.language.as_deref());
    write_header(&meta.session, &meta.epoch, out)?;
    in_order(script.turns(), cues_of_turn).try_for_each(|cue| write_cue(&cue, out))
}

pub(super) fn cues_of_turn(turn: &Turn<'_>) -> Vec<Cue> {
    cues_of(turn, "", name_of(turn.speaker))
}

pub(super) fn write_header(session: &str, epoch: &str, out: &mut impl Write) -> io::Result<()> {
    let (session, epoch) = (escape(session), escape(epoch));
    write!(out, "WEBVTT\n\nNOTE roomscribe session {session} epoch {epoch}\n\n")
}

pub(super) fn write_cue(cue: &Cue, out: &mut impl Write) -> io::Result<()> {
    let (offset, part, nth) = cue.id;
    writeln!(out, "{offset}.{part}.{nth}\n{} --> {}", time(cue.start), time(cue.end))?;
    let lines: Vec<_> = cue.lines.iter().map(|line| escape(line)).collect();
    match &cue.name {
        Some(name) => write!(out, "<v {}>{}</v>\n\n", escape(name), lines.join("\n")),
        None => write!(out, "{}\n\n", lines.join("\n")),
    }
}

/// No tag, no entity and no `-->` comes out of it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn time(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}
