#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomscribe_rtmp::fuzzing::handshake(data));
