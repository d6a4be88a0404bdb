//! Any bytes as a text frame of version 2.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::v2_text(data);
});
