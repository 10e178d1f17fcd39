#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| simurgh_fuzz::properties::subprotocols(bytes));
