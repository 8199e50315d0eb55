//! Fuzzes `readers::parquet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What polars panics at is caught by the reader and no fault, and libFuzzer's own hook would end the process at it. A panic
    // that nobody catches ends it still.
    std::panic::set_hook(Box::new(|_| ()));
    readers::parquet(bytes)
});
