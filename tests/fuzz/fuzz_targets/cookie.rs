//! Runs [`fuzz::cookie`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::cookie(data));
