//! Carries out what a pipeline asks: requests, sockets, appends, spool, report.

use super::{Answer, Loop};
use crate::speech_socket::{self, FRAME_QUEUE, Frame};
use crate::spool::Spool;
use roomscribe_pipeline::Output;
use tokio::sync::mpsc;

impl Loop {
    /// Does what the pipeline asks until it asks for nothing.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.pipeline.poll() {
            self.one(output);
        }
        self.next_append();
        let report = self.pipeline.report();
        self.session.report.send_if_modified(|shown| {
            let changed = shown.version != report.version;
            *shown = report.clone();
            changed
        });
    }

    fn one(&mut self, output: Output) {
        match output {
            Output::CreateSpeech { request, body } => {
                let speech = self.session.speech.clone();
                self.answers.spawn(async move { Answer::Created(request, speech.create(&body).await) });
            }
            Output::OpenSpeech { connection, url } => {
                let (frames, queued) = mpsc::channel(FRAME_QUEUE);
                self.sockets.insert(connection, frames);
                let (events, metrics) = (self.events.clone(), self.session.metrics.clone());
                self.socket_tasks.spawn(speech_socket::run(
                    connection,
                    url.expose().to_owned(),
                    queued,
                    events,
                    metrics,
                ));
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
            Output::Append { ticket, event, note } => self.waiting.push_back((ticket, event, note)),
            Output::Partial(partial) => self.session.writer.partial(partial),
            Output::SpoolPcm { at, pcm } => self.spooled(|spool| spool.append(at, pcm)),
            Output::SpoolCovered { upto } => self.spooled(|spool| spool.cover(upto)),
            Output::SpoolState(state) => self.spooled(|spool| spool.save_state(serde_json::to_vec(&state)?)),
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

    fn next_append(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let Some((ticket, event, note)) = self.waiting.pop_front() else { return };
        self.under_way = Some(note.clone());
        self.told.stored(&event);
        let append = self.session.writer.clone().append(self.head, event, Some(note));
        self.answers.spawn(async move { Answer::Appended(ticket, append.await) });
    }

    /// A spool that cannot be written costs only what a crash right now would lose, so the session goes on.
    fn spooled(&mut self, write: impl FnOnce(&mut Spool) -> std::io::Result<()>) {
        if let Err(error) = write(&mut self.session.spool)
            && self.session.metrics.spool_errors.inc() == 0
        {
            tracing::error!(session = %self.id, %error, "cannot write the spool; free space in DATA_DIR");
        }
    }
}
