//! Turns into captions: at most [`LINES_MAX`] lines of [`LINE_CHARS_MAX`] characters and [`CUE_MS_MAX`] each.

use super::script::Turn;
use super::text::{Atom, atoms};
use super::{CUE_MS_MAX, LINE_CHARS_MAX, LINES_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

/// How long a caption without a length of its own stays: both formats ask for an end after the start.
const ZERO_LENGTH_MS: u64 = 1_000;

/// One caption.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cue {
    /// Media time, milliseconds.
    pub(super) start: u64,
    /// Unique, rising with the log: offset, turn, caption within the turn.
    pub(super) id: (u64, usize, usize),
    /// After `start`.
    pub(super) end: u64,
    pub(super) lines: Vec<String>,
    pub(super) name: Option<String>,
}

/// The captions of one turn. `prefix` is written before each one's text and counts as part of its first line.
pub(super) fn cues_of(turn: &Turn<'_>, prefix: &str, name: Option<String>) -> Vec<Cue> {
    let pieces = atoms(&turn.text, turn.words, turn.start, turn.end, LINE_CHARS_MAX);
    let mut cues: Vec<Cue> = Vec::new();
    let mut lines = Lines::new(prefix);
    let mut start = turn.start;
    let mut end = turn.start;
    for (nth, atom) in pieces.iter().enumerate() {
        let late = atom.end.saturating_sub(start) > CUE_MS_MAX;
        if nth > 0 && (late || !lines.fits(atom)) {
            let full = std::mem::replace(&mut lines, Lines::new(prefix));
            cues.push(cue(turn, cues.len(), start, end, full, name.clone()));
            start = atom.start;
        }
        lines.push(atom);
        end = atom.end;
    }
    if !pieces.is_empty() {
        cues.push(cue(turn, cues.len(), start, turn.end, lines, name));
    }
    cues
}

fn cue(turn: &Turn<'_>, nth: usize, start: u64, end: u64, lines: Lines, name: Option<String>) -> Cue {
    let id = (turn.offset.0, turn.part, nth);
    let end = if end <= start { start + ZERO_LENGTH_MS } else { end.min(start + CUE_MS_MAX) };
    Cue { start, id, end, lines: lines.done, name }
}

/// Lines that grow word by word.
struct Lines {
    done: Vec<String>,
    /// Characters of the last line.
    used: usize,
}

impl Lines {
    fn new(prefix: &str) -> Self {
        Self { done: vec![prefix.to_owned()], used: prefix.chars().count() }
    }

    /// Characters of the last line with `atom` on it.
    fn with(&self, atom: &Atom) -> usize {
        let space = atom.space_before && self.used > 0;
        self.used + usize::from(space) + atom.text.chars().count()
    }

    fn fits(&self, atom: &Atom) -> bool {
        self.with(atom) <= LINE_CHARS_MAX || self.done.len() < LINES_MAX
    }

    fn push(&mut self, atom: &Atom) {
        let used = self.with(atom);
        match self.done.last_mut() {
            Some(line) if used <= LINE_CHARS_MAX => {
                let joined = line.is_empty() || line.ends_with(": ") || !atom.space_before;
                line.push_str(if joined { "" } else { " " });
                line.push_str(&atom.text);
                self.used = line.chars().count();
            }
            _ => {
                self.done.push(atom.text.clone());
                self.used = atom.text.chars().count();
            }
        }
    }
}

/// Captions in order of start. Holds only those that a later turn's captions may still precede.
pub(super) struct InOrder<'a, T: Iterator<Item = Turn<'a>>, F> {
    turns: Peekable<T>,
    split: F,
    waiting: BinaryHeap<Reverse<Cue>>,
}

/// `turns` come by the start of their final.
pub(super) fn in_order<'a, T, F>(turns: T, split: F) -> InOrder<'a, T, F>
where
    T: Iterator<Item = Turn<'a>>,
    F: FnMut(&Turn<'a>) -> Vec<Cue>,
{
    InOrder { turns: turns.peekable(), split, waiting: BinaryHeap::new() }
}

impl<'a, T, F> Iterator for InOrder<'a, T, F>
where
    T: Iterator<Item = Turn<'a>>,
    F: FnMut(&Turn<'a>) -> Vec<Cue>,
{
    type Item = Cue;

    fn next(&mut self) -> Option<Cue> {
        loop {
            let due = match (self.waiting.peek(), self.turns.peek()) {
                (Some(Reverse(cue)), Some(turn)) => cue.start <= turn.of.start_ms.0,
                (waiting, _) => waiting.is_some(),
            };
            if due {
                return self.waiting.pop().map(|Reverse(cue)| cue);
            }
            let turn = self.turns.next()?;
            self.waiting.extend((self.split)(&turn).into_iter().map(Reverse));
        }
    }
}
