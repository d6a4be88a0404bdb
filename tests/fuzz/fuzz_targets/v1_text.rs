//! Any bytes as a text frame of version 1.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::v1_text(data);
});
