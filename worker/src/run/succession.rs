//! A planned move (design §5): the worker before this one hears the room until this one's publisher has come; then it says
//! its last words and `handover`, and is gone. Until then nothing is appended here, which would fence its words, and the
//! audio waits with its times.

use super::{Loop, build_after_handover};
use crate::clock;
use crate::publish::Writer;
use crate::registry::Ingest;
use roomscribe_pipeline::{Exit, Input};
use roomscribe_transcript::{Event, Offset};
use std::time::Duration;
use tokio::task::JoinSet;

/// For the last words of the worker before (design §5); its words are asked of the speech service afterwards.
const PATIENCE: Duration = Duration::from_secs(10);
/// What was said in its last moment is in the log so long after its end, whatever the clocks of two nodes say.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two looks at the log.
const LOOK: Duration = Duration::from_millis(100);
const BATCH: usize = 256;

/// The worker before this one.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// It is killed by then, wall milliseconds.
    pub ends_at_ms: Option<u64>,
}

impl Before {
    /// From now on.
    fn patience(self, wall_ms: u64) -> Duration {
        let left = self.ends_at_ms.map(|end| Duration::from_millis(end.saturating_sub(wall_ms)));
        left.map_or(PATIENCE, |left| (left + LAST_WORDS).min(PATIENCE))
    }
}

/// What waits.
pub(super) struct Succession {
    before: Before,
    /// When the first publisher came, monotonic and in wall milliseconds.
    begun: Option<(Duration, u64)>,
    /// What it sent since: some kilobytes a second, for ten seconds.
    waiting: Vec<(Duration, Ingest)>,
    looking: JoinSet<()>,
    /// An order that cannot wait.
    ordered: bool,
    due: bool,
}

impl Succession {
    pub(super) fn to(before: Before) -> Self {
        let (waiting, looking) = (Vec::new(), JoinSet::new());
        Self { before, begun: None, waiting, looking, ordered: false, due: false }
    }

    /// The worker before has said its last word, or will not.
    pub(super) async fn ended(&mut self) {
        if self.due {
            return;
        }
        match self.looking.join_next().await {
            Some(_) => self.due = true,
            None => std::future::pending().await,
        }
    }
}

impl Loop {
    pub(super) fn wait(&mut self, ingest: Ingest) {
        let (now, after) = (clock::now(), self.head);
        let Some(succession) = &mut self.succession else { return };
        if let (Ingest::Started { attempt, .. }, None) = (&ingest, succession.begun) {
            let wall_ms = clock::wall_ms();
            succession.begun = Some((now, wall_ms));
            let (writer, patience) = (self.session.writer.clone(), succession.before.patience(wall_ms));
            succession.looking.spawn(async move {
                let _ = tokio::time::timeout(patience, handed_over(&writer, after)).await;
            });
            // For the owner, who lets the worker before go when this one has a publisher: nothing else comes of it.
            self.pipeline.handle(Input::PublishStarted { attempt: *attempt }, now);
        }
        succession.waiting.push((now, ingest));
    }

    /// True when the order was looked after: without a publisher there is nothing to go on with, or to end.
    pub(super) fn order_in_succession(&mut self, is_end: bool) -> bool {
        let Some(succession) = &mut self.succession else { return false };
        match is_end || succession.begun.is_some() {
            true => (succession.ordered, succession.due) = (true, true),
            false => self.exit = Some(Exit::Suspended),
        }
        true
    }

    /// Goes on where the worker before has ended, from the log as it is now.
    pub(super) async fn succeed(&mut self) {
        let Some(succession) = self.succession.take_if(|succession| succession.due) else { return };
        match self.session.writer.head().await {
            Ok(head) => self.session.head = head,
            Err(error) => {
                tracing::error!(session = %self.id, %error, "cannot read what the worker before has said; words may be repeated");
            }
        }
        self.head = self.session.head.head;
        self.told = super::told::Told::read(&self.session).await;
        let (now, wall_ms) = succession.begun.unwrap_or_else(|| (clock::now(), clock::wall_ms()));
        tracing::info!(session = %self.id, handed_over = self.told.handed_over, "goes on after the worker before");
        self.pipeline = build_after_handover(&self.session, &self.told, now, wall_ms);
        for (at, ingest) in succession.waiting {
            self.hear(ingest, at);
        }
        if succession.ordered {
            self.order();
        }
    }
}

/// Until the log says `handover`, or `end`.
async fn handed_over(writer: &Writer, mut after: Offset) {
    loop {
        let records = writer.read(after, BATCH).await.unwrap_or_default();
        if records.iter().any(|record| matches!(record.event, Event::Handover {} | Event::End(_))) {
            return;
        }
        after = records.last().map_or(after, |record| record.offset);
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_killed_soon_is_waited_for_until_then_and_others_for_ten_seconds() {
        let patience = |ends_at_ms| Before { ends_at_ms }.patience(100_000);
        assert_eq!(patience(None), PATIENCE);
        assert_eq!(patience(Some(160_000)), PATIENCE);
        assert_eq!(patience(Some(102_000)), Duration::from_secs(3));
        assert_eq!(patience(Some(90_000)), LAST_WORDS);
    }
}
