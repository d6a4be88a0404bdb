//! Any bytes as a binary frame of version 2.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::v2_binary(data);
});
