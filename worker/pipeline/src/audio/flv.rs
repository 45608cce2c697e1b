//! The first bytes of an FLV audio tag's body (Adobe "Video File Format Specification" 10.1, E.4.2).

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// AudioSpecificConfig.
    Header(&'a [u8]),
    /// One raw AAC frame.
    Frame(&'a [u8]),
    /// Nothing to decode.
    Nothing,
    /// Another format, by its name.
    Other(&'static str),
}

/// Tells what a body is. SoundFormat is the upper half of the first byte; with AAC (10), the second says header or frame.
pub(crate) fn read(body: &[u8]) -> Body<'_> {
    match body {
        [first, ..] if first >> 4 != 10 => Body::Other(name(first >> 4)),
        // An empty header says nothing yet: ffmpeg sends one when it copies ADTS, and the true one with the first frame.
        [_, 0, config @ ..] if !config.is_empty() => Body::Header(config),
        [_, 1, frame @ ..] if !frame.is_empty() => Body::Frame(frame),
        _ => Body::Nothing,
    }
}

fn name(format: u8) -> &'static str {
    match format {
        0 | 3 => "uncompressed PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser audio",
        7 | 8 => "G.711",
        9 => "enhanced RTMP audio",
        11 => "Speex",
        _ => "an unknown audio format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_header_a_frame_another_format_or_nothing() {
        assert_eq!(read(&[0xaf, 0, 0x12, 0x10]), Body::Header(&[0x12, 0x10]));
        assert_eq!(read(&[0xaf, 1, 0x21]), Body::Frame(&[0x21]));
        assert_eq!(read(&[0x2f, 1]), Body::Other("MP3"));
        assert_eq!(read(&[0x90, b'm', b'p', b'4', b'a']), Body::Other("enhanced RTMP audio"));
        for nothing in [&[][..], &[0xaf], &[0xaf, 0], &[0xaf, 1], &[0xaf, 2, 3]] {
            assert_eq!(read(nothing), Body::Nothing, "{nothing:?}");
        }
    }
}
