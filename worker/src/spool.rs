//! What a crash leaves: PCM that no final covers yet, and the speech session's state, in one small file per session.
//!
//! `spool.rss` is `RSS1` and records `kind u8 ‖ at u64 ‖ length u32 ‖ crc32c u32 ‖ bytes` (little endian; the sum covers
//! kind, at and bytes). It is rewritten once it has grown past what it must hold. A torn tail is what a `kill -9` leaves:
//! reading stops there. Writes are not fsynced: the spool outlives a process, not a machine (design §4).

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"RSS1";
const HEADER: usize = 17;
const PCM: u8 = 1;
const STATE: u8 = 2;
const COVERED: u8 = 3;
/// 120 s of PCM, the most that the pipeline keeps.
const MAX_PCM_BYTES: usize = 120 * 32_000;
/// The file may hold this much that is covered already before it is rewritten.
const SLACK_BYTES: u64 = 2 * 1024 * 1024;
/// No record is longer: the state of a long session has some tens of kilobytes.
const MAX_RECORD: usize = 1024 * 1024;

/// One session's spool.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    contents: Contents,
}

/// What a spool holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// (media sample, s16le), ascending.
    pub pcm: VecDeque<(u64, Bytes)>,
    /// JSON of the newest state.
    pub state: Option<Vec<u8>>,
}

impl Contents {
    fn cover(&mut self, upto: u64) {
        while self.pcm.front().is_some_and(|(at, bytes)| at + bytes.len() as u64 / 2 <= upto) {
            self.pcm.pop_front();
        }
    }

    fn push(&mut self, at: u64, bytes: Bytes) {
        self.pcm.push_back((at, bytes));
        let mut total: usize = self.pcm.iter().map(|(_, bytes)| bytes.len()).sum();
        while total > MAX_PCM_BYTES {
            total -= self.pcm.pop_front().map_or(total, |(_, bytes)| bytes.len());
        }
    }
}

impl Spool {
    /// Opens the spool in `folder`, making both; the file is readable by its owner only, because the state names the
    /// speech session's URL.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("spool.rss");
        let contents = match fs::read(&path) {
            Ok(bytes) => read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        let file = BufWriter::new(create(&path)?);
        let mut spool = Self { path, file, written: 0, contents };
        spool.rewrite()?;
        Ok(spool)
    }

    /// What is there now.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Keeps PCM that stands at media sample `at`.
    pub fn append(&mut self, at: u64, pcm: Bytes) -> io::Result<()> {
        self.contents.push(at, pcm.clone());
        self.record(PCM, at, &pcm)
    }

    /// Replaces the state.
    pub fn save_state(&mut self, json: Vec<u8>) -> io::Result<()> {
        self.record(STATE, 0, &json)?;
        self.contents.state = Some(json);
        Ok(())
    }

    /// Forgets PCM before media sample `upto`.
    pub fn cover(&mut self, upto: u64) -> io::Result<()> {
        self.contents.cover(upto);
        self.record(COVERED, upto, &[])?;
        let live: usize = self.contents.pcm.iter().map(|(_, bytes)| bytes.len() + HEADER).sum();
        if self.written > live as u64 + SLACK_BYTES { self.rewrite() } else { Ok(()) }
    }

    /// Deletes a session's spool.
    pub fn erase(folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn record(&mut self, kind: u8, at: u64, bytes: &[u8]) -> io::Result<()> {
        write_record(&mut self.file, kind, at, bytes)?;
        self.written += (HEADER + bytes.len()) as u64;
        self.file.flush()
    }

    /// Writes what counts into a new file that replaces the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = BufWriter::new(create(&temporary)?);
        file.write_all(MAGIC)?;
        let mut written = MAGIC.len();
        if let Some(state) = &self.contents.state {
            write_record(&mut file, STATE, 0, state)?;
            written += HEADER + state.len();
        }
        for (at, bytes) in &self.contents.pcm {
            write_record(&mut file, PCM, *at, bytes)?;
            written += HEADER + bytes.len();
        }
        file.flush()?;
        fs::rename(&temporary, &self.path)?;
        (self.file, self.written) = (file, written as u64);
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    // Not truncated: `open` replaces the file by `rewrite`, so that a crash between the two loses nothing.
    let temporary = path.extension().is_some_and(|extension| extension == "new");
    OpenOptions::new().write(true).create(true).truncate(temporary).mode(0o600).open(path)
}

fn write_record(out: &mut impl Write, kind: u8, at: u64, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&[kind])?;
    out.write_all(&at.to_le_bytes())?;
    out.write_all(&(bytes.len() as u32).to_le_bytes())?;
    out.write_all(&sum(kind, at, bytes).to_le_bytes())?;
    out.write_all(bytes)
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
            PCM => contents.push(at, Bytes::copy_from_slice(payload)),
            STATE => contents.state = Some(payload.to_vec()),
            COVERED => contents.cover(at),
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

    fn pcm(seed: u8) -> Bytes {
        vec![seed; 320].into()
    }

    #[test]
    fn what_was_written_before_a_crash_is_there_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(0, pcm(1)).unwrap();
        spool.append(160, pcm(2)).unwrap();
        spool.save_state(b"{}".to_vec()).unwrap();
        spool.cover(160).unwrap();
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
            spool.append(u64::from(index) * 160, pcm(index)).unwrap();
        }
        drop(spool);
        let whole = fs::read(folder.path().join("spool.rss")).unwrap();
        let record = HEADER + 320;
        for cut in 0..=whole.len() {
            let expected = cut.saturating_sub(MAGIC.len()) / record;
            assert_eq!(read(&whole[..cut]).pcm.len(), expected, "cut at byte {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_reading_and_invents_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(0, pcm(1)).unwrap();
        drop(spool);
        let mut bytes = fs::read(folder.path().join("spool.rss")).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(read(&bytes), Contents::default());
    }

    #[test]
    fn the_file_stays_small_however_long_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        for index in 0..2000u64 {
            spool.append(index * 1600, vec![0; 3200].into()).unwrap();
            spool.cover(index * 1600).unwrap();
        }
        let size = fs::metadata(folder.path().join("spool.rss")).unwrap().len();
        assert!(size <= SLACK_BYTES + 100_000, "{size} bytes");
    }

    #[test]
    fn more_than_two_minutes_are_not_kept() {
        let mut contents = Contents::default();
        for index in 0..130u64 {
            contents.push(index * 16_000, vec![0; 32_000].into());
        }
        assert_eq!(contents.pcm.len(), 120);
        assert_eq!(contents.pcm.front().map(|(at, _)| *at), Some(10 * 16_000));
    }
}
