//! What one message of the stream holds (docs/nats.md): pure, both ways.
//!
//! The payload is what viewers see; what is for writers only travels in headers.

use crate::log::{Head, LogError};
use crate::model::{Event, Offset, Record, SessionId, WriterNote};
use async_nats::header::HeaderMap;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

/// The log's incarnation, on every message: one read of the last message tells where a log is.
const EPOCH: &str = "Roomscribe-Epoch";
/// The newest writer's record, as JSON: also on events that brought none of their own.
const NOTE: &str = "Roomscribe-Note";
/// NATS' own header: names the attempt to publish a message.
const ID: &str = "Nats-Msg-Id";
/// Who published a partial: it has shown it to its own followers already.
pub(super) const WRITER: &str = "Roomscribe-Writer";

/// A session's first message, or with `erasedAt` its only one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opening {
    v: u32,
    epoch: String,
    session: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<String>,
}

/// One message of a session's subject.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Position in the stream, not in the session.
    pub(super) seq: u64,
    pub(super) time: SystemTime,
    pub(super) epoch: String,
    /// Names the attempt to publish it; equal ids are the same attempt.
    pub(super) id: String,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Opening,
    Record(Arc<Record>, Option<WriterNote>),
    Tombstone,
}

impl Entry {
    /// `None` for what no Roomscribe wrote.
    pub(super) fn read(seq: u64, time: SystemTime, headers: &HeaderMap, payload: &[u8]) -> Option<Self> {
        let text = |name: &str| headers.get(name).map(|value| value.as_str());
        let note = text(NOTE).map(serde_json::from_str).transpose().ok()?;
        let body = match serde_json::from_slice(payload) {
            Ok(record) => Body::Record(Arc::new(record), note),
            Err(_) => match serde_json::from_slice::<Opening>(payload).ok()? {
                Opening { erased_at: Some(_), .. } => Body::Tombstone,
                Opening { .. } => Body::Opening,
            },
        };
        let id = text(ID).unwrap_or_default().to_owned();
        Some(Self { seq, time, epoch: text(EPOCH)?.to_owned(), id, body })
    }

    pub(super) fn stored(message: &StreamMessage) -> Option<Self> {
        Self::read(message.sequence, message.time.into(), &message.headers, &message.payload)
    }

    /// 0 for an opening.
    pub(super) fn offset(&self) -> Offset {
        match &self.body {
            Body::Record(record, _) => record.offset,
            Body::Opening | Body::Tombstone => Offset(0),
        }
    }

    pub(super) fn ended(&self) -> bool {
        matches!(&self.body, Body::Record(record, _) if matches!(record.event, Event::End(_)))
    }

    /// Where the log is, when this is its last message.
    pub(super) fn head(&self, oldest: Offset) -> Result<Head, LogError> {
        let (generation, note) = match &self.body {
            Body::Tombstone => return Err(LogError::Erased),
            Body::Opening => (Default::default(), None),
            Body::Record(record, note) => (record.generation, note.clone()),
        };
        let (head, ended) = (self.offset(), self.ended());
        Ok(Head { epoch: self.epoch.clone(), oldest, head, generation, ended, note })
    }
}

pub(super) fn opening(session: &SessionId, epoch: &str, writer: &str) -> io::Result<PublishMessage> {
    let opening = Opening { v: 1, epoch: epoch.to_owned(), session: session.to_string(), erased_at: None };
    let id = message_id(epoch, Offset(0), writer, b"");
    Ok(publish(epoch, &id, serde_json::to_vec(&opening)?))
}

/// Takes the place of everything that the session's subject held, and stays.
pub(super) fn tombstone(session: &SessionId, epoch: &str, at: String) -> io::Result<PublishMessage> {
    let (epoch, session) = (epoch.to_owned(), session.to_string());
    let bytes = serde_json::to_vec(&Opening { v: 1, epoch: epoch.clone(), session, erased_at: Some(at) })?;
    Ok(PublishMessage::build()
        .payload(bytes.into())
        .header(EPOCH, epoch.as_str())
        .header(async_nats::header::NATS_ROLLUP, "sub")
        .header(async_nats::header::NATS_MESSAGE_TTL, "never"))
}

/// An event, its note beside it; and the id of this attempt.
pub(super) fn event(
    epoch: &str,
    writer: &str,
    record: &Record,
    note: Option<&WriterNote>,
) -> io::Result<(String, PublishMessage)> {
    let bytes = serde_json::to_vec(record)?;
    let id = message_id(epoch, record.offset, writer, &bytes);
    let mut message = publish(epoch, &id, bytes);
    if let Some(note) = note {
        message = message.header(NOTE, serde_json::to_string(note)?);
    }
    Ok((id, message))
}

fn publish(epoch: &str, id: &str, bytes: Vec<u8>) -> PublishMessage {
    PublishMessage::build().payload(Bytes::from(bytes)).header(EPOCH, epoch).message_id(id)
}

/// The same event at the same place from the same process has the same id, however often it is sent.
fn message_id(epoch: &str, offset: Offset, writer: &str, bytes: &[u8]) -> String {
    format!("{epoch}.{offset}.{writer}.{:08x}", crc32c::crc32c(bytes))
}
