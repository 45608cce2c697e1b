//! ADTS (ISO/IEC 13818-7 §6.2): a file of AAC frames, each with its own header.

/// Samples of one AAC frame.
pub const FRAME_SAMPLES: u64 = 1024;
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// A recording as RTMP wants it: one config, then raw frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// AudioSpecificConfig.
    pub config: [u8; 2],
    /// Hz.
    pub rate: u32,
    /// Raw frames, without ADTS headers.
    pub frames: Vec<Vec<u8>>,
}

/// Why bytes are not a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdtsError {
    /// Byte of the file at which no ADTS header is.
    #[error("not ADTS AAC at byte {0}")]
    NotAdts(usize),
    /// The file ends within a frame.
    #[error("the file ends within the frame at byte {0}")]
    Cut(usize),
}

/// Reads a whole file.
pub fn parse(bytes: &[u8]) -> Result<Recording, AdtsError> {
    let mut recording: Option<Recording> = None;
    let mut at = 0;
    while at < bytes.len() {
        let header: &[u8; 7] =
            bytes.get(at..at + 7).and_then(|header| header.try_into().ok()).ok_or(AdtsError::Cut(at))?;
        if header[0] != 0xff || header[1] & 0xf6 != 0xf0 {
            return Err(AdtsError::NotAdts(at));
        }
        let protected = header[1] & 1 == 0;
        let length =
            usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5]) >> 5;
        let start = if protected { 9 } else { 7 };
        let frame =
            bytes.get(at + start..at + length).filter(|_| length > start).ok_or(AdtsError::Cut(at))?;
        let first = match &mut recording {
            Some(recording) => recording,
            None => recording.insert(describe(header).ok_or(AdtsError::NotAdts(at))?),
        };
        first.frames.push(frame.to_vec());
        at += length;
    }
    recording.ok_or(AdtsError::NotAdts(0))
}

/// The first `seconds` of a file that is good, as a file again.
pub fn first(bytes: &[u8], seconds: u64) -> Vec<u8> {
    let Ok(recording) = parse(bytes) else { return Vec::new() };
    let count = (seconds * u64::from(recording.rate)).div_ceil(FRAME_SAMPLES) as usize;
    let mut end = 0;
    for _ in 0..count.min(recording.frames.len()) {
        let header = &bytes[end..];
        end += usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5]) >> 5;
    }
    bytes[..end].to_vec()
}

fn describe(header: &[u8; 7]) -> Option<Recording> {
    let object = (header[2] >> 6) + 1;
    let index = header[2] >> 2 & 15;
    let channels = (header[2] & 1) << 2 | header[3] >> 6;
    let rate = *RATES.get(usize::from(index))?;
    let config = u16::from(object) << 11 | u16::from(index) << 7 | u16::from(channels) << 3;
    Some(Recording { config: config.to_be_bytes(), rate, frames: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let length = payload.len() + 7;
        let mut bytes = vec![
            0xff,
            0xf1,
            0x4c,
            0x80 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_come_without_their_headers_and_the_config_is_that_of_an_egress_at_48_khz() {
        let file = [frame(&[1, 2, 3]), frame(&[4])].concat();
        let recording = parse(&file).unwrap();
        assert_eq!((recording.config, recording.rate), ([0x11, 0x90], 48_000));
        assert_eq!(recording.frames, [vec![1, 2, 3], vec![4]]);
    }

    #[test]
    fn the_first_seconds_are_a_file_again() {
        let file = frame(&[1, 2, 3]).repeat(100);
        assert_eq!(parse(&first(&file, 1)).unwrap().frames.len(), 47);
        assert_eq!(first(&file, 60), file);
        assert_eq!(first(b"RIFF", 1), b"");
    }

    #[test]
    fn what_is_not_adts_is_named_by_its_byte() {
        assert_eq!(parse(b"RIFFWAVE"), Err(AdtsError::NotAdts(0)));
        assert_eq!(parse(b""), Err(AdtsError::NotAdts(0)));
        assert_eq!(parse(&[frame(&[1]), vec![0; 7]].concat()), Err(AdtsError::NotAdts(8)));
        assert_eq!(parse(&frame(&[1, 2, 3])[..9]), Err(AdtsError::Cut(0)));
    }
}
