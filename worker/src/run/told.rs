//! Which stretches of media time the log has finals and gaps for: what a pipeline that goes on must not say again.

use super::Session;
use roomscribe_pipeline::MediaRange;
use roomscribe_transcript::{Event, Offset};
use std::collections::VecDeque;

/// Records read of the log's tail, and ranges remembered: more than three hours of speech, the longest speech session.
const TAIL: u64 = 8192;
const BATCH: usize = 256;

/// Newest last.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) finals: VecDeque<MediaRange>,
    pub(super) gaps: VecDeque<MediaRange>,
    /// The newest event is a `handover`: the worker that wrote it has said all that it heard.
    pub(super) handed_over: bool,
}

impl Told {
    /// The log's tail. One that cannot be read costs only the knowledge of what was said: the session goes on.
    pub(super) async fn read(session: &Session) -> Self {
        let (mut told, head) = (Self::default(), session.head.head);
        let mut after = Offset(head.0.saturating_sub(TAIL));
        while after < head {
            match session.writer.read(after, BATCH).await {
                Ok(records) => {
                    let Some(last) = records.last() else { break };
                    after = last.offset;
                    records.iter().for_each(|record| told.stored(&record.event));
                }
                Err(error) => {
                    tracing::error!(session = %session.settings.session, %error, "cannot read the transcript's tail; finals may be repeated");
                    break;
                }
            }
        }
        told
    }

    /// An event is in the log, or will be.
    pub(super) fn stored(&mut self, event: &Event) {
        self.handed_over = matches!(event, Event::Handover {});
        let (ranges, range) = match event {
            Event::Final(event) => (&mut self.finals, (event.start_ms, event.end_ms)),
            Event::Gap(gap) => (&mut self.gaps, (gap.start_ms, gap.end_ms)),
            _ => return,
        };
        ranges.push_back(range);
        if ranges.len() as u64 > TAIL {
            ranges.pop_front();
        }
    }
}
