//! Text that may hold anything, made fit for one line; and where its words are.

use crate::model::{Speaker, Word};
use std::borrow::Cow;

/// One line: runs of white space and control characters become one space. Direction marks stay; embeddings, overrides
/// and isolates go, because what one speaker opens would turn the next one's words around.
pub(super) fn clean(text: &str) -> String {
    let turning = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let breaks = |c: char| c.is_whitespace() && c != '\u{a0}' || c.is_control() || turning(c);
    let mut line = String::with_capacity(text.len());
    for word in text.split(breaks).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// What viewers call a speaker, if anything.
pub(super) fn name_of(speaker: Option<&Speaker>) -> Option<String> {
    let speaker = speaker?;
    let names = [clean(&speaker.name), clean(&speaker.id)];
    names.into_iter().find(|name| !name.is_empty())
}

/// At most `limit` characters.
pub(super) fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
            Cow::Owned(format!("{}…", kept.trim_end()))
        }
    }
}

/// Where each word begins in `text`, the first at 0; `None` when the words are not those of the text.
pub(super) fn locate(text: &str, words: &[Word]) -> Option<Vec<usize>> {
    let mut at = 0;
    let mut starts = Vec::with_capacity(words.len());
    for word in words {
        let word = clean(&word.w);
        let found = at + text.get(at..)?.find(word.as_str()).filter(|_| !word.is_empty())?;
        starts.push(found);
        at = found + word.len();
    }
    *starts.first_mut()? = 0;
    Some(starts)
}

/// A piece of text that stays together, with its media time in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) text: String,
    pub(super) space_before: bool,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The pieces of `text`: by its words' times where they fit, else by an even pace between `start` and `end`.
pub(super) fn atoms(text: &str, words: &[Word], start: u64, end: u64, limit: usize) -> Vec<Atom> {
    let Some(starts) = locate(text, words) else { return paced(text, start, end, true, limit) };
    let mut out = Vec::with_capacity(words.len());
    let mut from = start;
    for (nth, word) in words.iter().enumerate() {
        let stop = starts.get(nth + 1).copied().unwrap_or(text.len());
        let slice = text.get(starts[nth]..stop).unwrap_or_default();
        from = word.start_ms.0.clamp(from, end.max(from));
        let to = word.end_ms.0.clamp(from, end.max(from));
        let spaced = text[..starts[nth]].ends_with(' ');
        out.extend(paced(slice, from, to, spaced, limit));
    }
    out
}

/// Splits at spaces, and anything still longer than `limit` characters; time is shared by characters.
fn paced(text: &str, start: u64, end: u64, spaced: bool, limit: usize) -> Vec<Atom> {
    let total = text.chars().filter(|c| *c != ' ').count().max(1) as u64;
    let at = |done: u64| start + (end - start.min(end)) * done / total;
    let mut done = 0;
    let mut out: Vec<Atom> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        for (nth, piece) in chunks(word, limit).enumerate() {
            let from = at(done);
            done += piece.chars().count() as u64;
            let space_before = nth == 0 && (spaced || !out.is_empty());
            out.push(Atom { text: piece.to_owned(), space_before, start: from, end: at(done) });
        }
    }
    out
}

/// Pieces of at most `limit` characters.
fn chunks(word: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let cut = rest.char_indices().nth(limit).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(cut);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
