//! The report as the operator sees it: the pipeline's, and beside it what only the shell knows.

use crate::publish::Trouble;
use roomscribe_pipeline::{Report, State};

/// What the shell knows and the pipeline does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shell {
    /// SIGTERM has come; the publisher may still be there.
    pub draining: bool,
    /// The transcript or the spool cannot be written.
    pub storage: Option<Trouble>,
}

/// What follows `before`. The version rises when something changed that a long poll waits for (contract §6); it is
/// counted here, because a rebuilt pipeline counts from 0.
pub fn show(report: &Report, shell: Shell, before: &Report) -> Report {
    let mut shown = report.clone();
    if shell.draining && shown.state != State::Done {
        shown.state = State::Draining;
    }
    if let Some(trouble) = shell.storage {
        shown.reason = trouble.reason();
        shown.last_error = Some(trouble.message().to_owned());
    }
    shown.version = before.version + u64::from(differs(before, &shown));
    shown
}

fn differs(before: &Report, after: &Report) -> bool {
    let publisher = |report: &Report| {
        report.publisher.as_ref().map(|publisher| (publisher.attempt, publisher.since.clone()))
    };
    before.state != after.state
        || before.reason != after.reason
        || before.speech != after.speech
        || before.last_error != after.last_error
        || publisher(before) != publisher(after)
        || (before.media_ms == 0) != (after.media_ms == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_shows_before_the_pipeline_knows_of_it() {
        let before = Report { version: 7, ..Report::default() };
        let shell = Shell { draining: true, ..Shell::default() };
        let shown = show(&Report::default(), shell, &before);
        assert_eq!((shown.state, shown.version), (State::Draining, 8));
        assert_eq!(show(&Report::default(), shell, &shown).version, 8);
        let done = Report { state: State::Done, ..Report::default() };
        assert_eq!(show(&done, shell, &shown).state, State::Done);
    }

    #[test]
    fn a_full_disk_has_a_reason_and_names_who_must_act() {
        let shell = Shell { storage: Some(Trouble::Full), ..Shell::default() };
        let shown = show(&Report::default(), shell, &Report::default());
        assert_eq!((shown.reason, shown.version), ("StorageFull", 1));
        assert!(shown.last_error.as_deref().is_some_and(|error| error.contains("DATA_DIR")));
        let mended = show(&Report::default(), Shell::default(), &shown);
        assert_eq!((mended.reason, mended.version, mended.last_error), ("", 2, None));
    }

    #[test]
    fn the_first_audio_wakes_a_poll_and_audio_that_merely_goes_on_does_not() {
        let before = Report { version: 7, ..Report::default() };
        let first = show(&Report { media_ms: 100, ..Report::default() }, Shell::default(), &before);
        assert_eq!((first.version, first.media_ms), (8, 100));
        let later = show(&Report { media_ms: 200, ..Report::default() }, Shell::default(), &first);
        assert_eq!((later.version, later.media_ms), (8, 200));
    }
}
