//! A model of Gladia's live service, written from facts/gladia.md alone: it counts its own bytes, hears what they hold,
//! and breaks in every way that the facts list.

use crate::recogniser::{Recogniser, Word};
use fastrand::Rng;
use serde_json::{Value, json};

/// What goes wrong, drawn from the seed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Unacknowledged bytes are heard although the connection broke.
    pub(crate) keeps_unacked: bool,
    /// Acknowledgements every so many ms.
    pub(crate) ack_every: u64,
    /// Odds, in 1/1000 per message, of a broken connection.
    pub(crate) breaks: u32,
    /// Odds, in 1/100 per POST.
    pub(crate) refusals: u32,
    /// Odds, in 1/100 per upgrade.
    pub(crate) upgrades: u32,
    /// `GET /v2/live/{id}` has nothing, ever.
    pub(crate) no_results: bool,
    /// Sessions at a time.
    pub(crate) limit: usize,
    /// ms; the service's own end of a session.
    pub(crate) cap: u64,
    pub(crate) no_words: bool,
    pub(crate) no_post: bool,
    /// Nothing goes wrong after this.
    pub(crate) until: u64,
    /// POST answers 401 for ever.
    pub(crate) bad_key: bool,
    /// Scripted: POST answers so (from, until, status, `Retry-After`).
    pub(crate) refused: Vec<(u64, u64, u16, Option<u64>)>,
    /// Scripted: connections break (time, close code).
    pub(crate) cuts: Vec<(u64, Option<u16>)>,
    /// Scripted (from, until): audio is taken, and nothing is answered.
    pub(crate) dumb: Option<(u64, u64)>,
    /// ms; what it says of audio comes so much later: acknowledged at once, transcribed on a busy machine.
    pub(crate) behind: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: String,
    born: u64,
    connection: Option<u32>,
    /// Bytes received of its stream, acknowledged ones first.
    acked: u64,
    unacked: Vec<u8>,
    /// Samples of its stream at which a second copy of bytes may begin.
    seams: Vec<u64>,
    ack_due: u64,
    ears: Recogniser,
    /// Words that are in an utterance already.
    said: usize,
    open: Option<usize>,
    shown: usize,
    utterances: Vec<Value>,
    last_input: u64,
    stopping: bool,
    pub(crate) ended: Option<u64>,
    /// The service was started again and remembers nothing.
    forgotten: bool,
}

/// What a client sees, and when.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Open,
    Text(String),
    Close { code: Option<u16>, http: Option<u16> },
}

pub(crate) struct Service {
    pub(crate) faults: Faults,
    pub(crate) sessions: Vec<Session>,
    /// (time, connection, what), in the order of sending.
    pub(crate) sent: Vec<(u64, u32, Sent)>,
    rng: Rng,
    translate: bool,
    pub(crate) story: Vec<String>,
}

impl Service {
    pub(crate) fn new(faults: Faults, rng: Rng, translate: bool) -> Self {
        Self { faults, sessions: Vec::new(), sent: Vec::new(), rng, translate, story: Vec::new() }
    }

    /// What each session heard, in ms of its own stream.
    pub(crate) fn heard(&self) -> Vec<String> {
        let word = |word: &Word| format!("t{} {}–{}", word.tone, word.start / 16, word.end / 16);
        let heard = |session: &Session| session.ears.words.iter().map(word).collect::<Vec<_>>().join(", ");
        self.sessions.iter().map(|session| format!("{} heard {}", session.id, heard(session))).collect()
    }

    /// Tones of words in the middle of which a part was heard twice: their pitch may be read wrongly.
    pub(crate) fn misheard(&self) -> Vec<usize> {
        let crosses = |session: &Session, word: &Word| {
            session.seams.iter().any(|seam| word.start < *seam && *seam < word.end)
        };
        let words = |session: &Session| {
            session
                .ears
                .words
                .iter()
                .filter(|word| crosses(session, word))
                .map(|word| word.tone)
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(words).collect()
    }

    fn tell(&mut self, now: u64, what: &str) {
        self.story.push(format!("{now:>7} ms  service: {what}"));
    }

    fn wrong(&mut self, now: u64, odds: u32, of: u32) -> bool {
        now < self.faults.until && self.rng.u32(0..of) < odds
    }

    /// `POST /v2/live`: status, `Retry-After`, answer; and after how many ms.
    pub(crate) fn post(
        &mut self,
        now: u64,
        body: &Value,
    ) -> (u64, u16, Option<u64>, Option<(String, String)>) {
        assert_eq!(body["sample_rate"], 16_000);
        assert_eq!(body["encoding"], "wav/pcm");
        assert_eq!(body["messages_config"]["receive_acknowledgments"], true);
        assert!(body.get("diarization").is_none(), "live diarization does not exist");
        let slow = if self.wrong(now, 10, 100) { 4_000 } else { self.rng.u64(50..400) };
        if self.faults.bad_key {
            return (slow, 401, None, None);
        }
        let is_now = |refused: &&(u64, u64, u16, Option<u64>)| (refused.0..refused.1).contains(&now);
        if let Some((.., status, retry)) = self.faults.refused.iter().find(is_now) {
            return (slow, *status, *retry, None);
        }
        if self.wrong(now, self.faults.refusals, 100) {
            let status = [500, 503, 429, 0][self.rng.usize(0..4)];
            self.tell(now, &format!("POST answers {status}"));
            return (slow, status, (status == 429 && self.rng.bool()).then_some(2), None);
        }
        if self.sessions.iter().filter(|session| session.ended.is_none()).count() >= self.faults.limit {
            self.tell(now, "POST answers 429: too many sessions");
            return (slow, 429, None, None);
        }
        let index = self.sessions.len();
        let id = format!("s{index}");
        self.sessions.push(Session { id: id.clone(), born: now, last_input: now, ..Session::default() });
        self.tell(now, &format!("session {id}"));
        (slow, 201, None, Some((id, format!("wss://x/?token={index}"))))
    }

    /// `GET /v2/live/{id}`.
    pub(crate) fn get(&self, now: u64, id: &str) -> Option<Value> {
        let session = self.sessions.iter().find(|session| session.id == id)?;
        if self.faults.no_results || session.forgotten {
            return None;
        }
        let done = session.ended.is_some_and(|ended| now >= ended + 2_500 + self.faults.behind);
        if !done {
            return Some(json!({"id": id, "status": "processing", "result": null}));
        }
        Some(json!({"id": id, "status": "done", "result": self.result(session)}))
    }

    fn result(&self, session: &Session) -> Value {
        let seconds = session.acked as f64 / 32_000.0;
        json!({"metadata": {"audio_duration": seconds}, "transcription": {"utterances": session.utterances}})
    }

    /// The service's process ends, and another one begins.
    pub(crate) fn start_again(&mut self, now: u64) {
        self.tell(now, "a new process, which remembers nothing");
        self.sent.clear();
        for session in &mut self.sessions {
            (session.forgotten, session.connection, session.ended) = (true, None, Some(now));
        }
    }

    fn send(&mut self, at: u64, connection: u32, message: Value) {
        let at_once = matches!(message["type"].as_str(), Some("audio_chunk" | "stop_recording"));
        let at = if at_once { at } else { at + self.faults.behind };
        self.sent.push((at, connection, Sent::Text(message.to_string())));
    }

    pub(crate) fn connect(&mut self, now: u64, connection: u32, url: &str) {
        let index: usize = url.rsplit('=').next().and_then(|token| token.parse().ok()).unwrap();
        let at = now + self.rng.u64(20..80);
        if self.wrong(now, self.faults.upgrades, 100) {
            let http = [403, 503][self.rng.usize(0..2)];
            self.tell(now, &format!("upgrade answers {http}"));
            if http == 403 {
                self.end(now, index);
            }
            return self.sent.push((at, connection, Sent::Close { code: None, http: Some(http) }));
        }
        if self.sessions[index].forgotten {
            return self.sent.push((at, connection, Sent::Close { code: None, http: Some(404) }));
        }
        self.sent.push((at, connection, Sent::Open));
        if self.sessions[index].ended.is_some() {
            return self.sent.push((at + 5, connection, Sent::Close { code: Some(4403), http: None }));
        }
        self.sessions[index].connection = Some(connection);
        self.sessions[index].last_input = now;
    }

    fn on(&self, connection: u32) -> Option<usize> {
        self.sessions.iter().position(|session| session.connection == Some(connection))
    }

    pub(crate) fn hear(&mut self, now: u64, connection: u32, pcm: &[u8]) {
        assert!(pcm.len() <= 512 * 1024 && pcm.len().is_multiple_of(2), "a frame of {} bytes", pcm.len());
        let Some(index) = self.on(connection) else { return };
        let session = &mut self.sessions[index];
        session.last_input = now;
        if session.stopping {
            return;
        }
        if session.unacked.is_empty() {
            session.ack_due = now + self.faults.ack_every;
        }
        session.unacked.extend_from_slice(pcm);
        if self.wrong(now, self.faults.breaks, 1000) {
            self.cut(now, index);
        }
    }

    pub(crate) fn command(&mut self, now: u64, connection: u32, text: &str) {
        let Some(index) = self.on(connection) else { return };
        assert_eq!(text, r#"{"type":"stop_recording"}"#);
        if std::mem::replace(&mut self.sessions[index].stopping, true) {
            let error = json!({"status_code": 409, "message": "Recording already stopped"});
            self.send(
                now + 5,
                connection,
                json!({"type": "stop_recording", "acknowledged": false, "error": error}),
            );
        }
        self.acknowledge(now, index);
        self.send(now + 5, connection, json!({"type": "stop_recording", "acknowledged": true, "data": {}}));
        if self.wrong(now, self.faults.breaks * 10, 1000) {
            self.cut(now, index);
        }
    }

    /// The client dropped or closed the connection.
    pub(crate) fn gone(&mut self, now: u64, connection: u32) {
        if let Some(index) = self.on(connection) {
            self.lose(now, index);
        }
    }

    fn lose(&mut self, now: u64, index: usize) {
        self.sessions[index].connection = None;
        let session = &mut self.sessions[index];
        if self.faults.keeps_unacked {
            let bytes = std::mem::take(&mut session.unacked);
            session.acked += bytes.len() as u64;
            session.ears.push(&bytes);
            session.seams.push(session.acked / 2);
        }
        session.unacked.clear();
        self.words(now, index);
    }

    /// The connection breaks: what is on its way in either direction is lost.
    fn cut(&mut self, now: u64, index: usize) {
        let code = [None, Some(1001), Some(1006), Some(1009), Some(1011), Some(1012), Some(4500), Some(4403)];
        if self.sessions[index].connection.is_some() {
            let code = code[self.rng.usize(0..code.len())];
            self.cut_with(now, index, code);
        }
    }

    fn cut_with(&mut self, now: u64, index: usize, code: Option<u16>) {
        let Some(connection) = self.sessions[index].connection else { return };
        self.tell(now, &format!("{} breaks with {code:?}", self.sessions[index].id));
        self.sent.retain(|(_, other, _)| *other != connection);
        self.sent.push((now + 1, connection, Sent::Close { code, http: None }));
        self.lose(now, index);
        if code == Some(4403) {
            self.end(now, index);
        }
    }

    /// The session is over: what was heard is its result.
    fn end(&mut self, now: u64, index: usize) {
        let session = &mut self.sessions[index];
        if session.ended.is_none() {
            session.ears.finish();
            session.ended = Some(now);
            self.utter(now, index, true);
        }
    }

    fn acknowledge(&mut self, now: u64, index: usize) {
        let session = &mut self.sessions[index];
        let bytes = std::mem::take(&mut session.unacked);
        if !bytes.is_empty() {
            let from = session.acked;
            session.acked += bytes.len() as u64;
            session.ears.push(&bytes);
            let to = session.acked;
            if let Some(connection) = session.connection {
                let data =
                    json!({"byte_range": [from, to], "time_range": [from as f64 / 32e3, to as f64 / 32e3]});
                self.send(
                    now + 3,
                    connection,
                    json!({"type": "audio_chunk", "acknowledged": true, "data": data}),
                );
            }
        }
        self.words(now, index);
    }

    fn words(&mut self, now: u64, index: usize) {
        let session = &mut self.sessions[index];
        if session.open.is_none() && (session.ears.is_in_word() || session.ears.words.len() > session.said) {
            session.open = Some(session.said);
            if let Some(connection) = session.connection {
                self.send(
                    now + 5,
                    connection,
                    json!({"type": "speech_start", "data": {"time": 0.0, "channel": 0}}),
                );
            }
        }
        let session = &mut self.sessions[index];
        let words = session.ears.words.len();
        if words > session.shown && words > session.said {
            session.shown = words;
            let partial = self.transcript(index, false, self.sessions[index].said);
            if let Some(connection) = self.sessions[index].connection {
                self.send(now + 30, connection, partial);
            }
        }
        let quiet = self.sessions[index].ears.quiet >= 30 && !self.sessions[index].ears.is_in_word();
        self.utter(now, index, quiet);
    }

    /// Ends the open utterance, or cuts what is longer than 15 s.
    fn utter(&mut self, now: u64, index: usize, over: bool) {
        loop {
            let session = &self.sessions[index];
            let fresh = &session.ears.words[session.said..];
            // Words that a long pause parts are utterances of their own, however late they are looked at.
            let pause = fresh.windows(2).position(|pair| {
                pair[1].start - pair[0].end >= 4_800 || pair[1].start > fresh[0].start + 240_000
            });
            let count = match pause {
                Some(place) => place + 1,
                None if over => fresh.len(),
                None => return,
            };
            if count == 0 {
                return;
            }
            let (from, said) = (session.said, session.said + count);
            let message = self.transcript_of(index, true, from, said);
            self.sessions[index].utterances.push(message["data"]["utterance"].clone());
            self.sessions[index].said = said;
            self.sessions[index].open = None;
            if let Some(connection) = self.sessions[index].connection {
                let at = now + self.rng.u64(80..700);
                self.send(at, connection, json!({"type": "speech_end", "data": {"time": 0.0, "channel": 0}}));
                let id = message["data"]["id"].clone();
                self.send(at, connection, message);
                if self.translate {
                    let data = json!({"utterance_id": id, "target_language": "fr", "translated_utterance": {"text": "oui"}});
                    self.send(
                        at + 50,
                        connection,
                        json!({"type": "translation", "error": null, "data": data}),
                    );
                }
                if self.rng.u8(..) < 20 {
                    self.send(at, connection, json!({"type": "never_heard_of", "data": {"x": 1}}));
                    self.send(
                        at,
                        connection,
                        json!({"type": "error", "data": {"message": "internal_error"}}),
                    );
                }
            }
        }
    }

    fn transcript(&self, index: usize, is_final: bool, from: usize) -> Value {
        self.transcript_of(index, is_final, from, self.sessions[index].ears.words.len())
    }

    fn transcript_of(&self, index: usize, is_final: bool, from: usize, to: usize) -> Value {
        let words = &self.sessions[index].ears.words[from..to];
        let seconds = |samples: u64| samples as f64 / 16_000.0;
        let spoken: Vec<Value> = words.iter().map(|word| {
            json!({"word": format!(" t{}", word.tone), "start": seconds(word.start), "end": seconds(word.end), "confidence": 0.9})
        }).collect();
        let text: String = words.iter().map(|word| format!(" t{}", word.tone)).collect();
        let ends = |word: Option<&Word>, end: bool| {
            word.map_or(0.0, |word| seconds(if end { word.end } else { word.start }))
        };
        let mut utterance = json!({"text": text, "start": ends(words.first(), false), "end": ends(words.last(), true), "language": "en", "channel": 0});
        if !self.faults.no_words {
            (utterance["words"], utterance["confidence"]) = (spoken.into(), 0.9.into());
        }
        json!({"type": "transcript", "data": {"id": format!("00_{from:08}"), "is_final": is_final, "utterance": utterance}})
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now: u64) {
        while self.faults.cuts.first().is_some_and(|(at, _)| *at <= now) {
            let (_, code) = self.faults.cuts.remove(0);
            (0..self.sessions.len()).for_each(|index| self.cut_with(now, index, code));
        }
        if self.faults.dumb.is_some_and(|(from, until)| (from..until).contains(&now)) {
            return;
        }
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if session.ended.is_some() {
                continue;
            }
            if !session.unacked.is_empty() && now >= session.ack_due {
                self.acknowledge(now, index);
            }
            let session = &self.sessions[index];
            let (idle, old) = (now >= session.last_input + 30_000, now >= session.born + self.faults.cap);
            if session.stopping || old {
                if old {
                    self.tell(now, &format!("{} is too old", self.sessions[index].id));
                }
                self.finish(now, index);
            } else if idle {
                self.tell(now, &format!("{} is idle", self.sessions[index].id));
                if let Some(connection) = self.sessions[index].connection {
                    self.sent.push((now, connection, Sent::Close { code: Some(1006), http: None }));
                }
                self.lose(now, index);
                self.end(now, index);
            }
        }
    }

    /// The orderly end: finals, the list of everything, Close 1000.
    fn finish(&mut self, now: u64, index: usize) {
        self.acknowledge(now, index);
        self.end(now, index);
        let Some(connection) = self.sessions[index].connection else { return };
        let result = self.result(&self.sessions[index]);
        let at = now + 800;
        if !self.faults.no_post {
            let list = result["transcription"].clone();
            self.send(at, connection, json!({"type": "post_transcript", "data": list}));
            self.send(at + 50, connection, json!({"type": "post_final_transcript", "data": result}));
        }
        self.send(at + 60, connection, json!({"type": "end_session"}));
        let closed = at + 70 + self.faults.behind;
        self.sent.push((closed, connection, Sent::Close { code: Some(1000), http: None }));
    }
}
