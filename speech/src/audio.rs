//! The audio formats of `POST /v2/live` and their decoding to samples per channel.

/// What the bytes of a session are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) encoding: Encoding,
    /// 8, 16, 24 or 32; 8 for A-law and µ-law.
    pub(crate) bit_depth: u16,
    /// Hz.
    pub(crate) sample_rate: u32,
    /// 1 to 8, interleaved.
    pub(crate) channels: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Pcm,
    Alaw,
    Ulaw,
}

impl Format {
    /// Bytes of one sample of all channels.
    pub(crate) fn frame_bytes(self) -> usize {
        usize::from(self.bit_depth / 8) * usize::from(self.channels)
    }

    pub(crate) fn seconds(self, bytes: u64) -> f64 {
        bytes as f64 / (self.frame_bytes() as f64 * f64::from(self.sample_rate))
    }

    /// Samples from −1 to 1, one vector per channel. Bytes after the last whole frame are ignored.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<Vec<f32>> {
        let width = usize::from(self.bit_depth / 8);
        let mut channels = vec![Vec::with_capacity(bytes.len() / self.frame_bytes()); self.channels.into()];
        for frame in bytes.chunks_exact(self.frame_bytes()) {
            for (channel, sample) in channels.iter_mut().zip(frame.chunks_exact(width)) {
                channel.push(self.sample(sample));
            }
        }
        channels
    }

    fn sample(self, bytes: &[u8]) -> f32 {
        match (self.encoding, bytes) {
            (Encoding::Alaw, [b]) => f32::from(alaw(*b)) / 32768.0,
            (Encoding::Ulaw, [b]) => f32::from(ulaw(*b)) / 32768.0,
            // WAV's 8-bit PCM is unsigned, the deeper ones are signed.
            (Encoding::Pcm, [b]) => (f32::from(*b) - 128.0) / 128.0,
            (_, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32768.0,
            (_, [a, b, c]) => (i32::from_le_bytes([0, *a, *b, *c]) as f32) / 2_147_483_648.0,
            (_, [a, b, c, d]) => (i32::from_le_bytes([*a, *b, *c, *d]) as f32) / 2_147_483_648.0,
            _ => 0.0,
        }
    }

    /// A WAV header for `data_bytes` bytes of this format. Sizes beyond 4 GiB are clamped, as recorders do.
    pub(crate) fn wav_header(self, data_bytes: u64) -> Vec<u8> {
        let size = u32::try_from(data_bytes).unwrap_or(u32::MAX - 36).min(u32::MAX - 36);
        let tag: u16 = match self.encoding {
            Encoding::Pcm => 1,
            Encoding::Alaw => 6,
            Encoding::Ulaw => 7,
        };
        let frame = u16::try_from(self.frame_bytes()).unwrap_or(u16::MAX);
        let mut header = Vec::with_capacity(44);
        header.extend(b"RIFF");
        header.extend((size + 36).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(16u32.to_le_bytes());
        header.extend(tag.to_le_bytes());
        header.extend(self.channels.to_le_bytes());
        header.extend(self.sample_rate.to_le_bytes());
        header.extend((self.sample_rate * u32::from(frame)).to_le_bytes());
        header.extend(frame.to_le_bytes());
        header.extend(self.bit_depth.to_le_bytes());
        header.extend(b"data");
        header.extend(size.to_le_bytes());
        header
    }
}

/// Length of a WAV header at the start of `bytes`; 0 when there is none.
pub(crate) fn wav_header_len(bytes: &[u8]) -> usize {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return 0;
    }
    bytes.windows(4).position(|w| w == b"data").map_or(0, |at| (at + 8).min(bytes.len()))
}

/// ITU-T G.711 A-law to 16-bit.
fn alaw(byte: u8) -> i16 {
    let b = byte ^ 0x55;
    let mantissa = i16::from(b & 0x0f) << 4;
    let magnitude = match i16::from((b >> 4) & 7) {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if b & 0x80 == 0 { -magnitude } else { magnitude }
}

/// ITU-T G.711 µ-law to 16-bit.
fn ulaw(byte: u8) -> i16 {
    let b = !byte;
    let magnitude = (((i32::from(b & 0x0f) << 3) + 0x84) << ((b >> 4) & 7)) - 0x84;
    let magnitude = i16::try_from(magnitude).unwrap_or(i16::MAX);
    if b & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(encoding: Encoding, bit_depth: u16, channels: u16) -> Format {
        Format { encoding, bit_depth, sample_rate: 16_000, channels }
    }

    #[test]
    fn every_depth_reads_full_scale_and_zero() {
        assert_eq!(format(Encoding::Pcm, 8, 1).decode(&[0, 128]), [[-1.0, 0.0]]);
        assert_eq!(format(Encoding::Pcm, 16, 1).decode(&[0, 0x80, 0, 0]), [[-1.0, 0.0]]);
        assert_eq!(format(Encoding::Pcm, 24, 1).decode(&[0, 0, 0x80, 0, 0, 0]), [[-1.0, 0.0]]);
        assert_eq!(format(Encoding::Pcm, 32, 1).decode(&[0, 0, 0, 0x80, 0, 0, 0, 0]), [[-1.0, 0.0]]);
    }

    #[test]
    fn g711_samples_are_those_of_the_standard() {
        // Extremes and the smallest step: ITU-T G.711 tables 1a and 2a.
        assert_eq!([alaw(0xAA), alaw(0x2A), alaw(0xD5), alaw(0x55)], [32256, -32256, 8, -8]);
        assert_eq!([ulaw(0x80), ulaw(0x00), ulaw(0xFF), ulaw(0x7F)], [32124, -32124, 0, 0]);
    }

    #[test]
    fn channels_are_taken_apart_in_interleave_order() {
        let two = format(Encoding::Pcm, 16, 2);
        assert_eq!(two.decode(&[0, 0x40, 0, 0xC0, 0, 0x20, 0, 0xE0]), [[0.5, 0.25], [-0.5, -0.25]]);
    }

    #[test]
    fn a_wav_header_is_found_and_our_own_is_read_back() {
        let header = format(Encoding::Pcm, 16, 1).wav_header(32_000);
        assert_eq!(header.len(), 44);
        assert_eq!(wav_header_len(&header), 44);
        assert_eq!(wav_header_len(&[0; 64]), 0);
    }
}
