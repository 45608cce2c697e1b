//! Carries out what a pipeline asks: requests, sockets, appends, spool, report.

use super::{Answer, Loop};
use crate::clock;
use crate::publish::Trouble;
use crate::shown;
use crate::speech_socket::{self, FRAME_QUEUE, Frame};
use roomscribe_pipeline::Output;
use roomscribe_transcript::Event;
use tokio::sync::mpsc;

impl Loop {
    /// Does what the pipeline asks until it asks for nothing.
    pub(super) fn carry_out(&mut self) {
        let waits = self.succession.is_some();
        while let Some(output) = self.pipeline.poll() {
            if !waits {
                self.one(output);
            }
        }
        self.next_append();
        self.flush_spool();
        let (report, shell) = (self.pipeline.report(), self.shell);
        self.session.report.send_if_modified(|shown| {
            let next = shown::show(report, shell, shown);
            let changed = shown.version != next.version;
            *shown = next;
            changed
        });
    }

    pub(super) fn one(&mut self, output: Output) {
        match output {
            Output::CreateSpeech { request, body } => {
                let speech = self.session.speech.clone();
                self.answers.spawn(async move { Answer::Created(request, speech.create(&body).await) });
            }
            Output::OpenSpeech { connection, url } => {
                let (frames, queued) = mpsc::channel(FRAME_QUEUE);
                self.sockets.insert(connection, frames);
                let (events, metrics) = (self.events.clone(), self.session.metrics.clone());
                let url = url.expose().to_owned();
                self.socket_tasks.spawn(speech_socket::run(connection, url, queued, events, metrics));
            }
            Output::SendAudio { connection, pcm } => self.frame(connection, Frame::Audio(pcm)),
            Output::SendText { connection, text } => self.frame(connection, Frame::Text(text)),
            Output::CloseSpeech { connection, code } => {
                if let Some(code) = code {
                    self.frame(connection, Frame::Close(code));
                }
                self.sockets.remove(&connection);
            }
            Output::FetchResult { id } => {
                let speech = self.session.speech.clone();
                self.answers.spawn(async move {
                    let result = speech.result(&id).await;
                    Answer::Result(id, result)
                });
            }
            Output::Append { ticket, event, note } => {
                if let Event::Status(status) = &event {
                    let (state, reason) = (&status.state, &status.reason);
                    // The transcript needs no words where nobody must act; a log line without words is none.
                    let message = match status.message.as_str() {
                        "" => "the speech service takes the audio",
                        message => message,
                    };
                    match state.as_str() {
                        "Live" | "Starting" => tracing::info!(session = %self.id, state, reason, "{message}"),
                        _ => tracing::warn!(session = %self.id, state, reason, "{message}"),
                    }
                }
                self.waiting.push_back((ticket, event, note));
            }
            Output::Partial(partial) => self.session.writer.partial(partial),
            Output::SpoolPcm { at, pcm } => self.session.spool.append(at, &pcm),
            Output::SpoolCovered { upto } => self.session.spool.cover(upto),
            Output::SpoolState(state) => match serde_json::to_vec(&state) {
                Ok(json) => self.session.spool.save_state(json),
                Err(error) => tracing::error!(session = %self.id, %error, "the state cannot be spooled"),
            },
            Output::Done(exit) => self.exit = Some(exit),
        }
    }

    /// A full queue means a service that has stopped reading: the socket is dropped, and the pipeline resumes.
    fn frame(&mut self, connection: u32, frame: Frame) {
        if let Some(frames) = self.sockets.get(&connection)
            && frames.try_send(frame).is_err()
        {
            self.sockets.remove(&connection);
        }
    }

    pub(super) fn next_append(&mut self) {
        if !self.appending.is_empty() {
            return;
        }
        let Some((ticket, event, note)) = self.waiting.pop_front() else { return };
        self.told.stored(&event);
        let append = self.session.writer.clone().append(self.head, event, Some(note.clone()));
        self.appending.spawn(async move { (ticket, note, append.await) });
    }

    /// A spool that cannot be written costs only what a crash right now would lose, so the session goes on.
    fn flush_spool(&mut self) {
        let outcome = self.session.spool.flush(clock::wall_ms());
        let trouble = outcome.as_ref().err().map(|error| Trouble::from(error.kind()));
        if let Err(error) = outcome {
            self.session.metrics.spool_errors.inc();
            if self.spool_trouble.is_none() {
                tracing::error!(session = %self.id, %error, "cannot write the spool; free or mend DATA_DIR");
            }
        }
        self.spool_trouble = trouble;
        let log_trouble = *self.log_trouble.borrow_and_update();
        let storage = trouble.or(log_trouble);
        if storage != self.shell.storage {
            self.shell.storage = storage;
            self.session.registry.hold(&self.id, storage.is_some_and(Trouble::holds));
        }
    }
}
