//! AAC-LC frames to mono floats, one call per frame, always 1024 samples: a bad frame is silence of the same length.

use super::asc::Config;
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::AacDecoder;

/// Samples of one AAC-LC frame.
pub(crate) const FRAME: usize = 1024;
/// symphonia keeps the channel layout of the first packet for ever, so a bad first packet makes all later ones fail.
const REBUILD_AFTER: u32 = 3;

pub(crate) struct Decoder {
    config: Config,
    decoder: AacDecoder,
    errors_in_a_row: u32,
    planar: Vec<Vec<f32>>,
}

/// How one frame went.
pub(crate) enum Decoded {
    Good,
    Concealed { rebuilt: bool },
}

impl Decoder {
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        let decoder = build(&config)?;
        Ok(Self { config, decoder, errors_in_a_row: 0, planar: Vec::new() })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Frames that failed since the last good one.
    pub(crate) fn errors_in_a_row(&self) -> u32 {
        self.errors_in_a_row
    }

    /// Appends exactly [`FRAME`] mono samples to `out`.
    pub(crate) fn decode(&mut self, frame: &[u8], out: &mut Vec<f32>) -> Decoded {
        let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(FRAME as u64), frame);
        let fits = match self.decoder.decode_ref(&packet) {
            Ok(buffer) => planes(&buffer, &mut self.planar),
            Err(_) => false,
        };
        if fits {
            self.errors_in_a_row = 0;
            downmix(&self.planar, out);
            return Decoded::Good;
        }
        out.resize(out.len() + FRAME, 0.0);
        self.errors_in_a_row = self.errors_in_a_row.saturating_add(1);
        let rebuild = self.errors_in_a_row.is_multiple_of(REBUILD_AFTER);
        if rebuild && let Ok(decoder) = build(&self.config) {
            self.decoder = decoder;
        }
        Decoded::Concealed { rebuilt: rebuild }
    }
}

fn build(config: &Config) -> Result<AacDecoder, String> {
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(CODEC_ID_AAC).with_extra_data(config.bytes.clone().into_boxed_slice());
    AacDecoder::try_new(&parameters, &AudioDecoderOptions::default())
        .map_err(|error| format!("AAC that the decoder refuses ({error})"))
}

fn planes(buffer: &GenericAudioBufferRef<'_>, planar: &mut Vec<Vec<f32>>) -> bool {
    if buffer.frames() != FRAME || !(1..=2).contains(&buffer.num_planes()) {
        return false;
    }
    buffer.copy_to_vecs_planar(planar);
    true
}

/// 0.5·(L+R): the level of ffmpeg's `-ac 1`.
fn downmix(planar: &[Vec<f32>], out: &mut Vec<f32>) {
    match planar {
        [left, right] => out.extend(left.iter().zip(right).map(|(left, right)| 0.5 * (left + right))),
        [mono, ..] => out.extend_from_slice(mono),
        [] => out.resize(out.len() + FRAME, 0.0),
    }
}
