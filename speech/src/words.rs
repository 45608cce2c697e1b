//! Word times for a recogniser that gives none.

use serde::Serialize;

/// One word of an utterance, as in Gladia's `WordDTO`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Word {
    pub(crate) word: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// `None` (JSON null) = not measured.
    pub(crate) confidence: Option<f64>,
}

/// Spreads the words of `text` over the voiced `spans` (seconds, in order) in proportion to their length, so that no
/// word lies in a pause. A word counts one unit more than its letters, because short words take longer per letter.
/// Each word begins with a space, as Gladia's do.
pub(crate) fn spread(text: &str, spans: &[(f64, f64)], confidence: Option<f64>) -> Vec<Word> {
    let weight = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).count() as f64 + 1.0;
    let total: f64 = text.split_whitespace().map(weight).sum();
    let voiced: f64 = spans.iter().map(|(from, to)| to - from).sum();
    let mut done = 0.0;
    let mut word = |word: &str| {
        let start = millis(after(spans, voiced * done / total));
        done += weight(word);
        let end = millis(until(spans, voiced * done / total));
        Word { word: format!(" {word}"), start, end, confidence }
    };
    text.split_whitespace().map(&mut word).collect()
}

/// The moment at which more than `voiced` seconds of voice begin: after a pause, if one is there.
fn after(spans: &[(f64, f64)], voiced: f64) -> f64 {
    let mut left = voiced;
    for (from, to) in spans {
        if left < to - from - 1e-6 {
            return from + left;
        }
        left -= to - from;
    }
    spans.last().map_or(0.0, |(_, to)| *to)
}

/// The moment at which `voiced` seconds of voice are over: before a pause, if one follows.
fn until(spans: &[(f64, f64)], voiced: f64) -> f64 {
    let mut left = voiced;
    for (from, to) in spans {
        if left <= to - from + 1e-6 {
            return from + left;
        }
        left -= to - from;
    }
    spans.last().map_or(0.0, |(_, to)| *to)
}

/// Seconds rounded to milliseconds.
pub(crate) fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fill_the_utterance_in_order_and_longer_ones_take_longer() {
        let words = spread("a remarkable day", &[(2.0, 4.0)], None);
        assert_eq!((words[0].start, words[2].end), (2.0, 4.0));
        assert!(words.windows(2).all(|w| w[0].end == w[1].start && w[0].start < w[0].end));
        assert!(words[1].end - words[1].start > words[2].end - words[2].start);
    }

    #[test]
    fn a_pause_lies_between_words_and_in_none() {
        let words = spread("one two", &[(0.0, 1.0), (3.0, 4.0)], None);
        assert_eq!((words[0].start, words[0].end, words[1].start, words[1].end), (0.0, 1.0, 3.0, 4.0));
    }

    #[test]
    fn no_words_have_no_times() {
        assert!(spread("  ", &[(0.0, 1.0)], None).is_empty());
    }
}
