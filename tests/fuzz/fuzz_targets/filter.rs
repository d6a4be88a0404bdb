//! Any bytes as a filter of a subscription.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rowcast::fuzzing::filter(data);
});
