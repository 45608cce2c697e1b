//! Reading the stream: Direct Get, which any replica answers, and the leader's word where it must be true.

use super::connect::{ANSWER_WAIT, Conn, chain};
use super::message::Entry;
use crate::log::LogError;
use async_nats::header::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{DirectGetErrorKind, RawMessageErrorKind};
use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use std::time::SystemTime;
use tokio::time::timeout;

/// Messages of one read, and their bytes.
pub(super) const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;
/// Status of the message that ends a batch.
const NO_CONTENT: u16 = 204;

impl Conn {
    /// The last message of `subject`, as the stream's leader knows it: never older than an acknowledgement.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Entry>, LogError> {
        match self.answered(self.stream.raw_message_builder().last_by_subject(subject).send()).await? {
            Ok(message) => self.entry(Entry::stored(&message), message.sequence).map(Some),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(self.error(chain(&error))),
            },
        }
    }

    /// The same as any replica knows it: cheap, and perhaps behind.
    pub(super) async fn last_anywhere(&self, subject: &str) -> Result<Option<Entry>, LogError> {
        self.direct(self.stream.direct_get_builder().last_by_subject(subject)).await
    }

    /// The first message of `subject` at or after `seq`, as any replica knows it.
    pub(super) async fn next_at(&self, subject: &str, seq: u64) -> Result<Option<Entry>, LogError> {
        self.direct(self.stream.direct_get_builder().sequence(seq).next_by_subject(subject)).await
    }

    async fn direct(
        &self,
        get: async_nats::jetstream::stream::DirectGetBuilder,
    ) -> Result<Option<Entry>, LogError> {
        match self.answered(get.send()).await? {
            Ok(message) => self.entry(Entry::stored(&message), message.sequence).map(Some),
            Err(error) if matches!(error.kind(), DirectGetErrorKind::NotFound) => Ok(None),
            Err(error) => Err(self.error(chain(&error))),
        }
    }

    /// Messages of `subject` from `seq` on, [`BATCH`] at most, as any replica knows them. Empty: it knows none.
    pub(super) async fn batch(&self, subject: &str, seq: u64, count: usize) -> Result<Vec<Entry>, LogError> {
        let inbox = self.client.new_inbox();
        let mut answers =
            self.client.subscribe(inbox.clone()).await.map_err(|error| self.error(chain(&error)))?;
        let request = serde_json::json!({
            "seq": seq, "batch": count.min(BATCH), "max_bytes": BATCH_BYTES, "next_by_subj": subject,
        });
        let to = format!("$JS.API.DIRECT.GET.{}", self.settings.stream_name());
        let sent = self.client.publish_with_reply(to, inbox, request.to_string().into()).await;
        sent.map_err(|error| self.error(chain(&error)))?;
        let mut entries = Vec::new();
        loop {
            let Ok(Some(message)) = self.answered(timeout(ANSWER_WAIT, answers.next())).await? else {
                return Err(self.error("it does not answer a read"));
            };
            match message.status {
                // The end of the batch; nothing there.
                Some(status) if status == StatusCode::NOT_FOUND || status.as_u16() == NO_CONTENT => {
                    return Ok(entries);
                }
                Some(status) if status != StatusCode::OK => {
                    let why = message.description.unwrap_or_default();
                    return Err(self.error(format!("a read was refused: {status} {why}")));
                }
                _ => {}
            }
            let (seq, entry) = from_headers(&message);
            entries.push(self.entry(entry, seq)?);
        }
    }

    /// Damage that no retry mends: somebody else writes to our subjects.
    fn entry(&self, entry: Option<Entry>, seq: u64) -> Result<Entry, LogError> {
        let name = self.settings.stream_name();
        entry.ok_or_else(|| {
            self.settings.error(
                format!("message {seq} of stream {name} is not Roomscribe's"),
                "find out who publishes to its subjects, and delete that message",
            )
        })
    }
}

/// A message as Direct Get and `republish` deliver it: where it stands is in its headers.
pub(super) fn from_headers(message: &Message) -> (u64, Option<Entry>) {
    let none = HeaderMap::new();
    let headers = message.headers.as_ref().unwrap_or(&none);
    let text = |name: &str| headers.get(name).map(|value| value.as_str());
    let seq = text("Nats-Sequence").and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let time = text("Nats-Time-Stamp").and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let time = time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
    (seq, Entry::read(seq, time, headers, &message.payload))
}
