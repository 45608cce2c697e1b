//! Bytes of a log file (contract §5): pure.
//!
//! `RSL1`, then records: `u32 length ‖ u32 crc32c ‖ JSON`, both numbers little endian, `length` and `crc32c` of the JSON
//! alone. The first record is [`Opening`]; every other one is a [`Stored`].
//!
//! `synced` is the file's acknowledged length when the record was written. It tells a torn tail (a batch that was never
//! acknowledged) from damage: if a good record says that the bad byte had been acknowledged, the file is damaged.

use crate::log::RECORD_BYTES_MAX;
use crate::model::{Record, WriterNote};
use serde::{Deserialize, Serialize};
use std::io;

/// First bytes of every log file.
pub(super) const MAGIC: &[u8; 4] = b"RSL1";
/// Bytes before a record's JSON.
pub(super) const FRAME: usize = 8;
/// Shortest JSON object; also keeps a run of zero bytes from looking like records.
const SHORTEST: usize = 2;

/// The first record: the log's incarnation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Format version, 1.
    pub(super) v: u32,
    pub(super) epoch: String,
    pub(super) session: String,
}

/// An event as stored: what viewers see, and beside it what is for the writer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) record: Record,
    #[serde(default)]
    pub(super) note: Option<WriterNote>,
    #[serde(default)]
    pub(super) synced: u64,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    #[serde(flatten)]
    record: &'a Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a WriterNote>,
    synced: u64,
}

/// A file's first bytes.
pub(super) fn encode_opening(opening: &Opening) -> io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    encode_json(opening, &mut bytes)?;
    Ok(bytes)
}

/// Adds a record to `bytes`.
pub(super) fn encode(
    record: &Record,
    note: Option<&WriterNote>,
    synced: u64,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    encode_json(&StoredRef { record, note, synced }, bytes)
}

fn encode_json<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> io::Result<()> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; FRAME]);
    serde_json::to_writer(&mut *bytes, value)?;
    let json = &bytes[start + FRAME..];
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let crc = crc32c::crc32c(json);
    bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    bytes[start + 4..start + FRAME].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The JSON of the record at `at`, or `None` when no whole, good record begins there.
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head: [u8; FRAME] = bytes.get(at..at.checked_add(FRAME)?)?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    if !(SHORTEST..=RECORD_BYTES_MAX).contains(&length) {
        return None;
    }
    let json = bytes.get(at + FRAME..(at + FRAME).checked_add(length)?)?;
    (crc32c::crc32c(json) == u32::from_le_bytes([e, f, g, h])).then_some(json)
}

/// What the bytes of a file hold.
#[derive(Debug, PartialEq)]
pub(super) struct Scan {
    pub(super) opening: Opening,
    /// Start of each record, and the record.
    pub(super) records: Vec<(u64, Stored)>,
    /// Bytes that are good; what follows was never acknowledged.
    pub(super) length: u64,
    /// What follows is more than a record that was cut short.
    pub(super) suspicious: bool,
}

/// What a file is.
#[derive(Debug, PartialEq)]
pub(super) enum Scanned {
    /// A log, perhaps with a torn tail.
    Log(Scan),
    /// Its making was interrupted: nothing was ever acknowledged.
    Unborn,
    /// Acknowledged bytes are bad.
    Damaged {
        /// First byte of the bad record.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads a whole file.
pub(super) fn scan(bytes: &[u8]) -> Scanned {
    let Some(json) = bytes.starts_with(MAGIC).then(|| frame_at(bytes, MAGIC.len())).flatten() else {
        return without_opening(bytes);
    };
    let opening = match serde_json::from_slice::<Opening>(json) {
        Ok(opening) if opening.v == 1 => opening,
        Ok(_) => return damaged(MAGIC.len(), "made by another version of roomscribe"),
        Err(_) => return damaged(MAGIC.len(), "the first record is not an opening"),
    };
    let mut at = MAGIC.len() + FRAME + json.len();
    let mut records = Vec::new();
    while let Some(json) = frame_at(bytes, at) {
        let Ok(stored) = serde_json::from_slice::<Stored>(json) else {
            return damaged(at, "a whole record that this version cannot read");
        };
        if stored.record.offset.0 != records.len() as u64 + 1 {
            return damaged(at, "an offset is missing or doubled");
        }
        records.push((at as u64, stored));
        at += FRAME + json.len();
    }
    if acknowledged_beyond(bytes, at) {
        return damaged(at, "a record fails its checksum and later ones are good");
    }
    Scanned::Log(Scan { opening, records, length: at as u64, suspicious: suspicious(bytes, at) })
}

fn damaged(at: usize, what: &'static str) -> Scanned {
    Scanned::Damaged { at: at as u64, what }
}

/// A file is made whole under another name, so only an interrupted file system leaves a shorter one.
fn without_opening(bytes: &[u8]) -> Scanned {
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    let cut_short = MAGIC.starts_with(magic) && !suspicious(bytes, MAGIC.len());
    match cut_short && !acknowledged_beyond(bytes, 0) {
        true => Scanned::Unborn,
        false => damaged(0, "not a roomscribe log, or its beginning is overwritten"),
    }
}

/// A good record after `bad` says that `bad` lies in what had been acknowledged before it was written.
fn acknowledged_beyond(bytes: &[u8], bad: usize) -> bool {
    let starts = (bad + 1..bytes.len()).filter(|at| bytes.get(at + FRAME) == Some(&b'{'));
    starts
        .filter_map(|at| serde_json::from_slice::<Stored>(frame_at(bytes, at)?).ok())
        .any(|stored| stored.synced > bad as u64)
}

/// The tail is not just a record cut short: it holds all the bytes that it announces, or announces nonsense.
fn suspicious(bytes: &[u8], at: usize) -> bool {
    let Some(tail) = bytes.get(at..).filter(|tail| tail.len() >= FRAME) else { return false };
    let length = tail.first_chunk::<4>().map_or(0, |head| u32::from_le_bytes(*head)) as usize;
    let zeros = tail.iter().all(|byte| *byte == 0);
    !zeros && (length > RECORD_BYTES_MAX || tail.len() >= FRAME + length)
}
