//! What a session comes to: the post-processing messages and the result of `GET /v2/live/{id}`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::track::Utterance;
use crate::wire::Wire;
use crate::words::{millis, spread};

/// Messages kept for `result.messages`; three hours of talk make about a tenth. Later ones are left out.
const MESSAGES_KEPT: usize = 100_000;

/// Finals, translations and messages of one session.
#[derive(Default)]
pub(crate) struct Outcome {
    finals: Vec<Utterance>,
    translations: BTreeMap<String, Vec<Utterance>>,
    messages: Vec<String>,
    pub(crate) recognising: Duration,
}

impl Outcome {
    pub(crate) fn add_final(&mut self, utterance: &Utterance) {
        self.finals.push(utterance.clone());
    }

    /// Remembers a translation and gives it as an utterance.
    pub(crate) fn add_translation(&mut self, original: &Utterance, language: &str, text: &str) -> Utterance {
        let words = spread(text, &[(original.start, original.end)], original.confidence);
        let translated =
            Utterance { text: text.into(), language: language.into(), words, ..original.clone() };
        self.translations.entry(language.into()).or_default().push(translated.clone());
        translated
    }

    pub(crate) fn add_message(&mut self, text: &str) {
        if self.messages.len() < MESSAGES_KEPT {
            self.messages.push(text.to_owned());
        }
    }

    /// `transcription` of `post_transcript` and of the result.
    pub(crate) fn transcription(&self, wire: &Wire) -> Value {
        transcription(&self.finals, wire)
    }

    /// `data` of `post_final_transcript`; `missing` are add-ons that were asked for and are not here.
    pub(crate) fn result(&self, wire: &Wire, duration: f64, channels: u16, missing: &[&str]) -> Value {
        let mut result = json!({
            "metadata": {"audio_duration": millis(duration), "number_of_distinct_channels": channels,
                "billing_time": millis(duration * f64::from(channels)),
                "transcription_time": millis(self.recognising.as_secs_f64())},
            "transcription": self.transcription(wire),
        });
        if !self.translations.is_empty() {
            let of = |(language, utterances): (&String, &Vec<Utterance>)| {
                let mut value = transcription(utterances, wire);
                value["languages"] = json!([language]);
                value["error"] = Value::Null;
                value
            };
            let results: Vec<_> = self.translations.iter().map(of).collect();
            result["translation"] = json!({"success": true, "is_empty": false, "exec_time": 0, "error": null, "results": results});
        }
        for addon in missing {
            let name = if *addon == "post_summarization" { "summarization" } else { addon };
            result[name] = json!({"success": false, "is_empty": true, "exec_time": 0, "results": null,
                "error": {"status_code": 501, "exception": "NotImplemented", "message": not_here(addon)}});
        }
        result
    }

    /// The live messages, for `result.messages`.
    pub(crate) fn messages(&self) -> &[String] {
        &self.messages
    }
}

/// The text for an add-on that this server does not have.
pub(crate) fn not_here(addon: &str) -> String {
    format!("{addon} is not available in Roomscribe's built-in speech service")
}

fn transcription(utterances: &[Utterance], wire: &Wire) -> Value {
    let texts: Vec<_> = utterances.iter().map(|u| u.text.trim()).collect();
    let languages: BTreeSet<_> = utterances.iter().map(|u| u.language.as_str()).collect();
    let utterances: Vec<_> = utterances.iter().map(|u| wire.utterance(u)).collect();
    json!({"full_transcript": texts.join(" "), "languages": languages, "utterances": utterances})
}
