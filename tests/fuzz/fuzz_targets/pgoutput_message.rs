//! Any bytes as a message of pgoutput.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::pgoutput_message(data);
});
