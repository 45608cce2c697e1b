//! Random meetings in front of the audio path: whatever is cut, late, lost or restarted, the map is whole and true.

mod common;

use common::{FRAME, HEADER_44K, HEADER_48K, Heard};

/// In ms: one in three is longer than what is filled.
const LONGEST_JUMP: u64 = 90_000;
const SEEDS: u64 = 24;

/// A publisher and the truth about it. Times in microseconds.
struct Meeting {
    heard: Heard,
    random: fastrand::Rng,
    /// Wall time; audio is captured as it passes.
    wall: u64,
    /// Stream time of the next frame.
    stream: u64,
    frame: u64,
    /// What the media clock should show, and the holes that should be told.
    truth: u64,
    holes: usize,
}

impl Meeting {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let wall = random.u64(0..1 << 40);
        Self { heard: Heard::fresh(), random, wall, stream: 0, frame: 0, truth: 0, holes: 0 }
    }

    fn publish(&mut self, stream: u64) {
        let (header, rate) = if self.random.bool() { (HEADER_48K, 48_000) } else { (HEADER_44K, 44_100) };
        self.frame = 1_024_000_000 / rate;
        self.stream = stream;
        self.heard.started(self.wall / 1000);
        self.heard.push(header, 0, self.wall / 1000);
    }

    /// `count` frames; the first `late` of them come together when the last of those is captured.
    fn frames(&mut self, count: u64, late: u64) {
        let begin = self.wall;
        for index in 1..=count {
            self.wall = begin + index.max(late.min(count)) * self.frame;
            self.heard.push(FRAME, (self.stream / 1000) as u32, self.wall / 1000);
            self.stream += self.frame;
            self.truth += self.frame;
        }
    }

    /// One thing that happens while a publisher lives.
    fn something(&mut self) {
        let hole = self.random.u64(100..LONGEST_JUMP) * 1000;
        match self.random.u8(0..6) {
            // Frames are lost, in stream time and in the wall's.
            0 => (self.stream, self.wall) = (self.stream + hole, self.wall + hole),
            // RTMP time jumps by itself.
            1 => self.stream += hole,
            // The clock of the publisher begins anew, at least a step back.
            2 if self.stream > 5_000_000 => {
                self.stream = self.random.u64(0..self.stream - 2_000_000);
                return;
            }
            // A stall, then all at once.
            3 => {
                let late = self.random.u64(1..130);
                return self.frames(late, late);
            }
            _ => return,
        }
        self.truth += hole;
        self.holes += 1;
    }

    /// The publisher leaves and comes back: a new one from 0, or the same one in its stream time.
    fn away(&mut self) {
        if self.random.bool() {
            self.heard.ended(self.wall / 1000);
        }
        let away = self.random.u64(300..LONGEST_JUMP) * 1000;
        self.wall += away;
        let same = self.random.bool();
        self.publish(if same { self.stream + away } else { 0 });
        // What comes as a burst was captured while nobody was connected.
        let burst = self.random.u64(1..9);
        self.truth += away;
        self.holes += 1;
        self.frames(40, burst);
    }
}

fn hold(seed: u64) {
    let mut meeting = Meeting::new(seed);
    let start = meeting.random.u64(0..1000) * 1000;
    meeting.publish(start);
    meeting.frames(40, 5);
    for step in 0..20 {
        if meeting.random.u8(0..5) == 0 {
            meeting.away();
        } else {
            meeting.something();
        }
        let count = meeting.random.u64(55..70);
        meeting.frames(count, 1);
        let behind = (meeting.truth / 1000) as i64 - meeting.heard.ms() as i64;
        // The resampler and the decoder hold up to 50 ms while audio flows.
        assert!((-100..=150).contains(&behind), "seed {seed}, step {step}: {behind} ms behind");
    }
    meeting.heard.ended(meeting.wall / 1000);
    let off = meeting.heard.ms().abs_diff(meeting.truth / 1000);
    assert!(off <= 100, "seed {seed}: {off} ms off");
    assert_eq!(meeting.heard.gaps.len(), meeting.holes, "seed {seed}: {:?}", meeting.heard.gaps);
}

#[test]
fn whatever_happens_the_map_is_whole_each_hole_is_told_once_and_time_is_right_within_100_ms() {
    (0..SEEDS).for_each(hold);
}
