//! What a session says of its recogniser's events, and at its end.

use serde_json::json;

use crate::outcome::not_here;
use crate::session::Session;
use crate::session_io::{Class, Clock, Output};
use crate::track::{TrackEvent, Utterance};
use crate::wire::Wire;

impl Session {
    pub(crate) fn event(&mut self, event: TrackEvent, clock: &Clock) {
        let flags = self.request.flags;
        match event {
            TrackEvent::Recognise(job) => self.out.push_back(Output::Recognise(job)),
            TrackEvent::SpeechStart { time, channel } => {
                let data = json!({"data": {"time": time, "channel": channel}});
                self.send(clock, Class::Other, flags.speech, "speech_start", data);
            }
            TrackEvent::SpeechEnd { time, channel } => {
                let data = json!({"data": {"time": time, "channel": channel}});
                self.send(clock, Class::Other, flags.speech, "speech_end", data);
            }
            TrackEvent::Partial { number, utterance } => {
                let fields = self.transcript(number, &utterance, false);
                self.send(clock, Class::Partial, flags.partials, "transcript", fields);
            }
            TrackEvent::Final { number, utterance } => self.say_final(number, &utterance, clock),
            TrackEvent::Failed { start, end } => {
                let message = format!("audio from {start:.3} s to {end:.3} s could not be recognised");
                self.error(clock, "internal_error", &message);
            }
        }
    }

    pub(crate) fn error(&mut self, clock: &Clock, code: &str, message: &str) {
        let data = json!({"data": {"code": code, "message": message}});
        self.send(clock, Class::Other, self.request.flags.errors, "error", data);
    }

    pub(crate) fn unknown_message(&mut self, clock: &Clock) {
        let wanted = self.faults.unknown_messages;
        self.send(clock, Class::Other, wanted, "future_message", json!({"data": {"surprise": true}}));
    }

    /// Last messages, in the order of the fact that post messages come after the last final and before
    /// `end_session`; the order among them is not documented.
    pub(crate) fn say_the_end(&mut self, clock: &Clock) {
        let (flags, duration) = (self.request.flags, self.seconds());
        let data = json!({"data": {"recording_duration": duration}});
        self.send(clock, Class::Other, flags.lifecycle, "end_recording", data);
        let transcription = self.outcome.transcription(&self.wire);
        self.send(clock, Class::Other, flags.post, "post_transcript", json!({ "data": transcription }));
        if self.request.missing_addons.contains(&"post_summarization") {
            let fields = json!({"error": {"message": not_here("post_summarization")}, "data": null});
            self.send(clock, Class::Other, flags.post, "post_summarization", fields);
        }
        let result = self.result();
        self.send(clock, Class::Other, flags.post, "post_final_transcript", json!({ "data": result }));
        self.send(clock, Class::Other, flags.lifecycle, "end_session", json!({}));
    }

    /// `data` of `post_final_transcript`.
    pub(crate) fn result(&self) -> serde_json::Value {
        let request = &self.request;
        self.outcome.result(&self.wire, self.seconds(), request.format.channels, &request.missing_addons)
    }

    fn transcript(&self, number: u64, utterance: &Utterance, is_final: bool) -> serde_json::Value {
        let id = Wire::utterance_id(utterance.channel, number);
        json!({"data": {"id": id, "is_final": is_final, "utterance": self.wire.utterance(utterance)}})
    }

    fn say_final(&mut self, number: u64, utterance: &Utterance, clock: &Clock) {
        let flags = self.request.flags;
        self.outcome.add_final(utterance);
        let fields = self.transcript(number, utterance, true);
        self.send(clock, Class::Final, flags.finals, "transcript", fields);
        self.unknown_message(clock);
        let id = Wire::utterance_id(utterance.channel, number);
        for language in self.request.translate_to.clone() {
            let fields = self.translation(&id, utterance, &language);
            self.send(clock, Class::Other, flags.realtime, "translation", fields);
        }
        for addon in self.request.missing_addons.clone().into_iter().filter(|a| *a != "post_summarization") {
            let fields = json!({"error": {"message": not_here(addon)}, "data": null});
            self.send(clock, Class::Other, flags.realtime, addon, fields);
        }
    }

    fn translation(&mut self, id: &str, utterance: &Utterance, language: &str) -> serde_json::Value {
        let Some(text) = utterance.translations.get(language) else {
            return json!({"error": {"message": not_here("translation")}, "data": null});
        };
        let translated = self.outcome.add_translation(utterance, language, text);
        json!({"error": null, "data": {"utterance_id": id, "utterance": self.wire.utterance(utterance),
            "original_language": utterance.language, "target_language": language,
            "translated_utterance": self.wire.utterance(&translated)}})
    }
}
