//! Plain text: one paragraph per speaker's turn.

use super::Meta;
use super::script::Script;
use super::text::name_of;
use crate::model::Record;
use std::io::{self, Write};

/// Writes plain text: `Name: ` begins a paragraph when the speaker is known.
pub fn write_txt<'a>(
    meta: &'a Meta,
    records: impl IntoIterator<Item = &'a Record>,
    out: &mut impl Write,
) -> io::Result<()> {
    let script = Script::new(records, meta.language.as_deref());
    let mut speaking: Option<Option<String>> = None;
    for turn in script.turns() {
        let name = name_of(turn.speaker);
        if speaking.as_ref() == Some(&name) {
            write!(out, " {}", turn.text)?;
            continue;
        }
        out.write_all(if speaking.is_some() { b"\n\n" } else { b"" })?;
        match &name {
            Some(name) => write!(out, "{name}: {}", turn.text)?,
            None => write!(out, "{}", turn.text)?,
        }
        speaking = Some(name);
    }
    out.write_all(if speaking.is_some() { b"\n" } else { b"" })
}
