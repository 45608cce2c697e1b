//! Hears words of tones in PCM: position and pitch of each, nothing of which comes from the code under test.

const HOP: usize = 160;
const LOUD: u64 = 200;
/// Shorter sounds are clicks of the codec.
const SHORTEST: u64 = 10;
const WORD_PAUSE: u64 = 4;

/// A word; times in samples since the first that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) tone: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Recogniser {
    pending: Vec<i16>,
    hops: u64,
    /// First loud hop of the word that is being heard, and the quiet hops since its last loud one.
    word: Option<(u64, u64)>,
    samples: Vec<i16>,
    /// Quiet hops since the last word.
    pub(crate) quiet: u64,
    pub(crate) words: Vec<Word>,
}

impl Recogniser {
    pub(crate) fn push(&mut self, pcm: &[u8]) {
        self.pending.extend(pcm.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        let whole = self.pending.len() / HOP;
        let pending = std::mem::take(&mut self.pending);
        pending[..whole * HOP].chunks_exact(HOP).for_each(|hop| self.hop(hop));
        self.pending = pending[whole * HOP..].to_vec();
    }

    /// Nothing follows.
    pub(crate) fn finish(&mut self) {
        self.end_word();
    }

    pub(crate) fn is_in_word(&self) -> bool {
        self.word.is_some()
    }

    fn hop(&mut self, hop: &[i16]) {
        let level: u64 = hop.iter().map(|sample| u64::from(sample.unsigned_abs())).sum();
        let loud = level >= LOUD * HOP as u64;
        self.quiet = if loud { 0 } else { self.quiet + 1 };
        match &mut self.word {
            Some((_, quiet)) if loud => *quiet = 0,
            Some((_, quiet)) => *quiet += 1,
            None if loud => self.word = Some((self.hops, 0)),
            None => {}
        }
        if self.word.is_some() {
            self.samples.extend_from_slice(hop);
        }
        self.hops += 1;
        if self.word.is_some_and(|(_, quiet)| quiet >= WORD_PAUSE) {
            self.end_word();
        }
    }

    fn end_word(&mut self) {
        let Some((start, quiet)) = self.word.take() else { return };
        let end = self.hops - quiet;
        let samples = std::mem::take(&mut self.samples);
        if end < start + SHORTEST {
            return;
        }
        let sound = &samples[..(end - start) as usize * HOP];
        // The middle: at its edges a word fades.
        let sound = &sound[sound.len() / 5..sound.len() - sound.len() / 4];
        let crossings = sound.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        let pitch = crossings as f64 * 8_000.0 / sound.len() as f64;
        let tone = ((pitch - 500.0) / 187.5).round().clamp(0.0, 15.0) as usize;
        self.words.push(Word { tone, start: start * HOP as u64, end: end * HOP as u64 });
    }
}
