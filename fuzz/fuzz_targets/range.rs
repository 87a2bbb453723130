//! Range headers: a part always lies inside of the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quire::http::{ByteRange, parse_range};

fuzz_target!(|input: (u64, &str)| {
    let (size, header) = input;
    if let ByteRange::Part { first, last } = parse_range(Some(header), size) {
        assert!(first <= last && last < size);
    }
});
