//! The last record of a transcript.

use super::drive::{Driver, lock};
use roomscribe_transcript::{Append, End, Event, Generation};

impl Driver {
    /// A finished transcript has an `end`, even if no worker could append one (contract §5).
    pub(super) async fn last_word(&self) {
        let reason = {
            let entries = lock(&self.entries);
            let stored =
                entries.all.get(&self.id).map(|entry| &entry.stored).filter(|stored| !stored.is_running());
            let Some(stored) = stored else { return };
            stored.reason.clone()
        };
        let Ok(head) = self.hands.log().open(&self.id).await else { return };
        if head.ended {
            return;
        }
        let end = Append {
            generation: Generation(u32::MAX),
            expected_head: head.head,
            event: Event::End(End { reason }),
            note: head.note,
        };
        if let Err(error) = self.hands.log().append(&self.id, end).await {
            tracing::error!(session = %self.id, %error, "the transcript has no end; mend DATA_DIR");
        }
    }
}
