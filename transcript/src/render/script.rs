//! Records into turns: finals by start, split where a relabel says that another speaker begins.

use super::text::{clean, locate};
use crate::model::{Event, Final, Offset, Record, Relabel, RelabelPart, SegmentId, Speaker, Word};
use std::collections::{BTreeMap, HashMap};

/// A stretch of one final by one speaker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn<'a> {
    pub(super) offset: Offset,
    /// Counts the turns of one final, from 0.
    pub(super) part: usize,
    pub(super) of: &'a Final,
    pub(super) speaker: Option<&'a Speaker>,
    pub(super) language: Option<&'a str>,
    pub(super) start: u64,
    /// Not before `start`.
    pub(super) end: u64,
    /// One line, not empty.
    pub(super) text: String,
    /// Empty when `text` is a translation.
    pub(super) words: &'a [Word],
}

/// What the log says, ready to be read in order of time.
#[derive(Debug)]
pub(super) struct Script<'a> {
    finals: Vec<(Offset, &'a Final)>,
    relabels: HashMap<&'a SegmentId, &'a Relabel>,
    translations: HashMap<&'a SegmentId, BTreeMap<&'a str, &'a str>>,
    language: Option<&'a str>,
}

impl<'a> Script<'a> {
    pub(super) fn new(records: impl IntoIterator<Item = &'a Record>, language: Option<&'a str>) -> Self {
        let mut script =
            Self { finals: Vec::new(), relabels: HashMap::new(), translations: HashMap::new(), language };
        for record in records {
            match &record.event {
                Event::Final(event) => script.finals.push((record.offset, event)),
                Event::Relabel(event) => drop(script.relabels.insert(&event.seg, event)),
                Event::Translation(event) => {
                    let known = script.translations.entry(&event.seg).or_default();
                    known.entry(&event.language).or_insert(&event.text);
                }
                Event::Status(_) | Event::Gap(_) | Event::Handover {} | Event::End(_) => {}
            }
        }
        script.finals.sort_by_key(|(offset, event)| (event.start_ms, *offset));
        script
    }

    /// Turns by the start of their final; a later turn of one final may start after the next final's first.
    pub(super) fn turns(&self) -> impl Iterator<Item = Turn<'a>> + '_ {
        self.finals.iter().flat_map(|(offset, event)| {
            let parts = self.relabels.get(&event.seg).map_or(&[][..], |relabel| &relabel.parts);
            let translation = self
                .language
                .and_then(|language| Some((language, *self.translations.get(&event.seg)?.get(language)?)));
            turns_of(*offset, event, parts, translation)
        })
    }

    /// Every translation of a segment, by language.
    pub(super) fn translations_of(&self, seg: &SegmentId) -> Option<&BTreeMap<&'a str, &'a str>> {
        self.translations.get(seg)
    }
}

/// The turns of one final.
pub(super) fn turns_of<'a>(
    offset: Offset,
    of: &'a Final,
    parts: &'a [RelabelPart],
    translation: Option<(&'a str, &'a str)>,
) -> Vec<Turn<'a>> {
    let end = of.end_ms.0.max(of.start_ms.0);
    let whole = |speaker, text: &str, language, words| Turn {
        offset,
        part: 0,
        of,
        speaker,
        language,
        start: of.start_ms.0,
        end,
        text: clean(text),
        words,
    };
    let runs = runs(of, parts);
    let mut turns = match (translation, runs.as_slice()) {
        (Some((language, text)), _) => vec![whole(longest(&runs), text, Some(language), &[][..])],
        (None, [] | [_]) => vec![whole(longest(&runs), &of.text, of.language.as_deref(), &of.words[..])],
        (None, _) => split(&whole(None, &of.text, of.language.as_deref(), &of.words), &runs),
    };
    turns.retain(|turn| !turn.text.is_empty());
    turns
}

/// Words `from..to` by one speaker, in order, all words covered.
struct Run<'a> {
    from: usize,
    to: usize,
    speaker: Option<&'a Speaker>,
}

fn runs<'a>(of: &'a Final, parts: &'a [RelabelPart]) -> Vec<Run<'a>> {
    if of.words.is_empty() {
        let speaker = parts.first().map(|part| &part.speaker).or(of.speaker.as_ref());
        return vec![Run { from: 0, to: 0, speaker }];
    }
    let mut runs: Vec<Run<'a>> = Vec::new();
    for word in 0..of.words.len() {
        let part = parts.iter().find(|p| (p.from_word as usize..p.to_word as usize).contains(&word));
        let speaker = part.map(|part| &part.speaker).or(of.speaker.as_ref());
        match runs.last_mut() {
            Some(run) if run.speaker.map(|s| &s.id) == speaker.map(|s| &s.id) => run.to = word + 1,
            _ => runs.push(Run { from: word, to: word + 1, speaker }),
        }
    }
    runs
}

fn longest<'a>(runs: &[Run<'a>]) -> Option<&'a Speaker> {
    runs.iter().rev().max_by_key(|run| run.to - run.from)?.speaker
}

fn split<'a>(whole: &Turn<'a>, runs: &[Run<'a>]) -> Vec<Turn<'a>> {
    let starts = locate(&whole.text, whole.words);
    let mut from = whole.start;
    let mut turns = Vec::with_capacity(runs.len());
    for (part, run) in runs.iter().enumerate() {
        let words = whole.words.get(run.from..run.to).unwrap_or_default();
        let text = match &starts {
            Some(starts) => {
                let stop = starts.get(run.to).copied().unwrap_or(whole.text.len());
                whole.text[starts[run.from]..stop].trim().to_owned()
            }
            None => clean(&words.iter().map(|word| word.w.as_str()).collect::<Vec<_>>().join(" ")),
        };
        let start = words.first().map_or(from, |word| word.start_ms.0).clamp(from, whole.end.max(from));
        let end = words.last().map_or(start, |word| word.end_ms.0).max(start);
        from = start;
        turns.push(Turn { part, speaker: run.speaker, start, end, text, words, ..whole.clone() });
    }
    turns
}
