//! Messages to the client, as in Gladia's OpenAPI and AsyncAPI documents.

use serde_json::{Map, Value, json};

use crate::faults::Faults;
use crate::track::Utterance;
use crate::words::millis;

/// Makes the messages of one session.
pub(crate) struct Wire {
    session: String,
    unknown_fields: bool,
    omit_confidence: bool,
    omit_words: bool,
}

impl Wire {
    pub(crate) fn new(session: String, faults: &Faults) -> Self {
        let Faults { unknown_fields, omit_confidence, omit_words, .. } = *faults;
        Self { session, unknown_fields, omit_confidence, omit_words }
    }

    /// Envelope and fields.
    pub(crate) fn message(&self, at: &str, kind: &str, fields: Value) -> String {
        let mut message = Map::new();
        message.insert("session_id".into(), json!(self.session));
        message.insert("created_at".into(), json!(at));
        message.insert("type".into(), json!(kind));
        if let Value::Object(fields) = fields {
            message.extend(fields);
        }
        if self.unknown_fields {
            message.insert("future_field".into(), json!({"nested": [1, null]}));
        }
        Value::Object(message).to_string()
    }

    /// `data.id` of an utterance: opaque to clients; channel and number, as in Gladia's samples.
    pub(crate) fn utterance_id(channel: u16, number: u64) -> String {
        format!("{channel:02}_{number:08}")
    }

    /// An utterance with its faults.
    pub(crate) fn utterance(&self, utterance: &Utterance) -> Value {
        let mut value = json!(utterance);
        if let Some(fields) = value.as_object_mut() {
            if self.omit_confidence {
                fields.remove("confidence");
                for word in fields.get_mut("words").and_then(Value::as_array_mut).into_iter().flatten() {
                    word.as_object_mut().map(|w| w.remove("confidence"));
                }
            }
            if self.omit_words {
                fields.remove("words");
            }
        }
        value
    }

    /// An accepted chunk's `data`.
    pub(crate) fn ack((from, to): (u64, u64), seconds: (f64, f64)) -> Value {
        json!({"acknowledged": true, "error": null,
            "data": {"byte_range": [from, to], "time_range": [millis(seconds.0), millis(seconds.1)]}})
    }

    /// A refused chunk's or stop's fields.
    pub(crate) fn refusal(message: &str) -> Value {
        json!({"acknowledged": false, "error": {"message": message}, "data": null})
    }
}
