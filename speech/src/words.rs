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

/// Spreads the words of `text` over `start..end` seconds in proportion to their length. A word counts one unit more
/// than its letters, because short words take longer per letter. Each word begins with a space, as Gladia's do.
pub(crate) fn spread(text: &str, start: f64, end: f64, confidence: Option<f64>) -> Vec<Word> {
    let weight = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).count() as f64 + 1.0;
    let total: f64 = text.split_whitespace().map(weight).sum();
    let mut done = 0.0;
    let mut at = |part: f64| {
        done += part;
        millis(start + (end - start) * (done / total.max(1.0)))
    };
    let mut from = millis(start);
    let mut word = |word: &str| {
        let to = at(weight(word));
        let start = std::mem::replace(&mut from, to);
        Word { word: format!(" {word}"), start, end: to, confidence }
    };
    text.split_whitespace().map(&mut word).collect()
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
        let words = spread("a remarkable day", 2.0, 4.0, None);
        assert_eq!((words[0].start, words[2].end), (2.0, 4.0));
        assert!(words.windows(2).all(|w| w[0].end == w[1].start && w[0].start < w[0].end));
        assert!(words[1].end - words[1].start > words[2].end - words[2].start);
    }

    #[test]
    fn no_words_have_no_times() {
        assert!(spread("  ", 0.0, 1.0, None).is_empty());
    }
}
