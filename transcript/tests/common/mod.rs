//! Events, and waiting with a deadline.
#![allow(dead_code, reason = "each test file uses its own part")]

use roomscribe_transcript::{
    Append, End, Event, Final, Follow, FollowItem, Gap, Generation, Log, LogError, MediaMs, Offset, Partial,
    Record, SegmentId, SessionId, Status, Translation, WriterNote,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A folder in memory where there is one: these tests are about bytes, and real fsyncs take minutes.
pub(crate) fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn session(n: u32) -> SessionId {
    SessionId::parse(&format!("019aaaaa-0000-7000-8000-{n:012}")).unwrap()
}

pub(crate) fn seg(n: u64) -> SegmentId {
    SegmentId(format!("1-00_{n:08}"))
}

pub(crate) fn final_of(n: u64) -> Event {
    Event::Final(Final {
        seg: seg(n),
        start_ms: MediaMs(n * 1000),
        end_ms: MediaMs(n * 1000 + 900),
        speaker: None,
        language: Some("en".into()),
        text: format!("sentence number {n}"),
        words: Vec::new(),
        confidence: Some(0.95),
        at: "2026-11-23T10:00:04.120Z".into(),
    })
}

pub(crate) fn translation_of(n: u64, language: &str) -> Event {
    Event::Translation(Translation { seg: seg(n), language: language.into(), text: "Satz".into() })
}

pub(crate) fn status() -> Event {
    Event::Status(Status { state: "Live".into(), reason: "Audio".into(), message: String::new() })
}

pub(crate) fn gap() -> Event {
    Event::Gap(Gap { start_ms: MediaMs(0), end_ms: MediaMs(7), reason: "PublisherLost".into() })
}

pub(crate) fn end() -> Event {
    Event::End(End { reason: "RoomEnded".into() })
}

pub(crate) fn partial(n: u64, rev: u32, after: u64) -> Partial {
    Partial {
        seg: seg(n),
        rev,
        after: Offset(after),
        start_ms: MediaMs(n * 1000),
        end_ms: MediaMs(n * 1000 + 500),
        speaker: None,
        text: format!("reading {rev} of {n}"),
    }
}

pub(crate) fn note(acked_byte: u64) -> WriterNote {
    WriterNote { speech_ordinal: 1, speech_session: Some("s".into()), acked_byte, ..WriterNote::default() }
}

pub(crate) fn by(generation: u32, expected_head: u64, event: Event) -> Append {
    Append { generation: Generation(generation), expected_head: Offset(expected_head), event, note: None }
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing came within 20 s")
}

/// Appends finals `from+1..=to` of attempt 1 to a log whose head is `from`.
pub(crate) async fn append_finals(log: &Log, id: &SessionId, from: u64, to: u64) {
    for n in from..to {
        let appended = log.append(id, by(1, n, final_of(n + 1))).await.unwrap();
        assert_eq!(appended.offset, Offset(n + 1));
    }
}

pub(crate) async fn next_record(follow: &mut Follow) -> Arc<Record> {
    loop {
        match soon(follow.next()).await.expect("the log ended early").expect("the log failed") {
            FollowItem::Record(record) => return record,
            FollowItem::Partial(_) => {}
        }
    }
}

pub(crate) async fn next_partial(follow: &mut Follow) -> Arc<Partial> {
    match soon(follow.next()).await.expect("the log ended early").expect("the log failed") {
        FollowItem::Partial(partial) => partial,
        FollowItem::Record(record) => panic!("a record came: {record:?}"),
    }
}

pub(crate) async fn offsets(follow: &mut Follow, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(next_record(follow).await.offset.0);
    }
    seen
}

pub(crate) async fn read_all(log: &Log, id: &SessionId) -> Result<Vec<Arc<Record>>, LogError> {
    let mut all: Vec<Arc<Record>> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |record| record.offset);
        let page = log.read(id, after, 1000).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
