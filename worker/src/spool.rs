//! What a crash leaves: PCM that no final covers yet, and the speech session's state, in one small file per session.
//!
//! `spool.rss` is `RSS1` and records `kind u8 ‖ at u64 ‖ length u32 ‖ crc32c u32 ‖ bytes` (little endian; the sum covers
//! kind, at and bytes). It is rewritten once it has grown past what it must hold. A torn tail is what a `kill -9` leaves:
//! reading stops there. Writes are not fsynced: the spool outlives a process, not a machine (design §4).
//!
//! What it must hold is in memory too, so a write that failed (a full disk) costs nothing once there is space again: the
//! whole file is written anew.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"RSS1";
const HEADER: usize = 17;
const PCM: u8 = 1;
const STATE: u8 = 2;
const COVERED: u8 = 3;
/// `at` is the wall time at which the PCM before it was heard, milliseconds since 1970.
const HEARD: u8 = 4;
/// 120 s of PCM, the most that the pipeline keeps.
const MAX_PCM_BYTES: usize = 120 * 32_000;
/// The file may hold this much that is covered already before it is rewritten.
const SLACK_BYTES: usize = 2 * 1024 * 1024;
/// No record is longer: the state of a long session has some tens of kilobytes.
const MAX_RECORD: usize = 1024 * 1024;
/// While the disk is full, one flush in so many tries it.
const RETRY_EVERY: u32 = 10;

/// One session's spool.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: Option<File>,
    /// Records that the file does not hold yet.
    pending: Vec<u8>,
    written: usize,
    contents: Contents,
    /// PCM came since the last flush.
    heard: bool,
    /// The last write failed: the file must be written anew.
    damaged: Option<io::ErrorKind>,
    skipped: u32,
}

/// What a spool holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// (media sample, s16le), ascending.
    pub pcm: VecDeque<(u64, Vec<u8>)>,
    /// JSON of the newest state.
    pub state: Option<Vec<u8>>,
    /// Wall time at which the last PCM was heard, milliseconds since 1970; 0 = never.
    pub heard_wall_ms: u64,
    /// Bytes of PCM.
    total: usize,
}

impl Contents {
    fn cover(&mut self, upto: u64) {
        while self.pcm.front().is_some_and(|(at, bytes)| at + bytes.len() as u64 / 2 <= upto) {
            self.drop_oldest();
        }
    }

    fn push(&mut self, at: u64, bytes: &[u8]) {
        self.pcm.push_back((at, bytes.to_vec()));
        self.total += bytes.len();
        while self.total > MAX_PCM_BYTES {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        self.total -= self.pcm.pop_front().map_or(self.total, |(_, bytes)| bytes.len());
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        if let Some(state) = &self.state {
            write_record(&mut bytes, STATE, 0, state);
        }
        self.pcm.iter().for_each(|(at, pcm)| write_record(&mut bytes, PCM, *at, pcm));
        write_record(&mut bytes, HEARD, self.heard_wall_ms, &[]);
        bytes
    }
}

impl Spool {
    /// Opens the spool in `folder`, making both; the file is readable by its owner only, because the state names the
    /// speech session's URL. A full disk does not hinder: what the file holds is read, and writing goes on later.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("spool.rss");
        let contents = match fs::read(&path) {
            Ok(bytes) => read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        let (file, pending) = (None, Vec::new());
        let mut spool =
            Self { path, file, pending, written: 0, contents, heard: false, damaged: None, skipped: 0 };
        match spool.rewrite() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => spool.damaged = Some(error.kind()),
            outcome => outcome?,
        }
        Ok(spool)
    }

    /// What is there now.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Keeps PCM that stands at media sample `at`; on disk with the next [`flush`](Self::flush).
    pub fn append(&mut self, at: u64, pcm: &[u8]) {
        self.contents.push(at, pcm);
        self.heard = true;
        self.record(PCM, at, pcm);
    }

    /// Replaces the state.
    pub fn save_state(&mut self, json: Vec<u8>) {
        self.record(STATE, 0, &json);
        self.contents.state = Some(json);
    }

    /// Forgets PCM before media sample `upto`.
    pub fn cover(&mut self, upto: u64) {
        self.contents.cover(upto);
        self.record(COVERED, upto, &[]);
    }

    /// Writes what was recorded since the last flush; `wall_ms` is now.
    pub fn flush(&mut self, wall_ms: u64) -> io::Result<()> {
        if std::mem::take(&mut self.heard) {
            self.contents.heard_wall_ms = wall_ms;
            self.record(HEARD, wall_ms, &[]);
        }
        if let Some(kind) = self.damaged {
            self.skipped += 1;
            if !self.skipped.is_multiple_of(RETRY_EVERY) {
                return Err(kind.into());
            }
            return self.rewrite();
        }
        let live = self.contents.total + self.contents.pcm.len() * HEADER;
        if self.written + self.pending.len() > live + SLACK_BYTES {
            return self.rewrite();
        }
        let Some(file) = self.file.as_mut().filter(|_| !self.pending.is_empty()) else { return Ok(()) };
        let outcome = file.write_all(&self.pending);
        self.written += self.pending.len();
        self.pending.clear();
        self.damaged = outcome.as_ref().err().map(io::Error::kind);
        outcome
    }

    /// Deletes a session's spool.
    pub fn erase(folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What a damaged file lacks, the next `rewrite` writes.
    fn record(&mut self, kind: u8, at: u64, bytes: &[u8]) {
        if self.damaged.is_none() {
            write_record(&mut self.pending, kind, at, bytes);
        }
    }

    /// Writes what counts into a new file that replaces the old one: a crash between the two loses nothing.
    fn rewrite(&mut self) -> io::Result<()> {
        self.pending.clear();
        let temporary = self.path.with_extension("new");
        let bytes = self.contents.encode();
        let outcome = create(&temporary).and_then(|mut file| {
            file.write_all(&bytes)?;
            fs::rename(&temporary, &self.path)?;
            Ok(file)
        });
        self.damaged = outcome.as_ref().err().map(io::Error::kind);
        match outcome {
            Ok(file) => {
                (self.file, self.written) = (Some(file), bytes.len());
                Ok(())
            }
            Err(error) => {
                // Half a copy would take the space that the log needs first.
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_record(out: &mut Vec<u8>, kind: u8, at: u64, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(&sum(kind, at, bytes).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn sum(kind: u8, at: u64, bytes: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&[kind]), &at.to_le_bytes());
    crc32c::crc32c_append(head, bytes)
}

/// Every whole record; the first that is not good ends it.
fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else { return contents };
    while let Some((kind, at, payload)) = next_record(&mut rest) {
        match kind {
            PCM => contents.push(at, payload),
            STATE => contents.state = Some(payload.to_vec()),
            COVERED => contents.cover(at),
            HEARD => contents.heard_wall_ms = at,
            _ => {}
        }
    }
    contents
}

fn next_record<'a>(rest: &mut &'a [u8]) -> Option<(u8, u64, &'a [u8])> {
    let mut header = [0u8; HEADER];
    rest.read_exact(&mut header).ok()?;
    let at = u64::from_le_bytes(header[1..9].try_into().ok()?);
    let length = u32::from_le_bytes(header[9..13].try_into().ok()?) as usize;
    let expected = u32::from_le_bytes(header[13..17].try_into().ok()?);
    if length > MAX_RECORD || length > rest.len() {
        return None;
    }
    let (payload, after) = rest.split_at(length);
    *rest = after;
    (sum(header[0], at, payload) == expected).then_some((header[0], at, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(seed: u8) -> Vec<u8> {
        vec![seed; 320]
    }

    #[test]
    fn what_was_written_before_a_crash_is_there_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(0, &pcm(1));
        spool.append(160, &pcm(2));
        spool.save_state(b"{}".to_vec());
        spool.cover(160);
        spool.flush(1_700_000_000_000).unwrap();
        let before = spool.contents().clone();
        drop(spool);
        let again = Spool::open(folder.path()).unwrap();
        assert_eq!(*again.contents(), before);
        assert_eq!(before.pcm, [(160, pcm(2))]);
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_every_record_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        for index in 0..4u8 {
            spool.append(u64::from(index) * 160, &pcm(index));
        }
        spool.flush(1).unwrap();
        drop(spool);
        let whole = fs::read(folder.path().join("spool.rss")).unwrap();
        let record = HEADER + 320;
        for cut in 0..=whole.len() {
            // `open` wrote a HEARD record first.
            let expected = (cut.saturating_sub(MAGIC.len() + HEADER) / record).min(4);
            assert_eq!(read(&whole[..cut]).pcm.len(), expected, "cut at byte {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_reading_and_invents_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(0, &pcm(1));
        spool.flush(1).unwrap();
        drop(spool);
        let mut bytes = fs::read(folder.path().join("spool.rss")).unwrap();
        let last_of_pcm = bytes.len() - HEADER - 1;
        bytes[last_of_pcm] ^= 1;
        assert_eq!(read(&bytes), Contents::default());
    }

    #[test]
    fn the_file_stays_small_however_long_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        for index in 0..2000u64 {
            spool.append(index * 1600, &vec![0; 3200]);
            spool.cover(index * 1600);
            spool.flush(index).unwrap();
        }
        let size = fs::metadata(folder.path().join("spool.rss")).unwrap().len();
        assert!(size <= SLACK_BYTES as u64 + 100_000, "{size} bytes");
    }

    #[test]
    fn more_than_two_minutes_are_not_kept() {
        let mut contents = Contents::default();
        for index in 0..130u64 {
            contents.push(index * 16_000, &vec![0; 32_000]);
        }
        assert_eq!(contents.pcm.len(), 120);
        assert_eq!(contents.pcm.front().map(|(at, _)| *at), Some(10 * 16_000));
    }

    #[test]
    fn a_write_that_failed_in_the_middle_is_made_good_by_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(0, &pcm(1));
        spool.flush(1).unwrap();
        spool.damaged = Some(io::ErrorKind::StorageFull);
        for index in 1..=10u8 {
            spool.append(u64::from(index) * 160, &pcm(index));
            let outcome = spool.flush(u64::from(index)).map_err(|error| error.kind());
            let expected = if index < 10 { Err(io::ErrorKind::StorageFull) } else { Ok(()) };
            assert_eq!(outcome, expected, "flush {index}");
        }
        let before = spool.contents().clone();
        drop(spool);
        assert_eq!(*Spool::open(folder.path()).unwrap().contents(), before);
        assert_eq!((before.pcm.len(), before.heard_wall_ms), (11, 10));
    }
}
