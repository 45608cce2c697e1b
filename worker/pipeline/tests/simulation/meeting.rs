//! A meeting of tones, and its publisher: real AAC frames, with the habits of a real egress (facts/livekit-observed).

use fastrand::Rng;

/// AudioSpecificConfig: AAC-LC, 16 kHz, mono.
pub(crate) const HEADER: &[u8] = &[0xaf, 0, 0x14, 0x08];
pub(crate) const FRAME_MS: u64 = 64;

/// What happens at the RTMP door.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    Started {
        attempt: u32,
    },
    Header,
    /// RTMP time, frame of `frames()`.
    Audio {
        rtmp_ms: u32,
        frame: usize,
    },
    Ended {
        clean: bool,
    },
}

/// Flv bodies: silence, then tones 0..15.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let hex = |line: &str| {
        let bytes = (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap());
        [0xaf, 1].into_iter().chain(bytes).collect()
    };
    include_str!("tones.txt").lines().map(hex).collect()
}

/// For each frame of the meeting, which sound it is: words of five frames, utterances of one to six words, pauses.
pub(crate) fn script(rng: &mut Rng, frames: usize) -> Vec<usize> {
    let mut sounds = vec![0; 16];
    let mut last = 0;
    while sounds.len() < frames {
        for _ in 0..rng.usize(1..=6) {
            // Neighbours differ, so that a word in a wrong place is seen.
            let tone = (last + rng.usize(1..16)) % 16;
            last = tone;
            sounds.extend([tone + 1; 5]);
            sounds.extend([0; 3]);
        }
        let pause = if rng.u8(..) < 12 { rng.usize(150..400) } else { rng.usize(8..40) };
        sounds.resize(sounds.len() + pause, 0);
    }
    sounds.truncate(frames);
    let quiet = sounds.len().saturating_sub(12);
    sounds[quiet..].fill(0);
    sounds
}

/// Scripted: words in these stretches of ms, silence elsewhere.
pub(crate) fn voice(stretches: &[(u64, u64)], meeting_ms: u64) -> Vec<usize> {
    let is_voice = |at: u64| stretches.iter().any(|(from, to)| *from <= at && at / 512 * 512 + 320 <= *to);
    let sound = |frame: u64| match is_voice(frame * FRAME_MS) && frame % 8 < 5 {
        // Neighbours differ; sixteen words in turn.
        true => (frame / 8 % 16) as usize + 1,
        false => 0,
    };
    (0..meeting_ms / FRAME_MS).map(sound).collect()
}

/// Scripted trouble of the publisher.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// Nothing comes for so many ms; then all of it, at once.
    Stall(u64),
    /// The connection is made anew: one frame, and 5 ms of the stream's time, are lost.
    Reconnect,
    /// The publisher leaves, and is back after so many ms.
    Away(u64),
}

/// When the door hears what, in ms; ascending.
pub(crate) fn publish(
    rng: &mut Rng,
    sounds: &[usize],
    faults: bool,
    mut trouble: Option<(u64, Trouble)>,
) -> Vec<(u64, Door)> {
    let mut door = vec![(0, Door::Started { attempt: 1 }), (0, Door::Header)];
    let burst = rng.u64(200..800);
    let (mut attempt, mut rtmp_zero, mut clock) = (1, 0, burst);
    let mut index = 0;
    let mut stall_until = 0;
    let mut later = 0;
    while index < sounds.len() {
        let captured = index as u64 * FRAME_MS;
        let due = captured.saturating_sub(burst) + rng.u64(0..15);
        clock = clock.max(due).max(stall_until.min(due + 4_000)).max(door.last().map_or(0, |(at, _)| *at));
        if let Some((_, what)) = trouble.take_if(|(at, _)| *at <= captured) {
            match what {
                Trouble::Stall(ms) => stall_until = clock + ms,
                Trouble::Away(ms) => {
                    door.push((clock, Door::Ended { clean: true }));
                    index += (ms / FRAME_MS) as usize;
                    clock += ms;
                    door.extend([(clock, Door::Started { attempt }), (clock, Door::Header)]);
                }
                Trouble::Reconnect => {
                    (index, later) = (index + 1, 5);
                    door.push((clock, Door::Ended { clean: false }));
                    door.extend([(clock, Door::Started { attempt }), (clock, Door::Header)]);
                }
            }
            continue;
        }
        if index > 50 && faults && rng.u32(..) < u32::MAX / 500 {
            match rng.u8(0..4) {
                // A sole publisher mutes, or the network stalls: all comes later, at once.
                0 => stall_until = clock + 3_000,
                // The connection breaks; the audio of the outage is lost; the timeline goes on.
                1 | 2 => {
                    let away = [100, 1_500, 5_000, 100, 1_500, 5_000, 40_000][rng.usize(0..7)];
                    if rng.bool() {
                        door.push((clock, Door::Ended { clean: rng.bool() }));
                    }
                    index += (away / FRAME_MS) as usize + 1;
                    clock = (index as u64 * FRAME_MS).saturating_sub(burst).max(clock + away);
                    door.extend([(clock, Door::Started { attempt }), (clock, Door::Header)]);
                }
                // Another egress takes over: its own timeline.
                _ => {
                    attempt += 1;
                    rtmp_zero = index as u64 * FRAME_MS;
                    door.extend([(clock, Door::Started { attempt }), (clock, Door::Header)]);
                }
            }
            continue;
        }
        let rtmp_ms = (index as u64 * FRAME_MS - rtmp_zero + later) as u32;
        door.push((clock, Door::Audio { rtmp_ms, frame: sounds[index] }));
        index += 1;
    }
    let clean = rng.bool();
    door.push((clock, Door::Ended { clean }));
    door
}
