/// Stream time that never wraps, from RTMP's 32-bit milliseconds.
///
/// RTMP time wraps at 2^32 ms (49.7 days), but ffmpeg's FLV muxer masks it to 31 bits: offset 4 294 965 s was measured
/// to show 2147483635 and then 8. Both are followed; every other jump, backward ones too, is kept as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnwrappedTime {
    last: Option<(u32, i64)>,
}

/// A fall by about 2^31 counts as a 31-bit wrap only when time then goes on within this distance.
const WRAP_WINDOW_MS: i64 = 600_000;

impl UnwrappedTime {
    /// Continuous milliseconds for the next message; the first one gives its own timestamp.
    pub fn advance(&mut self, timestamp_ms: u32) -> i64 {
        let Some((last_raw, last_total)) = self.last else {
            self.last = Some((timestamp_ms, i64::from(timestamp_ms)));
            return i64::from(timestamp_ms);
        };
        // Two's complement distance: right across 2^32 in both directions.
        let mut delta = i64::from(timestamp_ms.wrapping_sub(last_raw).cast_signed());
        let wrapped_31 = delta + (1 << 31);
        if delta < 0 && last_raw < 1 << 31 && wrapped_31 < WRAP_WINDOW_MS {
            delta = wrapped_31;
        }
        let total = last_total.saturating_add(delta);
        self.last = Some((timestamp_ms, total));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stamps: &[u32]) -> Vec<i64> {
        let mut time = UnwrappedTime::default();
        stamps.iter().map(|&t| time.advance(t)).collect()
    }

    #[test]
    fn time_goes_on_across_the_24_bit_field() {
        assert_eq!(run(&[0xFF_FFFE, 0xFF_FFFF, 0x100_0016]), [0xFF_FFFE, 0xFF_FFFF, 0x100_0016]);
    }

    #[test]
    fn time_goes_on_across_32_bits() {
        assert_eq!(run(&[u32::MAX - 10, 12]), [i64::from(u32::MAX) - 10, i64::from(u32::MAX) + 13]);
    }

    #[test]
    fn time_goes_on_where_ffmpeg_masks_to_31_bits() {
        assert_eq!(run(&[2_147_483_635, 8, 31]), [2_147_483_635, 2_147_483_656, 2_147_483_679]);
    }

    #[test]
    fn time_goes_on_across_2_pow_31_when_it_is_not_masked() {
        assert_eq!(run(&[0x7FFF_FFF0, 0x8000_0010]), [0x7FFF_FFF0, 0x8000_0010]);
    }

    #[test]
    fn a_small_step_back_stays_a_step_back() {
        assert_eq!(run(&[5000, 4000, 4023]), [5000, 4000, 4023]);
    }

    #[test]
    fn a_restart_at_zero_after_hours_stays_a_restart() {
        assert_eq!(run(&[40_000_000, 0, 23]), [40_000_000, 0, 23]);
    }

    #[test]
    fn headers_at_zero_then_a_jump_to_stream_time_keep_the_jump() {
        assert_eq!(run(&[0, 0, 61_234]), [0, 0, 61_234]);
    }

    #[test]
    fn a_random_walk_comes_back_whole_from_32_bits_and_from_31() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mask = if seed % 2 == 0 { i64::from(u32::MAX) } else { i64::from(u32::MAX >> 1) };
            let start = random.i64(0..=mask);
            let (mut truth, mut time) = (start, UnwrappedTime::default());
            time.advance(start as u32);
            for _ in 0..2_000 {
                // Mostly forward; never further than a wrap may be seen, never far back across a 31-bit one.
                truth += random.i64(-20..599_000);
                let seen = time.advance((truth & mask) as u32);
                assert_eq!(seen, truth, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_late_message_across_the_32_bit_wrap_goes_back_only_a_little() {
        assert_eq!(run(&[5, u32::MAX - 4]), [5, -5]);
    }
}
