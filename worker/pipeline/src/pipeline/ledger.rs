//! What is owed: voice that was heard and has neither a final nor a gap yet, and which appends will pay it.

use crate::ranges::Ranges;
use std::collections::VecDeque;

/// Finals whose audio must not come a second time; older audio than theirs cannot come at all.
const REMEMBERED_FINALS: usize = 4096;
/// What one record of the log may carry of it.
const NOTED: usize = 64;
/// Appends under way or waiting; the speech service makes far fewer in the 120 s that are kept.
pub(super) const MAX_APPENDS: usize = 1024;

/// What an append changes, once it is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effect {
    /// Everything before this sample has its final, is silent, or is owed.
    pub(super) covers: Option<u64>,
    /// A final stands here.
    pub(super) answers: Option<(u64, u64)>,
    /// A gap stands here.
    pub(super) gives_up: Option<(u64, u64)>,
}

impl Effect {
    fn apply(&self, owed: &mut Ranges) {
        if let Some((start, end)) = self.answers {
            owed.answer(start, end);
        }
        if let Some((start, end)) = self.gives_up {
            owed.remove(start, end);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Media sample before which all audio has its final, is silent, or is in `owed`.
    covered: u64,
    owed: Ranges,
    /// Where finals stand, stored or under way; and before which sample nothing is known of them any more.
    finals: Ranges,
    forgotten: u64,
    appends: VecDeque<(u64, Effect)>,
    /// (ordinal, own stretch, newest append): over when that append is stored.
    ended: Vec<(u32, (u64, u64), u64)>,
}

impl Ledger {
    pub(super) fn restored(covered: u64, owed: Ranges, finals: Ranges) -> Self {
        Self { covered, owed, finals, ..Self::default() }
    }

    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    pub(super) fn owed(&self) -> &Ranges {
        &self.owed
    }

    pub(super) fn voice(&mut self, start: u64, end: u64) {
        self.owed.add_voice(start, end);
    }

    /// Has this sample its final already?
    pub(super) fn has_final(&self, at: u64) -> bool {
        at < self.forgotten || self.finals.holding(at).is_some()
    }

    pub(super) fn remember_final(&mut self, start: u64, end: u64) {
        self.finals.insert(start, end, 0);
        while self.finals.len() > REMEMBERED_FINALS {
            self.forgotten = self.finals.pop_first().map_or(self.forgotten, |(_, end)| end);
        }
    }

    /// False when too many wait.
    pub(super) fn append(&mut self, ticket: u64, effect: Effect) -> bool {
        self.appends.push_back((ticket, effect));
        self.appends.len() <= MAX_APPENDS
    }

    /// An append is stored; `None`: it is not one of ours.
    pub(super) fn stored(&mut self, ticket: u64) -> Option<Effect> {
        let index = self.appends.iter().position(|(waiting, _)| *waiting == ticket)?;
        let (_, effect) = self.appends.remove(index)?;
        effect.apply(&mut self.owed);
        Some(effect)
    }

    pub(super) fn is_appending(&self) -> bool {
        !self.appends.is_empty()
    }

    pub(super) fn final_under_way(&self) -> bool {
        self.appends.iter().any(|(_, effect)| effect.covers.is_some())
    }

    /// As it will be when every append is stored: what a record's note says, because it is stored after them.
    pub(super) fn owed_after_appends(&self) -> Ranges {
        let mut owed = self.owed.clone();
        self.appends.iter().for_each(|(_, effect)| effect.apply(&mut owed));
        owed
    }

    pub(super) fn covered_after_appends(&self) -> u64 {
        self.appends.iter().filter_map(|(_, effect)| effect.covers).fold(self.covered, u64::max)
    }

    pub(super) fn owed_note(&self) -> Vec<(u64, u64)> {
        let mut owed = self.owed_after_appends();
        owed.bound(NOTED);
        owed.list().to_vec()
    }

    /// Where the last final of this stretch ends; its beginning when there is none.
    pub(super) fn last_final_within(&self, own: (u64, u64)) -> u64 {
        self.finals.last_end_within(own.0, own.1).unwrap_or(own.0)
    }

    /// True when it moved.
    pub(super) fn cover(&mut self, upto: u64) -> bool {
        let moved = upto > self.covered;
        self.covered = self.covered.max(upto);
        moved
    }

    /// Up to where audio need not be kept, given that the service has all up to `acked`: silence at once, voice only
    /// after a time in which its final must have come. Never in the middle of voice: a new session would hear half a word.
    pub(super) fn settled_upto(&self, acked: u64, quiet: bool) -> u64 {
        /// Silence is settled so long after it was acknowledged …
        const QUIET: u64 = 3 * 16_000;
        /// … and voice so long: acknowledged is not transcribed, and a recogniser on a busy machine is behind by more than
        /// the 15 s of the longest utterance.
        const VOICE: u64 = 90 * 16_000;
        /// What is kept before voice.
        const PREROLL: u64 = 4_800;
        /// Noise without a pause does not stop it for ever: with `VOICE` less than the 120 s that are kept.
        const LONGEST_VOICE: u64 = 25 * 16_000;
        let silent = match (quiet, self.owed.first_after(self.covered)) {
            (false, _) => self.covered,
            (true, Some((start, _))) => acked.saturating_sub(QUIET).min(start.saturating_sub(PREROLL)),
            (true, None) => acked.saturating_sub(QUIET),
        };
        let late = acked.saturating_sub(VOICE);
        let late = match self.owed.holding(late) {
            Some((start, _)) if late - start < LONGEST_VOICE => start.saturating_sub(PREROLL),
            _ => late,
        };
        silent.max(late)
    }

    /// A session is over when what it told, up to this append, is stored.
    pub(super) fn end_session(&mut self, ordinal: u32, own: (u64, u64), ticket: u64) {
        self.ended.push((ordinal, own, ticket));
    }

    /// The next session that is over; what it owed is paid, because it heard it all and had no words for the rest.
    pub(super) fn next_over(&mut self) -> Option<(u32, (u64, u64))> {
        let oldest = self.appends.front().map_or(u64::MAX, |(ticket, _)| *ticket);
        let index = self.ended.iter().position(|(.., ticket)| *ticket < oldest)?;
        let (ordinal, own, _) = self.ended.remove(index);
        self.owed.remove(own.0, own.1);
        Some((ordinal, own))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.ended.is_empty()
    }
}
