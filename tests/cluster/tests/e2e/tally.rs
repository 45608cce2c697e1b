//! What the accidents cost: a row for each, and the last line.

use crate::kills::Kill;
use crate::transcript::Transcript;
use std::fmt::Write;
use std::time::Duration;

/// Milliseconds that a gap may begin before the accident: audio that had not reached the speech service.
const SLACK: f64 = 1000.0;

/// One accident.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kill: Kill,
    /// When, media milliseconds: the end of the last word before.
    pub(crate) at: f64,
    /// From the accident to the first word that was spoken after it, of a session that is Ready, with one egress (undisturbed it is
    /// two tones, 3.0 s); or the longest time without a word until its pod is gone, if that is longer.
    pub(crate) recovered: Duration,
    /// Milliseconds of gap that it brought.
    pub(crate) gap_ms: u64,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    /// Egresses that it made the operator start.
    pub(crate) egress_starts: usize,
}

impl Row {
    pub(crate) fn of(kill: Kill) -> Self {
        Self { kill, at: 0.0, recovered: Duration::ZERO, gap_ms: 0, lost: 0, doubled: 0, egress_starts: 0 }
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rows: Vec<Row>,
    /// Egresses that outlived their session.
    pub(crate) orphans: usize,
}

impl Tally {
    /// What the transcript tells at its end belongs to the newest accident before it.
    pub(crate) fn account(&mut self, transcript: &Transcript) {
        for (start, end) in transcript.gaps() {
            self.at(start, |row| row.gap_ms += (end - start) as u64);
        }
        transcript.lost().into_iter().for_each(|start| self.at(start, |row| row.lost += 1));
        transcript.doubled().into_iter().for_each(|start| self.at(start, |row| row.doubled += 1));
    }

    fn at(&mut self, start: f64, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.iter_mut().rev().find(|row| row.at - SLACK <= start) {
            change(row);
        }
    }

    /// As docs/cluster.md shows it.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| killed | words and Ready again, s | gap, ms | lost | doubled | egress starts |\n|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let Row { kill, at: _, recovered, gap_ms, lost, doubled, egress_starts } = row;
            let (name, seconds) = (kill.name(), recovered.as_secs_f64());
            let _ =
                writeln!(text, "| {name} | {seconds:.1} | {gap_ms} | {lost} | {doubled} | {egress_starts} |");
        }
        text
    }

    /// `e2e: kills=N lost=N doubled=N gap_p50_ms=N gap_max_ms=N recovered_p50_s=N recovered_max_s=N orphans=N`
    pub(crate) fn line(&self, transcript: &Transcript) -> String {
        let gaps: Vec<u64> = self.rows.iter().map(|row| row.gap_ms).collect();
        let recovered: Vec<u64> = self.rows.iter().map(|row| row.recovered.as_millis() as u64).collect();
        let seconds = |ms: u64| ms as f64 / 1000.0;
        format!(
            "e2e: kills={} lost={} doubled={} gap_p50_ms={} gap_max_ms={} recovered_p50_s={:.1} recovered_max_s={:.1} orphans={}",
            self.rows.len(),
            transcript.lost().len(),
            transcript.doubled().len(),
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
