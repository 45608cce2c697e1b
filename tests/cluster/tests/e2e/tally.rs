//! The last line: what the accidents cost.

use crate::transcript::Transcript;
use std::time::Duration;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// From each accident to the next words of a session that is Ready.
    pub(crate) recovered: Vec<Duration>,
    /// Egresses that outlived their session, or fed it beside another.
    pub(crate) orphans: usize,
}

impl Tally {
    /// `e2e: kills=N lost=N doubled=N gap_p50_ms=N gap_max_ms=N recovered_p50_s=N recovered_max_s=N orphans=N`
    pub(crate) fn line(&self, transcript: &Transcript) -> String {
        let gaps = transcript.gaps_ms();
        let recovered: Vec<u64> = self.recovered.iter().map(|time| time.as_millis() as u64).collect();
        let seconds = |ms: u64| ms as f64 / 1000.0;
        format!(
            "e2e: kills={} lost={} doubled={} gap_p50_ms={} gap_max_ms={} recovered_p50_s={:.1} recovered_max_s={:.1} orphans={}",
            self.recovered.len(),
            transcript.lost(),
            transcript.doubled(),
            middle(&gaps),
            gaps.iter().max().copied().unwrap_or_default(),
            seconds(middle(&recovered)),
            seconds(recovered.iter().max().copied().unwrap_or_default()),
            self.orphans,
        )
    }
}

/// The middle one; 0 of none.
fn middle(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
