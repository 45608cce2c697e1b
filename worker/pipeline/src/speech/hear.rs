//! What the service says, on the current connection and on those that are being heard out.

use super::{Heard, Phase, Speech, Told};
use crate::gladia::message::{self, Message};
use crate::words::Reading;
use std::time::Duration;

impl Speech {
    pub(crate) fn text(&mut self, connection: u32, text: &str, now: Duration) {
        let ending = self.ending_on(connection);
        self.answered_at = now;
        if let Some(index) = ending {
            self.ending_told(index, now);
        }
        let is_live = matches!(self.phase, Phase::Live { connection: live, .. } if live == connection);
        let (session, to) = match (ending, &mut self.current) {
            (Some(index), _) => {
                let ending = &mut self.ending[index];
                (&mut ending.session, ending.to)
            }
            (None, Some(current)) if is_live => (current, u64::MAX),
            _ => return,
        };
        match message::parse(text) {
            Message::Ack { from, to: acked } => {
                session.stream.ack(from, acked, &mut session.resumed_at);
                let media = session.stream.media_of(session.stream.acked).min(self.next);
                if is_live {
                    self.told.push_back(Told::Acked { media, quiet: !session.open_utterance });
                }
            }
            // A process that was killed early left no map of its stream: where these words stand is unknown, and the next
            // session hears the audio again.
            Message::Transcript { utterance, .. } if !session.stream.knows(utterance.start) => {}
            Message::Transcript { id, is_final, utterance } => {
                session.open_utterance = !is_final;
                self.told.push_back(Told::Heard(Box::new(Heard {
                    ordinal: session.ordinal,
                    id,
                    is_final,
                    reading: Reading::new(&utterance, &session.stream),
                    own: (session.from, to),
                    is_current: is_live,
                })));
            }
            Message::Translation { utterance_id, language, text } => {
                let ordinal = session.ordinal;
                self.told.push_back(Told::Translation { ordinal, utterance_id, language, text });
            }
            Message::SpeechStart => session.open_utterance = true,
            Message::Listing { is_last, listing } => {
                session.listing = Some(listing);
                if let (Some(index), true) = (ending, is_last) {
                    self.ending_finished(index, now);
                }
            }
            Message::Ended => {
                if let Some(index) = ending {
                    self.ending_finished(index, now);
                }
            }
            Message::Error(detail) => self.told.push_back(Told::Complained(detail)),
            Message::SpeechEnd | Message::Other => {}
        }
    }

    /// A final of the current session was accepted: one that should have come before it, and had no chance but on a
    /// broken connection, was lost.
    pub(crate) fn final_accepted(&mut self, start: u64, end: u64) {
        let Some(current) = &mut self.current else { return };
        current.suspects.answer(start, end);
        current.suspicious |= !current.suspects.voice_within(0, start).is_empty();
        if current.suspects.len() == 0 {
            current.suspect_until = None;
        }
    }
}
