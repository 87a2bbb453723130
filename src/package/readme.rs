//! The README of a plugin, which people read in the catalog.

use std::io;

use super::files::{Base, Files};
use super::finding::{Findings, Place};

/// Most bytes of a README.
const SIZE_LIMIT: usize = 1024 * 1024;
/// Looked for beside the metadata when the metadata names no other.
const NAME: &str = "README.md";

/// The path of the README in the package. One that cannot be shown is left out, which is no reason to refuse
/// the package; one that is named and missing is.
pub(super) fn find(
    files: &impl Files,
    base: &Base,
    declared: Option<(String, Place)>,
    findings: &mut Findings,
) -> io::Result<Option<String>> {
    let path = base.join(declared.as_ref().map_or(NAME, |(name, _)| name.as_str()));
    let Some(bytes) = files.read(&path, SIZE_LIMIT + 1)? else {
        if let Some((_, place)) = declared {
            findings.push(place.error("plugin.readme", "readme names a file that is not in the package"));
        }
        return Ok(None);
    };
    let fault = if bytes.len() > SIZE_LIMIT {
        "is larger than 1 MiB"
    } else if std::str::from_utf8(&bytes).is_err() {
        "is not UTF-8"
    } else {
        return Ok(Some(path));
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    findings.push(Place::of(&path).warning("plugin.readme", format!("{name} {fault} and is not shown")));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::files::testing::Memory;
    use crate::package::finding::Severity;

    #[test]
    fn a_readme_stands_beside_the_metadata_or_where_it_says() {
        let files = Memory::of([("README.md", b"# A"), ("docs/a.md", b"# B"), ("latin.md", b"\xe9")]);
        let found = |declared: Option<&str>| {
            let mut findings = Findings::default();
            let declared = declared.map(|name| (name.to_owned(), Place::of("plugin.json")));
            let path = find(&files, &Base(String::new()), declared, &mut findings).unwrap();
            (path, findings.into_vec().first().map(|finding| finding.severity))
        };
        assert_eq!(found(None), (Some("README.md".into()), None));
        assert_eq!(found(Some("docs/a.md")), (Some("docs/a.md".into()), None));
        assert_eq!(found(Some("docs/b.md")), (None, Some(Severity::Error)));
        assert_eq!(found(Some("latin.md")), (None, Some(Severity::Warning)));
    }
}
