//! Any standard rate to 16 kHz. `Fft` with a 20 ms hint: long enough for a sharp cutoff (short transforms lose 20 dB at
//! 7 kHz), and below 1 LSB of aliasing; its delay is subtracted, so that sample n stands where input sample n·rate/16000 did.

use super::SAMPLE_RATE;
use audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler};

pub(crate) struct Resample {
    fft: Fft<f32>,
    pending: Vec<f32>,
    input: Vec<Vec<f32>>,
    output: Vec<Vec<f32>>,
    /// Output samples still to be dropped: the filter's delay.
    skip: usize,
    delay: usize,
}

impl Resample {
    pub(crate) fn new(rate: u32) -> Result<Self, String> {
        let hint = rate as usize / 50;
        let fft = Fft::<f32>::new(rate as usize, SAMPLE_RATE as usize, hint, 1, FixedSync::Both)
            .map_err(|error| format!("a sample rate that cannot be converted ({error})"))?;
        let delay = fft.output_delay();
        let output = vec![vec![0.0; fft.output_frames_max()]];
        let input = vec![vec![0.0; fft.input_frames_max()]];
        Ok(Self { fft, pending: Vec::with_capacity(8192), input, output, skip: delay, delay })
    }

    /// Input samples that wait for a whole block, and the filter's tail, in output samples.
    pub(crate) fn held(&self) -> u64 {
        let waiting = self.pending.len() as f64 * self.fft.resample_ratio();
        waiting.round() as u64 + (self.delay - self.skip.min(self.delay)) as u64
    }

    /// Takes `input`, appends what is ready.
    pub(crate) fn push(&mut self, input: &[f32], out: &mut Vec<i16>) {
        self.pending.extend_from_slice(input);
        loop {
            let need = self.fft.input_frames_next();
            if self.pending.len() < need {
                return;
            }
            self.input[0][..need].copy_from_slice(&self.pending[..need]);
            self.pending.drain(..need);
            self.block(need, out);
        }
    }

    /// Pushes the rest out with silence, and begins anew.
    pub(crate) fn flush(&mut self, out: &mut Vec<i16>) {
        let want = out.len() as u64 + self.held();
        let silence = vec![0.0; self.fft.input_frames_max() * 2 + self.delay * 6];
        self.push(&silence, out);
        out.truncate(want as usize);
        self.pending.clear();
        self.fft.reset();
        self.skip = self.delay;
    }

    fn block(&mut self, frames: usize, out: &mut Vec<i16>) {
        let room = self.output[0].len();
        let (Ok(input), Ok(mut output)) = (
            SequentialSliceOfVecs::new(&self.input, 1, frames),
            SequentialSliceOfVecs::new_mut(&mut self.output, 1, room),
        ) else {
            return;
        };
        // Sizes come from the resampler itself, so this cannot fail; if it did, the clock's check would fill the hole.
        let Ok((_, made)) = self.fft.process_into_buffer(&input, &mut output, None) else { return };
        let drop = self.skip.min(made);
        self.skip -= drop;
        out.extend(self.output[0][drop..made].iter().map(|sample| to_i16(*sample)));
    }
}

fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}
