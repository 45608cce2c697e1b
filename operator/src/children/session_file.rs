//! The session file (contract §6): what a worker is told. `worker/src/config.rs` and `worker/pipeline/src/settings.rs` read it.

use super::installation::Installation;
use super::names;
use crate::stream_key::SessionSecret;
use roomscribe_crds::{
    CaptureMode, Speech, TranscriptionSession, TranscriptionSessionStatus, VocabularyEntry,
};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionFile<'a> {
    v: u32,
    secret: String,
    session: &'a str,
    #[serde(rename = "gen")]
    generation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lowest_attempt: Option<u32>,
    room_name: &'a str,
    speech: SpeechOptions<'a>,
    max_duration: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpeechOptions<'a> {
    languages: &'a [String],
    code_switching: bool,
    vocabulary: &'a [VocabularyEntry],
    translate_to: &'a [String],
    endpointing_milliseconds: i32,
    partials: bool,
}

impl<'a> SpeechOptions<'a> {
    fn of(speech: &'a Speech) -> Self {
        Self {
            languages: &speech.languages,
            code_switching: speech.code_switching,
            vocabulary: &speech.vocabulary,
            translate_to: &speech.translate_to,
            endpointing_milliseconds: speech.endpointing_milliseconds,
            partials: speech.partials,
        }
    }
}

/// With Push the stream key in a person's encoder outlives pods: a worker made for a later attempt still takes it, until
/// `keyGeneration` is raised. A room's egress always comes with the newest key.
fn lowest_attempt(session: &TranscriptionSession) -> Option<u32> {
    let key = session.status.as_ref().map_or(0, TranscriptionSessionStatus::newest_attempt).max(1);
    (session.spec.capture.mode == CaptureMode::Push).then_some(key)
}

/// The session file of the worker that was made for `attempt`: a secret.
pub fn session_file(session: &TranscriptionSession, installation: &Installation, attempt: u32) -> String {
    let id = names::id(session);
    let file = SessionFile {
        v: 1,
        secret: SessionSecret::derive(&installation.key, id).to_base64url(),
        session: id,
        generation: attempt,
        lowest_attempt: lowest_attempt(session),
        room_name: &session.spec.room_name,
        speech: SpeechOptions::of(&session.spec.speech),
        max_duration: session.spec.limits.max_duration_seconds,
    };
    // Plain data with string keys: it cannot fail.
    serde_json::to_string(&file).unwrap_or_default()
}
