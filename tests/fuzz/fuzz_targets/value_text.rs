//! Any bytes as a value as PostgreSQL prints it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::value_text(data);
});
