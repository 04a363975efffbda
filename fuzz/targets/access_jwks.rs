#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mqway_fuzz::access::jwks(input));
