//! A whole package: first its structure, then, if that is sound, what its files say.

use std::io;
use std::time::Instant;

use super::finding::{Finding, Severity};
use super::structure::{Archive, ArchiveError, Kind, Limits, ReadAt, ReadError, read_archive};
use super::{Files, Plugin, plugin};

/// What there is to know about a package.
pub struct Package<'a> {
    /// `None`: some finding is an error.
    pub plugin: Option<Plugin>,
    /// `None`: its structure is not sound.
    pub archive: Option<Archive<'a>>,
    pub findings: Vec<Finding>,
}

impl Package<'_> {
    /// Whether something keeps it out.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads a package, and finishes before the deadline. It blocks.
pub fn check<'a>(
    source: &'a dyn ReadAt,
    limits: &Limits,
    deadline: Instant,
) -> Result<Package<'a>, ArchiveError> {
    let structure = read_archive(source, limits, deadline)?;
    let mut findings = structure.findings;
    let Some(archive) = structure.archive else {
        return Ok(Package { plugin: None, archive: None, findings });
    };
    let metadata = plugin::read(&archive).map_err(ArchiveError::Io)?;
    findings.extend(metadata.findings);
    Ok(Package { plugin: metadata.plugin, archive: Some(archive), findings })
}

impl Files for Archive<'_> {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries().iter().filter(|entry| entry.kind == Kind::File).map(|entry| entry.path.as_str())
    }

    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.read_start(path, limit).map_err(|error| match error {
            ReadError::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};
    use std::time::Duration;

    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn the_start_of_a_long_file_and_all_of_a_short_one() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        zip.start_file("long", SimpleFileOptions::default()).unwrap();
        zip.write_all(&content).unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        let source = bytes.as_slice();
        let package = check(&source, &Limits::default(), Instant::now() + Duration::from_secs(10)).unwrap();
        assert!(package.is_refused(), "there is no metadata");
        let archive = package.archive.unwrap();
        for limit in [0, 1, 65_536, 299_999, 300_000, 300_001] {
            let read = Files::read(&archive, "long", limit).unwrap().unwrap();
            assert!(read == content[..limit.min(content.len())], "{limit}");
        }
        assert!(Files::read(&archive, "absent", 10).unwrap().is_none());
    }
}
