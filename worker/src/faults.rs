//! For tests only (cargo feature `faults`): audio that makes the pipeline panic.

use roomscribe_pipeline::Input;

/// FLV audio tag body: AAC with a packet type that does not exist, then a word that no decoder gives.
pub const POISON: &[u8] = b"\xaf\x7fpanic";

#[allow(clippy::panic, reason = "this is its purpose")]
pub(crate) fn trip(input: &Input<'_>) {
    if let Input::Audio { body, .. } = input
        && *body == POISON
    {
        panic!("poisoned audio: {SPOKEN}");
    }
}

/// Stands for transcript text in a panic's message (a slice out of bounds quotes its string): it must not be logged.
pub const SPOKEN: &str = "unspeakable";
