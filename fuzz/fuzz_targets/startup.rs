//! Any bytes: no panic, no endless loop. Run with `cargo +nightly fuzz run startup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dsql_proxy::torture::startup(bytes));
