//! The body of `POST /v2/live`: Gladia's `StreamingRequest`, its defaults and its ranges.
//!
//! Unknown fields are tolerated, as clients that send older ones exist (`words_accurate_timestamps`).

use serde_json::Value;

use crate::audio::{Encoding, Format};

/// Codes of `language_config.languages` (Gladia's OpenAPI document); `wo` is for translation only.
const LANGUAGES: &str = "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw \
    he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa \
    pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh";
/// Longest `custom_metadata`, characters of JSON (Gladia's documentation).
const METADATA_CHARS: usize = 2000;

/// A valid request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveRequest {
    pub(crate) format: Format,
    /// Seconds.
    pub(crate) endpointing: f64,
    /// Seconds.
    pub(crate) max_utterance: f64,
    pub(crate) languages: Vec<String>,
    pub(crate) translate_to: Vec<String>,
    /// Add-ons asked for that no recogniser of this server has: message type each.
    pub(crate) missing_addons: Vec<&'static str>,
    pub(crate) flags: Flags,
    pub(crate) custom_metadata: Option<Value>,
    /// The body as received, for `request_params`.
    pub(crate) params: Value,
}

/// `messages_config`, with the defaults of the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) partials: bool,
    pub(crate) finals: bool,
    pub(crate) speech: bool,
    pub(crate) realtime: bool,
    pub(crate) post: bool,
    pub(crate) acks: bool,
    pub(crate) errors: bool,
    pub(crate) lifecycle: bool,
}

impl LiveRequest {
    /// Checks a body.
    ///
    /// # Errors
    /// One sentence per bad field, as in Gladia's `validation_errors`.
    pub(crate) fn parse(body: Value) -> Result<Self, Vec<String>> {
        if !body.is_object() {
            return Err(vec!["The body must be a JSON object".into()]);
        }
        let mut check = Check { body: &body, errors: Vec::new() };
        let request = Self {
            format: check.format(),
            endpointing: check.number("endpointing", 0.05, 0.01, 10.0),
            max_utterance: check.number("maximum_duration_without_endpointing", 5.0, 5.0, 60.0),
            languages: check.languages("language_config.languages", ""),
            translate_to: check.translation(),
            missing_addons: check.addons(),
            flags: check.flags(),
            custom_metadata: check.metadata(),
            params: Value::Null,
        };
        check.the_rest();
        let errors = check.errors;
        if errors.is_empty() { Ok(Self { params: body, ..request }) } else { Err(errors) }
    }
}

struct Check<'a> {
    body: &'a Value,
    errors: Vec<String>,
}

impl<'a> Check<'a> {
    /// The value at a dotted path; null and absent are the same.
    fn get(&self, path: &str) -> Option<&'a Value> {
        path.split('.').try_fold(self.body, |v, key| v.get(key)).filter(|v| !v.is_null())
    }

    fn error(&mut self, path: &str, must: &str) {
        self.errors.push(format!("Field \"{path}\" {must}"));
    }

    fn number(&mut self, path: &str, default: f64, least: f64, most: f64) -> f64 {
        let Some(value) = self.get(path) else { return default };
        match value.as_f64() {
            Some(n) if (least..=most).contains(&n) => n,
            Some(_) => self.and(default, path, &format!("must be between {least} and {most}")),
            None => self.and(default, path, "must be a number"),
        }
    }

    fn boolean(&mut self, path: &str, default: bool) -> bool {
        let Some(value) = self.get(path) else { return default };
        value.as_bool().unwrap_or_else(|| self.and(default, path, "must be a boolean"))
    }

    fn and<T>(&mut self, default: T, path: &str, must: &str) -> T {
        self.error(path, must);
        default
    }

    fn one_of(&mut self, path: &str, default: &'a str, allowed: &[&str]) -> &'a str {
        let Some(value) = self.get(path) else { return default };
        match value.as_str() {
            Some(s) if allowed.contains(&s) => s,
            _ => self.and(default, path, &format!("must be one of: {}", allowed.join(", "))),
        }
    }

    fn number_of(&mut self, path: &str, default: u32, allowed: &[u32]) -> u32 {
        let Some(value) = self.get(path) else { return default };
        let known = value.as_f64().and_then(|n| allowed.iter().find(|a| f64::from(**a) == n));
        let list = || allowed.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        known.copied().unwrap_or_else(|| self.and(default, path, &format!("must be one of: {}", list())))
    }

    fn format(&mut self) -> Format {
        let encoding = match self.one_of("encoding", "wav/pcm", &["wav/pcm", "wav/alaw", "wav/ulaw"]) {
            "wav/alaw" => Encoding::Alaw,
            "wav/ulaw" => Encoding::Ulaw,
            _ => Encoding::Pcm,
        };
        let (depth, depths): (u32, &[u32]) =
            if encoding == Encoding::Pcm { (16, &[8, 16, 24, 32]) } else { (8, &[8]) };
        let bit_depth = self.number_of("bit_depth", depth, depths);
        let sample_rate = self.number_of("sample_rate", 16_000, &[8_000, 16_000, 32_000, 44_100, 48_000]);
        let channels = self.number_of("channels", 1, &[1, 2, 3, 4, 5, 6, 7, 8]);
        Format { encoding, bit_depth: bit_depth as u16, sample_rate, channels: channels as u16 }
    }

    fn languages(&mut self, path: &str, extra: &str) -> Vec<String> {
        let Some(value) = self.get(path) else { return Vec::new() };
        let Some(items) = value.as_array() else { return self.and(Vec::new(), path, "must be an array") };
        let mut known = Vec::new();
        for item in items {
            match item.as_str() {
                Some(code) if code == extra || LANGUAGES.split_whitespace().any(|l| l == code) => {
                    known.push(code.to_owned());
                }
                _ => self.error(path, &format!("must hold language codes; {item} is none")),
            }
        }
        known
    }

    fn translation(&mut self) -> Vec<String> {
        let path = "realtime_processing.translation_config.target_languages";
        let targets = self.languages(path, "wo");
        if !self.boolean("realtime_processing.translation", false) {
            return Vec::new();
        }
        if targets.is_empty() {
            self.error(path, "must hold at least one language code");
        }
        targets
    }

    fn addons(&mut self) -> Vec<&'static str> {
        let asked = [
            ("realtime_processing.named_entity_recognition", "named_entity_recognition"),
            ("realtime_processing.sentiment_analysis", "sentiment_analysis"),
            ("post_processing.summarization", "post_summarization"),
        ];
        asked.iter().filter(|(path, _)| self.boolean(path, false)).map(|(_, name)| *name).collect()
    }

    fn flags(&mut self) -> Flags {
        let mut flag =
            |name: &str, default| self.boolean(&format!("messages_config.receive_{name}"), default);
        // No message type belongs to pre-processing events, but the field's type is checked.
        flag("pre_processing_events", true);
        Flags {
            partials: flag("partial_transcripts", false),
            finals: flag("final_transcripts", true),
            speech: flag("speech_events", true),
            realtime: flag("realtime_processing_events", true),
            post: flag("post_processing_events", true),
            acks: flag("acknowledgments", true),
            errors: flag("errors", true),
            lifecycle: flag("lifecycle_events", false),
        }
    }

    fn metadata(&mut self) -> Option<Value> {
        let path = "custom_metadata";
        let value = self.get(path)?;
        if !value.is_object() {
            return self.and(None, path, "must be an object");
        }
        if value.to_string().chars().count() > METADATA_CHARS {
            return self.and(None, path, &format!("must have at most {METADATA_CHARS} characters as JSON"));
        }
        Some(value.clone())
    }

    /// Fields that change nothing here but must still be what the real service accepts.
    fn the_rest(&mut self) {
        self.number("pre_processing.speech_threshold", 0.6, 0.0, 1.0);
        for path in [
            "pre_processing.audio_enhancer",
            "language_config.code_switching",
            "post_processing.chapterization",
        ] {
            self.boolean(path, false);
        }
        if self.get("model").is_some_and(|m| !m.is_string()) {
            self.error("model", "must be a string");
        }
        for name in ["custom_vocabulary", "custom_spelling"] {
            let (on, config) =
                (format!("realtime_processing.{name}"), format!("realtime_processing.{name}_config"));
            if self.boolean(&on, false) && !self.get(&config).is_some_and(Value::is_object) {
                self.error(&config, "must be an object");
            }
        }
        if self.boolean("callback", false) {
            self.error(
                "callback",
                "must be false: this server has no callbacks; read the WebSocket or GET the result",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_body_gets_the_documented_defaults() {
        let request = LiveRequest::parse(json!({})).unwrap();
        let format = Format { encoding: Encoding::Pcm, bit_depth: 16, sample_rate: 16_000, channels: 1 };
        assert_eq!((request.format, request.endpointing, request.max_utterance), (format, 0.05, 5.0));
        let f = request.flags;
        assert!(f.finals && f.speech && f.realtime && f.post && f.acks && f.errors);
        assert!(!f.partials && !f.lifecycle);
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let bad = json!({"encoding": "mp3", "bit_depth": 12, "sample_rate": 22050, "channels": 9, "endpointing": 0,
            "maximum_duration_without_endpointing": 61, "language_config": {"languages": ["en-US"]},
            "pre_processing": {"speech_threshold": 2}, "model": 4, "custom_metadata": [], "callback": true,
            "realtime_processing": {"translation": true, "custom_vocabulary": true},
            "messages_config": {"receive_errors": "yes"}});
        let errors = LiveRequest::parse(bad).unwrap_err().join("\n");
        for field in [
            "encoding",
            "bit_depth",
            "sample_rate",
            "channels",
            "endpointing",
            "languages",
            "model",
            "maximum_duration_without_endpointing",
            "speech_threshold",
            "custom_metadata",
            "callback",
            "target_languages",
            "custom_vocabulary_config",
            "receive_errors",
        ] {
            assert!(errors.contains(field), "{field} is not named in:\n{errors}");
        }
    }

    #[test]
    fn telephone_encodings_have_eight_bits_and_no_others() {
        let ulaw = |depth: u32| {
            LiveRequest::parse(json!({"encoding": "wav/ulaw", "bit_depth": depth, "sample_rate": 8000}))
        };
        assert_eq!(ulaw(8).unwrap().format.frame_bytes(), 1);
        assert!(ulaw(16).is_err());
    }

    #[test]
    fn unknown_fields_and_nulls_are_tolerated() {
        let body =
            json!({"realtime_processing": {"words_accurate_timestamps": false}, "custom_metadata": null});
        assert!(LiveRequest::parse(body).is_ok());
    }

    #[test]
    fn metadata_of_more_than_two_thousand_characters_is_refused() {
        assert!(LiveRequest::parse(json!({"custom_metadata": {"k": "ж".repeat(1990)}})).is_ok());
        assert!(LiveRequest::parse(json!({"custom_metadata": {"k": "ж".repeat(2000)}})).is_err());
    }
}
