//! Audio in: decoded, put into blocks of 100 ms that spool, memory and socket share, and its voice noted as owed.

use super::Pipeline;
use crate::audio::AudioOut;
use crate::types::Output;
use bytes::BytesMut;
use std::time::Duration;

/// 100 ms: what Gladia recommends for a frame.
const BLOCK_BYTES: usize = 3_200;
/// Mean of the absolute samples: -54 dB of full scale. Below is no speech that a recogniser could read.
const VOICE_LEVEL: u64 = 64;

impl Pipeline {
    pub(super) fn hear(&mut self, timestamp_ms: u32, body: &[u8], now: Duration) {
        if let Some(publisher) = &mut self.publisher {
            publisher.last_byte = now;
        }
        let mut outs = std::mem::take(&mut self.scratch);
        self.audio.push(body, timestamp_ms, now, &mut outs);
        self.take_audio(&mut outs, now);
        self.scratch = outs;
    }

    pub(super) fn publish_ended(&mut self, now: Duration) {
        let mut outs = std::mem::take(&mut self.scratch);
        self.audio.publish_ended(now, &mut outs);
        self.take_audio(&mut outs, now);
        self.scratch = outs;
        self.close_block();
        self.publisher = None;
    }

    fn take_audio(&mut self, outs: &mut Vec<AudioOut>, now: Duration) {
        for out in outs.drain(..) {
            match out {
                AudioOut::Pcm { at, samples } => {
                    self.judge_publisher("");
                    self.take_pcm(at.0, &samples, now);
                    self.audio.recycle(samples);
                }
                AudioOut::Gap { start, end, reason } => self.gap(start.0, end.0, reason.as_str()),
                AudioOut::Unsupported { what } => {
                    self.judge_publisher("UnsupportedAudio");
                    self.report.last_error = Some(format!("the publisher sends {what}: send AAC-LC"));
                    self.status(
                        "WaitingForAudio",
                        "UnsupportedAudio",
                        "the publisher's audio is not AAC-LC: change its encoder",
                    );
                }
            }
        }
    }

    fn judge_publisher(&mut self, reason: &'static str) {
        if let Some(publisher) = &mut self.publisher {
            publisher.reason = reason;
        }
    }

    fn take_pcm(&mut self, at: u64, samples: &[i16], now: Duration) {
        if self.media_zero_wall_ms.is_none() {
            let wall = self.wall(now);
            self.media_zero_wall_ms = Some(wall.saturating_sub((at + samples.len() as u64) / 16));
        }
        if at != self.heard {
            self.close_block();
        }
        let mut at = at;
        let mut rest = samples;
        while !rest.is_empty() {
            if self.block.1.is_empty() {
                self.block = (at, BytesMut::with_capacity(BLOCK_BYTES));
            }
            let room = (BLOCK_BYTES - self.block.1.len()) / 2;
            let (now_in, later) = rest.split_at(room.min(rest.len()));
            self.block.1.extend(now_in.iter().flat_map(|sample| sample.to_le_bytes()));
            at += now_in.len() as u64;
            rest = later;
            if self.block.1.len() == BLOCK_BYTES {
                self.close_block();
            }
        }
        self.heard = at;
        self.last_audio = now;
        self.speech.audio(now);
    }

    /// The block goes to spool and memory as it is.
    pub(super) fn close_block(&mut self) {
        if self.block.1.is_empty() {
            return;
        }
        let (at, block) = std::mem::take(&mut self.block);
        let pcm = block.freeze();
        let end = at + pcm.len() as u64 / 2;
        if is_voice(&pcm) {
            self.ledger.voice(at, end);
        }
        self.out.push_back(Output::SpoolPcm { at, pcm: pcm.clone() });
        if let Some((start, end)) = self.kept.push(at, pcm) {
            // What the service has acknowledged may still get its final: it stays owed.
            let lost = self.speech.acked_media().clamp(start, end);
            if lost < end {
                self.gap(lost, end, "SpeechUnavailable");
            }
            self.cover(end);
        }
    }
}

/// Is there more in this block than silence?
pub(super) fn is_voice(pcm: &[u8]) -> bool {
    let level = |pair: &[u8]| u64::from(i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs());
    let sum: u64 = pcm.chunks_exact(2).map(level).sum();
    sum >= VOICE_LEVEL * (pcm.len() as u64 / 2).max(1)
}
