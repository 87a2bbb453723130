//! The structure of a package: one reading of a zip that any other reader must agree with, or every reason against it.

mod archive;
mod attributes;
mod descriptor;
mod directory;
mod end_record;
mod entry_name;
mod extra;
mod fields;
mod findings;
mod local_header;
mod member;
mod name_clashes;
mod recorded;
mod rule;
mod source;

use super::finding::{Finding, Severity};

pub use self::archive::{Archive, ArchiveError, Entry, Kind, Method, ReadError, read_archive};
use self::findings::Findings;
pub(super) use self::findings::shown;
pub use self::recorded::{Member, unpack_member};
pub(super) use self::rule::Rule;
pub use self::source::ReadAt;

/// How much a package may be. [`Limits::default`] is what `spec/` promises; tests use smaller ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders, as the central directory lists them.
    pub entries: usize,
    /// Bytes of all files together, counted on what comes out.
    pub unpacked: u64,
    /// Bytes that may come out of one byte, of a file and of the package.
    pub ratio: u64,
    /// Up to so many bytes any ratio is fine: a small text of blanks does no harm.
    pub ratio_from: u64,
    /// Findings that are told; how many more there are is told as well.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000, unpacked: 256 << 20, ratio: 200, ratio_from: 1 << 20, findings: 1_000 }
    }
}

/// An error about one entry, or about what would become one, named so that a terminal can show it.
pub(super) fn refusal(rule: Rule, name: &[u8], message: impl Into<String>) -> Finding {
    Finding::error(rule.id(), Some(&shown(name)), message).hint(rule.hint())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
