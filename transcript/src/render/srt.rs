//! SRT: no formal standard; what players agree on (counter without holes, comma, no overlap, no markup).

use super::cues::{Cue, cues_of, in_order};
use super::script::Script;
use super::text::{name_of, shorten};
use super::{LINE_CHARS_MAX, Meta};
use crate::model::Record;
use std::io::{self, Write};

/// Characters of a speaker's name, so that a word still fits on its line.
const NAME_CHARS_MAX: usize = LINE_CHARS_MAX - 12;
/// The shortest time in which people read a caption, by custom.
const CUE_MS_MIN: u64 = 1_000;
/// A caption cut short by the next one stays this long (or its whole length), and the next one waits.
const SEEN_MS_MIN: u64 = 700;

/// Writes SRT: `Name: ` before each caption; captions never overlap.
pub fn write_srt<'a>(
    meta: &'a Meta,
    records: impl IntoIterator<Item = &'a Record>,
    out: &mut impl Write,
) -> io::Result<()> {
    let script = Script::new(records, meta.language.as_deref());
    let mut cues = in_order(script.turns(), |turn| {
        let name = name_of(turn.speaker);
        let prefix = name.map_or_else(String::new, |name| format!("{}: ", shorten(&name, NAME_CHARS_MAX)));
        cues_of(turn, &prefix, None)
    })
    .peekable();
    let (mut counter, mut free_from) = (0_u64, 0);
    while let Some(mut cue) = cues.next() {
        cue.start = cue.start.max(free_from);
        cue.end = clipped(&cue, cues.peek().map(|next| next.start));
        free_from = cue.end + 1;
        counter += 1;
        write_cue(counter, &cue, out)?;
    }
    Ok(())
}

/// The end of `cue` when the next one starts at `next`: a short one stays longer where nothing follows at once.
fn clipped(cue: &Cue, next: Option<u64>) -> u64 {
    let end = cue.end.max(cue.start + 1);
    let seen = end.min(cue.start + SEEN_MS_MIN);
    let wanted = end.max(cue.start + CUE_MS_MIN);
    next.map_or(wanted, |next| wanted.min(next.saturating_sub(1)).max(seen))
}

fn write_cue(counter: u64, cue: &Cue, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{counter}\n{} --> {}", time(cue.start), time(cue.end))?;
    for line in &cue.lines {
        writeln!(out, "{}", plain(line.trim_end()))?;
    }
    writeln!(out)
}

/// Players read `<i>` and `{\an8}` as orders: look-alikes are not.
fn plain(line: &str) -> String {
    let look_alike = |c| match c {
        '<' => '‹',
        '>' => '›',
        '{' => '(',
        '}' => ')',
        other => other,
    };
    line.chars().map(look_alike).collect()
}

fn time(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{hours:02}:{minutes:02}:{seconds:02},{:03}", ms % 1000)
}
