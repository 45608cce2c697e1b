//! A recogniser of tones, for tests: what it says depends on the audio alone, so lost, doubled and displaced audio shows.
//!
//! A tone of `400 + 50 n` Hz is the word `tone<n>`.

use crate::pool::Engine;

const LOWEST: f64 = 400.0;
const STEP: f64 = 50.0;
/// Seconds; windows overlap by half, and three must agree.
const WINDOW: f64 = 0.1;
const QUIET: f32 = 0.02;

/// An engine for the pool.
pub(crate) fn engine() -> Engine {
    Box::new(|audio, rate| Ok(words(audio, f64::from(rate)).join(" ")))
}

fn words(audio: &[f32], rate: f64) -> Vec<String> {
    let length = (rate * WINDOW) as usize;
    let mut words = Vec::new();
    let (mut before, mut run, mut told) = (None, 0, None);
    for window in audio.windows(length).step_by(length / 2) {
        let heard = tone(window, rate);
        run = if heard == before { run + 1 } else { 1 };
        // A seam between two pieces of sound is in two windows.
        if heard.is_some() && run >= 3 && told != heard {
            words.extend(heard.map(|number| format!("tone{number}")));
            told = heard;
        }
        before = heard;
    }
    words
}

/// Counts rising zero crossings.
fn tone(window: &[f32], rate: f64) -> Option<u32> {
    let mean: f32 = window.iter().map(|sample| sample.abs()).sum::<f32>() / window.len() as f32;
    if mean < QUIET {
        return None;
    }
    let crossings: Vec<usize> =
        (1..window.len()).filter(|at| window[at - 1] < 0.0 && window[*at] >= 0.0).collect();
    let span = crossings.last()?.checked_sub(*crossings.first()?).filter(|span| *span > 0)?;
    let frequency = (crossings.len() - 1) as f64 * rate / span as f64;
    let number = ((frequency - LOWEST) / STEP).round();
    ((frequency - LOWEST - number * STEP).abs() < STEP / 4.0 && number >= 0.0).then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(number: u32, seconds: f64) -> Vec<f32> {
        let frequency = LOWEST + STEP * f64::from(number);
        let sample =
            |at: usize| (std::f64::consts::TAU * frequency * at as f64 / 16_000.0).sin() as f32 * 0.3;
        (0..(seconds * 16_000.0) as usize).map(sample).collect()
    }

    #[test]
    fn each_tone_is_one_word_however_long_and_what_is_between_is_none() {
        for number in [0, 1, 17, 60] {
            assert_eq!(words(&sound(number, 0.8), 16_000.0), [format!("tone{number}")]);
        }
        let audio = [sound(3, 0.5), vec![0.0; 4000], sound(4, 0.5), sound(9, 0.05)].concat();
        assert_eq!(words(&audio, 16_000.0), ["tone3", "tone4"]);
    }
}
