//! Any bytes as a replication frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::wire_frame(data);
});
