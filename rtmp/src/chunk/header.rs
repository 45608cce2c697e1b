//! The header of one chunk: basic header (1 to 3 bytes), message header (11, 7, 3 or 0), extended timestamp (0 or 4).

/// The longest header.
const MAX_HEADER_BYTES: usize = 3 + 11 + 4;

/// The field value that says: the time follows in four more bytes.
const EXTENDED: u32 = 0xFF_FFFF;

/// A header in the making: bytes are pushed until it is complete, so any cut of the stream is the same.
#[derive(Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    len: usize,
}

impl PartialHeader {
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Chunk type and chunk stream id, once their bytes are there.
    pub(super) fn basic(&self) -> Option<(u8, u32)> {
        let have = self.bytes.get(..self.len)?;
        let first = *have.first()?;
        let csid = match first & 0x3F {
            0 => 64 + u32::from(*have.get(1)?),
            1 => 64 + u32::from(*have.get(1)?) + 256 * u32::from(*have.get(2)?),
            id => u32::from(id),
        };
        Some((first >> 6, csid))
    }

    /// The whole header, once its bytes are there. `inherited_extended`: the chunk stream's last header had an
    /// extended timestamp, which a type 3 chunk then repeats.
    pub(super) fn complete(&self, fmt: u8, inherited_extended: bool) -> Option<Fields> {
        let start = self.basic_length();
        let end = start + message_header_length(fmt);
        if self.len < end {
            return None;
        }
        let field = |at: usize, n: usize| self.big_endian(start + at, n);
        let extended = if fmt == 3 { inherited_extended } else { field(0, 3) == EXTENDED };
        if extended && self.len < end + 4 {
            return None;
        }
        let time = match (extended, fmt) {
            (true, _) => Some(self.big_endian(end, 4)),
            (false, 3) => None,
            (false, _) => Some(field(0, 3)),
        };
        Some(Fields {
            fmt,
            extended,
            time,
            message: (fmt < 2).then(|| (field(3, 3), self.bytes.get(start + 6).copied().unwrap_or_default())),
            // The message stream id of type 0 is not looked at: there is one stream, and publishers disagree on it.
        })
    }

    fn basic_length(&self) -> usize {
        match self.bytes.first().map(|first| first & 0x3F) {
            Some(0) => 2,
            Some(1) => 3,
            _ => 1,
        }
    }

    fn big_endian(&self, at: usize, n: usize) -> u32 {
        self.bytes.iter().skip(at).take(n).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
    }
}

fn message_header_length(fmt: u8) -> usize {
    match fmt {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    }
}

/// What a complete header says; absent fields come from the chunk stream's last header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) fmt: u8,
    pub(super) extended: bool,
    /// Absolute for type 0, else a delta.
    pub(super) time: Option<u32>,
    /// Length and type of the message.
    pub(super) message: Option<(u32, u8)>,
}
