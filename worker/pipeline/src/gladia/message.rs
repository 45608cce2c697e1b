//! Messages of the service. Unknown types and fields are ignored: new ones appear before the schema does.

use serde::Deserialize;
use serde_json::Value;

/// A message that means something to us.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// A reading of an utterance.
    Transcript {
        /// Names it within the session; partials and final share it.
        id: String,
        /// It will not change.
        is_final: bool,
        /// The words.
        utterance: Utterance,
    },
    /// A final in another language.
    Translation {
        /// Of the final.
        utterance_id: String,
        /// Target.
        language: String,
        /// Text.
        text: String,
    },
    /// Bytes of the whole session's stream that were received, half-open.
    Ack {
        /// First byte of the acknowledged chunk.
        from: u64,
        /// One past its last byte.
        to: u64,
    },
    /// Somebody began to speak.
    SpeechStart,
    /// The utterance's audio is over.
    SpeechEnd,
    /// After a stop: every utterance of the session.
    Listing {
        /// Nothing that matters follows.
        is_last: bool,
        /// What it heard, and how much.
        listing: Listing,
    },
    /// The session ended: nothing follows.
    Ended,
    /// An error of the service, in its words.
    Error(String),
    /// Nothing for us.
    Other,
}

/// An utterance (`UtteranceDTO`); times in seconds of the session's stream.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Utterance {
    /// Often begins with a space.
    pub text: String,
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    /// ISO 639-1.
    pub language: Option<String>,
    /// 0..1.
    pub confidence: Option<f32>,
    /// May be absent.
    pub words: Vec<UtteranceWord>,
}

/// What a whole speech session was, as the service tells at its end and in `GET /v2/live/{id}`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    /// Without ids.
    pub utterances: Vec<Utterance>,
    /// Seconds of audio that the service received; not every message tells.
    pub heard: Option<f64>,
}

/// More utterances than three hours hold.
const MAX_UTTERANCES: usize = 16_384;

impl Listing {
    /// Reads `{"metadata", "transcription": {"utterances"}}`; `None` when no transcription is there.
    pub fn read(result: &Value) -> Option<Self> {
        let utterances = result.pointer("/transcription/utterances")?.as_array()?;
        let heard = result.pointer("/metadata/audio_duration").and_then(Value::as_f64);
        Some(Self { utterances: read_utterances(utterances), heard })
    }
}

fn read_utterances(list: &[Value]) -> Vec<Utterance> {
    list.iter().take(MAX_UTTERANCES).filter_map(|utterance| Utterance::deserialize(utterance).ok()).collect()
}

/// A word (`WordDTO`).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct UtteranceWord {
    /// Often begins with a space.
    pub word: String,
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    /// 0..1.
    pub confidence: Option<f32>,
}

/// Reads one text frame; what is not understood is `Other`.
pub fn parse(text: &str) -> Message {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Message::Other };
    let data = &message["data"];
    match message["type"].as_str() {
        Some("transcript") => transcript(data),
        Some("translation") => translation(data),
        Some("audio_chunk") => ack(data),
        Some("speech_start") => Message::SpeechStart,
        Some("speech_end") => Message::SpeechEnd,
        Some("post_transcript") => match data["utterances"].as_array() {
            Some(list) => {
                let listing = Listing { utterances: read_utterances(list), heard: None };
                Message::Listing { is_last: false, listing }
            }
            None => Message::Other,
        },
        Some("post_final_transcript") => {
            Listing::read(data).map_or(Message::Other, |listing| Message::Listing { is_last: true, listing })
        }
        Some("end_session") => Message::Ended,
        Some("error") => Message::Error(error_text(&message)),
        _ => Message::Other,
    }
}

fn transcript(data: &Value) -> Message {
    let (Some(id), Ok(utterance)) = (data["id"].as_str(), Utterance::deserialize(&data["utterance"])) else {
        return Message::Other;
    };
    Message::Transcript { id: id.to_owned(), is_final: data["is_final"] == true, utterance }
}

fn translation(data: &Value) -> Message {
    let (id, language) = (data["utterance_id"].as_str(), data["target_language"].as_str());
    let text = data.pointer("/translated_utterance/text").and_then(Value::as_str);
    match (id, language, text) {
        (Some(id), Some(language), Some(text)) => Message::Translation {
            utterance_id: id.to_owned(),
            language: language.to_owned(),
            text: text.trim().to_owned(),
        },
        _ => Message::Other,
    }
}

/// Both SDKs take `byte_range[1]` as exclusive; an end inside a sample is rounded up.
fn ack(data: &Value) -> Message {
    let bound = |index: usize| data["byte_range"][index].as_f64().filter(|bound| *bound >= 0.0);
    match (bound(0), bound(1)) {
        (Some(from), Some(to)) => Message::Ack { from: from as u64, to: (to as u64).next_multiple_of(2) },
        _ => Message::Other,
    }
}

fn error_text(message: &Value) -> String {
    let pick = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    pick("/data/message")
        .or_else(|| pick("/error/message"))
        .or_else(|| pick("/message"))
        .unwrap_or("unspecified")
        .chars()
        .take(200)
        .collect()
}
