//! What a well-formed `POST /v1/sessions` may ask. Pure; names every wrong field at once.

use crate::problem::FieldError;
use crate::sessions::CreateSession;

/// Characters of `name` at most (contract §1).
const NAME_MAX: usize = 40;
/// Bytes of `roomName` at most.
const ROOM_MAX: usize = 256;
/// Entries of a list at most.
const LIST_MAX: usize = 1000;
/// Seconds at most, for every deadline: a week.
const SECONDS_MAX: u32 = 604_800;

/// Every field that is wrong.
pub(crate) fn wrong_fields(request: &CreateSession) -> Vec<FieldError> {
    let mut wrong = Wrong(Vec::new());
    if let Some(name) = &request.name {
        wrong.unless(is_label(name), "/name", || {
            format!("name must be a DNS label: a-z, 0-9 and inner hyphens, beginning with a letter or digit, at most {NAME_MAX} characters")
        });
    }
    let room = &request.room_name;
    let room_ok = !room.trim().is_empty() && room.len() <= ROOM_MAX && !room.chars().any(char::is_control);
    wrong.unless(room_ok, "/roomName", || {
        format!("roomName must hold 1 to {ROOM_MAX} bytes, not only spaces, without control characters")
    });
    speech(&request.speech, &mut wrong);
    let limits = &request.limits;
    let seconds = [
        ("/limits/startDeadlineSeconds", limits.start_deadline_seconds),
        ("/limits/maxDurationSeconds", limits.max_duration_seconds),
        ("/limits/roomEmptyTimeoutSeconds", limits.room_empty_timeout_seconds),
        ("/capture/fallbackAfterSeconds", request.capture.fallback_after_seconds.unwrap_or(1)),
    ];
    for (pointer, value) in seconds {
        wrong.unless((1..=SECONDS_MAX).contains(&value), pointer, || {
            format!("{} must be 1 to {SECONDS_MAX} seconds", pointer.rsplit('/').next().unwrap_or_default())
        });
    }
    wrong.0
}

fn speech(speech: &crate::sessions::SpeechSpec, wrong: &mut Wrong) {
    for (list, entries) in [("languages", &speech.languages), ("translateTo", &speech.translate_to)] {
        wrong.unless(entries.len() <= LIST_MAX, &format!("/speech/{list}"), || {
            format!("{list} has over {LIST_MAX} entries")
        });
        for (at, language) in entries.iter().enumerate().take(LIST_MAX) {
            let ok = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
            wrong.unless(ok, &format!("/speech/{list}/{at}"), || {
                "a language is an ISO 639 code in lower case, such as \"en\"".into()
            });
        }
    }
    wrong.unless(speech.vocabulary.len() <= LIST_MAX, "/speech/vocabulary", || {
        format!("vocabulary has over {LIST_MAX} entries")
    });
    for (at, entry) in speech.vocabulary.iter().enumerate().take(LIST_MAX) {
        wrong.unless(!entry.value.trim().is_empty(), &format!("/speech/vocabulary/{at}/value"), || {
            "value must not be empty".into()
        });
    }
    wrong.unless(
        (10..=10_000).contains(&speech.endpointing_milliseconds),
        "/speech/endpointingMilliseconds",
        || "endpointingMilliseconds must be 10 to 10000".into(),
    );
}

struct Wrong(Vec<FieldError>);

impl Wrong {
    fn unless(&mut self, ok: bool, pointer: &str, detail: impl FnOnce() -> String) {
        if !ok {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail() });
        }
    }
}

fn is_label(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pointers(body: Value) -> Vec<String> {
        let request: CreateSession = serde_json::from_value(body).unwrap();
        wrong_fields(&request).into_iter().map(|wrong| wrong.pointer).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let table = [
            (json!({"roomName": "Team standup № 1"}), vec![]),
            (json!({"roomName": "  "}), vec!["/roomName"]),
            (json!({"roomName": "a\u{7}"}), vec!["/roomName"]),
            (json!({"roomName": "a".repeat(257)}), vec!["/roomName"]),
            (json!({"roomName": "a", "name": "a-1"}), vec![]),
            (json!({"roomName": "a", "name": "A"}), vec!["/name"]),
            (json!({"roomName": "a", "name": "-a"}), vec!["/name"]),
            (json!({"roomName": "a", "name": ""}), vec!["/name"]),
            (json!({"roomName": "a", "name": "a".repeat(41)}), vec!["/name"]),
            (json!({"roomName": "", "name": "a_b"}), vec!["/name", "/roomName"]),
            (
                json!({"roomName": "a", "speech": {"languages": ["en", "English"]}}),
                vec!["/speech/languages/1"],
            ),
            (
                json!({"roomName": "a", "speech": {"endpointingMilliseconds": 9}}),
                vec!["/speech/endpointingMilliseconds"],
            ),
            (
                json!({"roomName": "a", "speech": {"vocabulary": [{"value": ""}]}}),
                vec!["/speech/vocabulary/0/value"],
            ),
            (
                json!({"roomName": "a", "limits": {"maxDurationSeconds": 0}}),
                vec!["/limits/maxDurationSeconds"],
            ),
            (
                json!({"roomName": "a", "capture": {"fallbackAfterSeconds": 700_000}}),
                vec!["/capture/fallbackAfterSeconds"],
            ),
        ];
        for (body, expected) in table {
            assert_eq!(pointers(body.clone()), expected, "{body}");
        }
    }
}
