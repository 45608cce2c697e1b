//! The commands of publishers (RTMP 1.0 §7.2, and what Flash Media Live Encoder added) and their answers.

use super::{Phase, STREAM_ID, ServerSession};
use crate::SessionError;
use crate::amf0::{Amf0Error, Reader, Value, Writer};
use crate::chunk::{OUTBOUND_CHUNK_SIZE, message_type, write_message};
use crate::event::{Event, Metadata, Rejection, StreamKey};

const COMMAND_CSID: u8 = 3;
const STATUS_CSID: u8 = 5;
/// GStreamer copies the bandwidth as its own window: it says how often a publisher hopes for an acknowledgement.
const WINDOW_BYTES: u32 = 2_500_000;
const DYNAMIC: u8 = 2;

impl ServerSession {
    pub(super) fn command(&mut self, body: &[u8]) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::BeforePublish { .. }) {
            self.commands_before_publish += 1;
            let limit = self.limits.max_commands_before_publish;
            if self.commands_before_publish > limit {
                return Err(SessionError::TooManyCommandsBeforePublish { limit });
            }
        }
        let mut arguments = Reader::new(body);
        let name = arguments.string()?;
        let transaction = transaction(&mut arguments)?;
        match name.as_str() {
            "connect" => self.connect(transaction, &mut arguments),
            "createStream" => self.create_stream(transaction),
            "publish" => self.publish(&mut arguments),
            "releaseStream" | "FCPublish" | "_checkbw" => self.send_empty_result(transaction),
            "FCUnpublish" => {
                self.unpublish()?;
                self.send_empty_result(transaction)
            }
            // Their argument is a number, or the stream's name with GStreamer, or missing: there is one stream anyway.
            "deleteStream" | "closeStream" => self.unpublish(),
            _ => {
                self.stats.unknown_commands += 1;
                Ok(())
            }
        }
    }

    /// `@setDataFrame` and `onMetaData`. What cannot be read costs only the metadata.
    pub(super) fn data(&mut self, body: &[u8]) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Publishing { .. }) {
            return Ok(());
        }
        match metadata(body) {
            Ok(Some(metadata)) => self.emit(Event::Metadata(metadata)),
            Ok(None) => Ok(()),
            Err(_) => {
                self.stats.metadata_dropped += 1;
                Ok(())
            }
        }
    }

    fn connect(&mut self, transaction: f64, arguments: &mut Reader<'_>) -> Result<(), SessionError> {
        if self.app.is_some() {
            return Err(SessionError::RepeatedCommand { command: "connect" });
        }
        let Value::Object(properties) = arguments.value()? else {
            return Err(Amf0Error::WrongType.into());
        };
        let text = |wanted: &str| {
            properties.iter().find_map(|(name, value)| match value {
                Value::String(text) if name == wanted => Some(text.as_str()),
                _ => None,
            })
        };
        let app = text("app").unwrap_or_default().trim_matches('/').to_owned();
        self.app = Some((app, text("tcUrl").unwrap_or_default().to_owned()));
        self.send_connect_answer(transaction)
    }

    fn send_connect_answer(&mut self, transaction: f64) -> Result<(), SessionError> {
        self.send_control(message_type::WINDOW_ACK_SIZE, &WINDOW_BYTES.to_be_bytes())?;
        let bandwidth = [&WINDOW_BYTES.to_be_bytes()[..], &[DYNAMIC]].concat();
        self.send_control(message_type::SET_PEER_BANDWIDTH, &bandwidth)?;
        self.send_control(message_type::SET_CHUNK_SIZE, &OUTBOUND_CHUNK_SIZE.to_be_bytes())?;
        let server = [("fmsVer", "FMS/3,5,7,7009")];
        let success = [
            ("level", "status"),
            ("code", "NetConnection.Connect.Success"),
            ("description", "Connection succeeded."),
        ];
        let answer = result(transaction)
            .object(&server, &[("capabilities", 31.0)])
            .object(&success, &[("objectEncoding", 0.0)]);
        self.send_command(COMMAND_CSID, 0, answer)
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), SessionError> {
        if self.app.is_none() {
            return Err(SessionError::CommandTooEarly { command: "createStream" });
        }
        if self.stream_created {
            return Err(SessionError::RepeatedCommand { command: "createStream" });
        }
        self.stream_created = true;
        let answer = result(transaction).null().number(f64::from(STREAM_ID));
        self.send_command(COMMAND_CSID, 0, answer)
    }

    /// The publish type ("live", "record", "append") is not looked at: all are recorded the same.
    fn publish(&mut self, arguments: &mut Reader<'_>) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::BeforePublish { .. }) {
            return Err(SessionError::RepeatedCommand { command: "publish" });
        }
        let Some((app, tc_url)) = self.app.clone().filter(|_| self.stream_created) else {
            return Err(SessionError::CommandTooEarly { command: "publish" });
        };
        arguments.value()?;
        let name = if arguments.is_empty() { String::new() } else { arguments.string()? };
        let (app, key) = split_path(&app, &name);
        self.begin_publishing();
        if key.is_empty() {
            self.send_rejection(Rejection::Denied)?;
            return Err(SessionError::EmptyStreamKey);
        }
        self.emit(Event::Publish { app, stream_key: StreamKey::new(key), tc_url })
    }

    fn unpublish(&mut self) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Publishing { .. }) {
            self.phase = Phase::Unpublished { until: self.now + self.limits.idle_timeout };
            self.emit(Event::Unpublished)?;
        }
        Ok(())
    }

    pub(super) fn send_publish_start(&mut self) -> Result<(), SessionError> {
        self.send_stream_begin()?;
        self.send_status("status", "NetStream.Publish.Start", "Publishing.")
    }

    pub(super) fn send_rejection(&mut self, rejection: Rejection) -> Result<(), SessionError> {
        let (code, text) = match rejection {
            Rejection::Denied => ("NetStream.Publish.Denied", "Publishing is not allowed with this key."),
            Rejection::BadName => ("NetStream.Publish.BadName", "This stream is already being published."),
        };
        self.send_status("error", code, text)
    }

    fn send_status(&mut self, level: &str, code: &str, description: &str) -> Result<(), SessionError> {
        let info = [("level", level), ("code", code), ("description", description)];
        let status = Writer::default().string("onStatus").number(0.0).null().object(&info, &[]);
        self.send_command(STATUS_CSID, STREAM_ID, status)
    }

    /// Transaction 0 means that no answer is expected (GStreamer); ffmpeg numbers its requests.
    fn send_empty_result(&mut self, transaction: f64) -> Result<(), SessionError> {
        if transaction == 0.0 {
            return Ok(());
        }
        self.send_command(COMMAND_CSID, 0, result(transaction).null())
    }

    fn send_command(&mut self, csid: u8, stream_id: u32, body: Writer) -> Result<(), SessionError> {
        write_message(&mut self.outbox, csid, message_type::COMMAND_AMF0, stream_id, &body.finish())
    }
}

/// Application and key of a URL's path, wherever the publisher cut it: of `/a/b/c/KEY` GStreamer and OBS make the
/// application `a/b/c`, ffmpeg and librtmp `a/b`. The key is the last segment, with its query string.
fn split_path(app: &str, name: &str) -> (String, String) {
    let path_end = name.find('?').unwrap_or(name.len());
    let path = name.get(..path_end).unwrap_or_default();
    match path.rfind('/').and_then(|slash| Some((name.get(..slash)?, name.get(slash + 1..)?))) {
        Some((more, key)) => (format!("{app}/{more}").trim_matches('/').to_owned(), key.to_owned()),
        None => (app.to_owned(), name.to_owned()),
    }
}

fn result(transaction: f64) -> Writer {
    Writer::default().string("_result").number(transaction)
}

fn transaction(arguments: &mut Reader<'_>) -> Result<f64, Amf0Error> {
    if arguments.is_empty() {
        return Ok(0.0);
    }
    match arguments.value()? {
        Value::Number(number) => Ok(number),
        _ => Err(Amf0Error::WrongType),
    }
}

/// `None`: readable, but not metadata (a cue point, a caption). A `@setDataFrame` without its value is an error.
fn metadata(body: &[u8]) -> Result<Option<Metadata>, Amf0Error> {
    let mut values = Reader::new(body);
    let mut name = values.string()?;
    if name == "@setDataFrame" {
        name = values.string()?;
    }
    if name != "onMetaData" {
        return Ok(None);
    }
    match values.value()? {
        Value::Object(properties) => Ok(Some(Metadata::from_properties(&properties))),
        _ => Ok(Some(Metadata::default())),
    }
}
