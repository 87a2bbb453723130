//! Manifests: whatever comes in is read or refused, and what is read keeps its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quire::manifest::{Manifest, REFERENCE_LIMIT};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes, None) {
        assert!(manifest.references.len() <= REFERENCE_LIMIT);
        assert!(manifest.media_type.manifest_kind().is_some());
        let header = Some(&manifest.media_type);
        assert_eq!(Manifest::parse(bytes, header).as_ref(), Ok(&manifest));
    }
});
