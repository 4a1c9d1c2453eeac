//! Runs [`fuzz::envoy_configuration`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::envoy_configuration(data));
