//! Body of `POST /v2/live`. Every option gets an explicit value: the service's defaults have changed before
//! (endpointing 0.3 → 0.05, partials on → off). Live diarization does not exist and is never asked for.

use crate::settings::{Settings, VocabularyEntry};
use serde_json::{Value, json};

/// The service cuts an utterance after this; meeting preset of Gladia's recommended parameters.
const MAX_UTTERANCE_SECONDS: u32 = 15;

/// The body.
pub fn body(settings: &Settings) -> Value {
    let speech = &settings.speech;
    let translate = !speech.translate_to.is_empty();
    let mut realtime = json!({
        "custom_vocabulary": !speech.vocabulary.is_empty(),
        "custom_spelling": false,
        "translation": translate,
        "named_entity_recognition": false,
        "sentiment_analysis": false,
    });
    if !speech.vocabulary.is_empty() {
        let words: Vec<Value> = speech.vocabulary.iter().map(word).collect();
        realtime["custom_vocabulary_config"] = json!({"vocabulary": words, "default_intensity": 0.4});
    }
    if translate {
        realtime["translation_config"] = json!({
            "target_languages": speech.translate_to, "model": "base", "match_original_utterances": true,
        });
    }
    json!({
        "encoding": "wav/pcm", "bit_depth": 16, "sample_rate": 16000, "channels": 1,
        "model": "solaria-1",
        "endpointing": f64::from(speech.endpointing_milliseconds) / 1000.0,
        "maximum_duration_without_endpointing": MAX_UTTERANCE_SECONDS,
        "language_config": {"languages": speech.languages, "code_switching": speech.code_switching},
        "pre_processing": {"audio_enhancer": false, "speech_threshold": 0.6},
        "realtime_processing": realtime,
        "post_processing": {"summarization": false, "chapterization": false},
        "messages_config": {
            "receive_partial_transcripts": speech.partials,
            "receive_final_transcripts": true,
            "receive_speech_events": true,
            "receive_pre_processing_events": false,
            "receive_realtime_processing_events": translate,
            "receive_post_processing_events": true,
            "receive_acknowledgments": true,
            "receive_errors": true,
            "receive_lifecycle_events": true,
        },
        "callback": false,
        "custom_metadata": {"session": settings.session.as_str(), "gen": settings.generation.0},
    })
}

fn word(entry: &VocabularyEntry) -> Value {
    if entry.pronunciations.is_empty() {
        return json!({"value": entry.value});
    }
    json!({"value": entry.value, "pronunciations": entry.pronunciations})
}
