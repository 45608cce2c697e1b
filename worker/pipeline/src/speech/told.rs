//! What the speech client tells the pipeline.

use crate::words::Reading;

pub(crate) enum Told {
    Heard(Box<Heard>),
    Translation {
        ordinal: u32,
        utterance_id: String,
        language: String,
        text: String,
    },
    /// Acknowledged up to this media sample; `quiet`: no utterance is open.
    Acked {
        media: u64,
        quiet: bool,
    },
    /// A speech session is over, and this is all that will ever be known of it.
    Over(Over),
    /// The service answered again after a failure, or for the first time.
    Live,
    /// It failed; the pipeline decides whether people are told.
    Failed {
        reason: &'static str,
        detail: String,
    },
    /// It complained in words; audio goes on.
    Complained(String),
}

/// A reading of an utterance.
pub(crate) struct Heard {
    /// Ordinal of the speech session.
    pub ordinal: u32,
    /// Utterance id.
    pub id: String,
    /// Final?
    pub is_final: bool,
    /// What and when.
    pub reading: Reading,
    /// The stretch of media time that this session speaks for.
    pub own: (u64, u64),
    /// Audio still goes to this session.
    pub is_current: bool,
}

/// The end of a speech session.
pub(crate) struct Over {
    pub ordinal: u32,
    /// The stretch of media time that it spoke for.
    pub own: (u64, u64),
    /// All its utterances, as far as it told.
    pub readings: Vec<Reading>,
    /// Before this media sample the service heard everything: voice without words was not speech. `None`: it did not say.
    pub heard_to: Option<u64>,
    /// A connection of it broke and was made again: finals may have been lost with the first.
    pub resumed: bool,
}
