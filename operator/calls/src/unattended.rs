//! Egresses that nobody looks after any more: the machine of LiveKit's egress service has died, its list says ACTIVE for ever, and
//! every stop ends in 408 (observed on livekit-server 1.13.5). Pure.

use roomscribe_plan::EgressState;
use std::collections::{BTreeMap, VecDeque};

/// One 408 may be a hiccup of LiveKit's bus; this many in a row are believed.
const BELIEVED: u32 = 2;
/// Unattended egresses that are remembered; LiveKit itself forgets them after a day.
const MAX_REMEMBERED: usize = 1000;

/// What a stop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ends, has ended, or never was.
    Stopped,
    /// Nobody answered for it: worth one more try.
    Unanswered,
    /// Nobody answered for it twice in a row: its machine is gone, and it counts as ended whatever LiveKit's list says.
    Gone,
}

/// By egress id: how many stops in a row nobody answered.
#[derive(Debug, Default)]
pub(crate) struct Unattended {
    unanswered: BTreeMap<String, u32>,
    order: VecDeque<String>,
}

impl Unattended {
    /// One more.
    pub(crate) fn count(&mut self, id: &str) -> Stopped {
        if !self.unanswered.contains_key(id) {
            self.order.push_back(id.to_owned());
            if self.order.len() > MAX_REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.unanswered.remove(&oldest);
            }
        }
        let count = self.unanswered.entry(id.to_owned()).or_default();
        *count += 1;
        if *count >= BELIEVED { Stopped::Gone } else { Stopped::Unanswered }
    }

    /// Somebody answered after all.
    pub(crate) fn forget(&mut self, id: &str) {
        if self.unanswered.remove(id).is_some() {
            self.order.retain(|known| known != id);
        }
    }

    /// What LiveKit's word for this egress is worth.
    pub(crate) fn state(&self, id: &str, listed: EgressState) -> EgressState {
        let gone = self.unanswered.get(id).is_some_and(|count| *count >= BELIEVED);
        if gone && listed.is_live() { EgressState::Failed } else { listed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_silence_is_tried_again_and_two_are_believed_until_somebody_answers() {
        let mut unattended = Unattended::default();
        assert_eq!(unattended.count("EG_a"), Stopped::Unanswered);
        assert_eq!(unattended.state("EG_a", EgressState::Active), EgressState::Active);
        assert_eq!(unattended.count("EG_a"), Stopped::Gone);
        assert_eq!(unattended.state("EG_a", EgressState::Active), EgressState::Failed);
        assert_eq!(unattended.state("EG_a", EgressState::Complete), EgressState::Complete);
        assert_eq!(unattended.state("EG_b", EgressState::Active), EgressState::Active);
        unattended.forget("EG_a");
        assert_eq!(unattended.count("EG_a"), Stopped::Unanswered);
    }

    #[test]
    fn no_more_are_remembered_than_the_limit_and_the_oldest_go_first() {
        let mut unattended = Unattended::default();
        for number in 0..=MAX_REMEMBERED {
            for _ in 0..BELIEVED {
                unattended.count(&number.to_string());
            }
        }
        assert_eq!((unattended.unanswered.len(), unattended.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert_eq!(unattended.state("0", EgressState::Active), EgressState::Active);
        assert_eq!(unattended.state(&MAX_REMEMBERED.to_string(), EgressState::Active), EgressState::Failed);
    }
}
