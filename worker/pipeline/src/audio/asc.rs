//! AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): what the decoder must know before the first frame.

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const ESCAPE: u32 = 15;
const AAC_LC: u32 = 2;
/// SBR and PS: the AAC-LC core inside is enough for 16 kHz mono.
const HE_AAC: [u32; 2] = [5, 29];

/// A config that the decoder takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Hz of the decoded audio.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u32,
    /// The bytes for the decoder: always plain AAC-LC.
    pub bytes: Vec<u8>,
}

/// Checks a config; for HE-AAC, names its LC core. The error says in a few words what it is instead.
pub(crate) fn parse(bytes: &[u8]) -> Result<Config, String> {
    let mut bits = Bits { bytes, at: 0 };
    let object = bits.object_type().ok_or("an AAC header that is too short")?;
    let rate = bits.rate()?;
    let channels = bits.take(4).ok_or("an AAC header that is too short")?;
    if HE_AAC.contains(&object) {
        // The extension's rate and the core's object type follow; the core runs at `rate`.
        bits.rate()?;
        let core = bits.object_type().ok_or("an AAC header that is too short")?;
        if core != AAC_LC {
            return Err(format!("HE-AAC over object type {core}"));
        }
    } else if object != AAC_LC {
        return Err(format!("AAC object type {object}"));
    }
    if !(1..=2).contains(&channels) {
        return Err(format!("AAC with channel configuration {channels}"));
    }
    // GASpecificConfig: frameLengthFlag, dependsOnCoreCoder. Absent bits are zero: some encoders cut the header short.
    match (bits.take(1), bits.take(1)) {
        (Some(1), _) => return Err("AAC with frames of 960 samples".to_owned()),
        (_, Some(1)) => return Err("scalable AAC".to_owned()),
        _ => {}
    }
    let index =
        RATES.iter().position(|known| *known == rate).ok_or_else(|| format!("AAC at {rate} Hz"))? as u32;
    let plain = AAC_LC << 11 | index << 7 | channels << 3;
    Ok(Config { rate, channels, bytes: vec![(plain >> 8) as u8, plain as u8] })
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    /// One of the 13 standard rates: an escape rate of 1 Hz would make a resampler ask for 15 million samples.
    fn rate(&mut self) -> Result<u32, String> {
        let short = "an AAC header that is too short";
        let index = self.take(4).ok_or(short)?;
        let rate = match index {
            ESCAPE => self.take(24).ok_or(short)?,
            index => *RATES.get(index as usize).ok_or("AAC at a reserved rate")?,
        };
        if RATES.contains(&rate) { Ok(rate) } else { Err(format!("AAC at {rate} Hz")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_publishers_send_is_plain_lc() {
        assert_eq!(parse(&[0x12, 0x10]), Ok(Config { rate: 44_100, channels: 2, bytes: vec![0x12, 0x10] }));
        assert_eq!(parse(&[0x11, 0x90]), Ok(Config { rate: 48_000, channels: 2, bytes: vec![0x11, 0x90] }));
        let ffmpeg = [0x11, 0x90, 0x56, 0xe5, 0x00];
        assert_eq!(parse(&ffmpeg), Ok(Config { rate: 48_000, channels: 2, bytes: vec![0x11, 0x90] }));
    }

    #[test]
    fn explicit_he_aac_becomes_its_lc_core() {
        // object 5, rate index 6 (24 kHz), 2 channels, extension rate index 3 (48 kHz), object 2.
        let bits = (5u32 << 27) | (6 << 23) | (2 << 19) | (3 << 15) | (2 << 10);
        assert_eq!(
            parse(&bits.to_be_bytes()),
            Ok(Config { rate: 24_000, channels: 2, bytes: vec![0x13, 0x10] })
        );
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[0x12]).is_err());
        assert!(parse(&[0x0a, 0x10]).unwrap_err().contains("object type 1"));
        assert!(parse(&[0x11, 0xb0]).unwrap_err().contains("channel configuration 6"));
        assert!(parse(&[0x12, 0x14]).unwrap_err().contains("960"));
        assert!(parse(&[0x12, 0x12]).unwrap_err().contains("scalable"));
        // Escape rate of 1 Hz.
        let bits = (2u64 << 59) | (15 << 55) | (1 << 31) | (1 << 27);
        assert!(parse(&bits.to_be_bytes()).unwrap_err().contains("1 Hz"));
    }
}
