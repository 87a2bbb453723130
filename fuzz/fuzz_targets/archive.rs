//! Packages: whatever the bytes are, reading them ends, in findings or in an archive whose files can be read.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use quire::package::{Limits, check};

fuzz_target!(|bytes: &[u8]| {
    let deadline = Instant::now() + Duration::from_secs(10);
    let package = check(&bytes, &Limits::default(), deadline).expect("memory can be read");
    assert_eq!(package.plugin.is_none(), package.is_refused());
    for entry in package.archive.iter().flat_map(|archive| archive.entries()) {
        let read = package.archive.as_ref().and_then(|archive| archive.read(&entry.path, entry.size).ok());
        assert!(read.is_some(), "what was accepted is read again");
    }
});
