//! Metadata: whatever a `plugin.json` or `plugin.py` holds, reading it ends, in findings or in a plugin with a config.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use quire::package::{Files, Severity, read};

/// A package of one file.
struct Single<'a>(&'static str, &'a [u8]);

impl Files for Single<'_> {
    fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.0)
    }

    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        Ok((path == self.0).then(|| self.1[..self.1.len().min(limit)].to_vec()))
    }
}

fuzz_target!(|bytes: &[u8]| {
    for name in ["plugin.json", "plugin.py"] {
        let Ok(reading) = read(&Single(name, bytes)) else {
            continue;
        };
        let refused = reading.findings.iter().any(|finding| finding.severity == Severity::Error);
        assert_eq!(reading.plugin.is_none(), refused);
        if let Some(plugin) = reading.plugin {
            let config = plugin.config().expect("a config can be written");
            let again: serde_json::Value = serde_json::from_slice(&config).expect("a config is JSON");
            assert_eq!(again["pid"].as_str(), Some(plugin.pid.as_str()));
        }
    }
});
