//! A zip as a whole: the structural pass in its order, and the entries that come out of it.

use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use thiserror::Error;

use super::directory::{self, Listed, Listing};
use super::end_record::{self, CentralDirectory};
use super::local_header::{self, Placed};
use super::member::{Budget, Clock, Packed, Unpacker};
use super::recorded::{Member, unpack_member};
use super::source::{ReadAt, Window};
use super::{Finding, Findings, Limits, Rule, name_clashes};
use crate::digest::Sha256;

/// Whether an entry is a regular file or a folder: a package has nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    File,
    Folder,
}

/// How the bytes of an entry are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Stored,
    Deflate,
}

/// One file or folder of an archive that was read whole, and found to be what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without the slash that a folder's name ends with. Relative, normalised, safe to show.
    pub path: String,
    pub kind: Kind,
    /// Where the packed bytes begin in the archive.
    pub data_offset: u64,
    pub compressed_size: u64,
    pub size: u64,
    pub method: Method,
    pub crc32: u32,
    /// Of the unpacked bytes.
    pub sha256: Sha256,
    pub executable: bool,
}

impl Entry {
    /// What has to be recorded of a file to read it later, without the rest of the archive.
    pub fn member(&self) -> Member {
        let Self { data_offset, compressed_size, size, method, sha256, .. } = *self;
        Member { data_offset, compressed_size, size, method, sha256 }
    }
}

/// What became of reading an archive.
pub struct Reading<'a> {
    /// `None` when any finding is an error.
    pub archive: Option<Archive<'a>>,
    pub findings: Vec<Finding>,
}

/// An archive that every reader reads alike.
pub struct Archive<'a> {
    source: &'a dyn ReadAt,
    entries: Vec<Entry>,
}

/// Reading broke. What is wrong with an archive is a finding, not an error.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("reading the archive failed")]
    Io(#[from] io::Error),
}

/// Why a file of an archive was not given.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("the file has {size} bytes, at most {limit} are read")]
    TooLarge { size: u64, limit: u64 },
    /// The bytes are not those that were checked: the archive was changed since.
    #[error("the archive was changed after it was checked")]
    Changed,
    #[error("reading the archive failed")]
    Io(#[from] io::Error),
}

impl Archive<'_> {
    /// Files and folders in the order of the central directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this path, without a slash at its end.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// The content of a file; `None` when there is no file of this path. It is checked against what was
    /// recorded.
    pub fn read(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(entry) = self.file(path) else { return Ok(None) };
        if entry.size > max_bytes {
            return Err(ReadError::TooLarge { size: entry.size, limit: max_bytes });
        }
        self.content(entry, max_bytes).map(Some)
    }

    /// The first bytes of a file, at most `limit`. A file that is no longer is checked as in [`Archive::read`].
    pub fn read_start(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, ReadError> {
        self.file(path).map(|entry| self.content(entry, limit as u64)).transpose()
    }

    fn file(&self, path: &str) -> Option<&Entry> {
        self.entry(path).filter(|entry| entry.kind == Kind::File)
    }

    /// All of a file, or as much as the limit.
    fn content(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ReadError> {
        let mut content = Vec::new();
        // Whether the limit was reached or all of it came makes no difference: what is there was wanted.
        let _ = unpack_member(self.source, &entry.member(), &mut |part| {
            let left = usize::try_from(limit - content.len() as u64).unwrap_or(usize::MAX);
            content.extend_from_slice(&part[..part.len().min(left)]);
            if part.len() <= left { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(content)
    }
}

/// Reads the structure of a zip and unpacks every entry once, to nowhere, with every finding at once.
///
/// Memory is bounded by the number of entries and the length of their names, both of which are limited;
/// nothing is allocated because of a size that an archive declares.
pub fn read_archive<'a>(
    source: &'a dyn ReadAt,
    limits: &Limits,
    deadline: Instant,
) -> Result<Reading<'a>, ArchiveError> {
    let mut findings = Findings::new(limits.findings);
    let entries = read_entries(source, limits, deadline, &mut findings)?;
    let archive = entries.filter(|_| !findings.refused()).map(|entries| Archive { source, entries });
    Ok(Reading { archive, findings: findings.into_vec() })
}

/// `None` when something is wrong, about which there is a finding then.
fn read_entries(
    source: &dyn ReadAt,
    limits: &Limits,
    deadline: Instant,
    findings: &mut Findings,
) -> io::Result<Option<Vec<Entry>>> {
    let mut clock = Clock::new(deadline);
    let mut window = Window::new(source)?;
    let Some(directory) = end_record::read(&mut window, findings)? else { return Ok(None) };
    let listing = directory::read(&mut window, &directory, limits, &mut clock, findings)?;
    name_clashes::check(&listing.entries, &mut clock, findings);
    let mut budget = Budget { limits, clock: &mut clock, unpacked: 0, exhausted: false };
    let read = read_members(&mut window, &directory, &listing, &mut budget, findings)?;
    check_ratio(&budget, window.size(), findings);
    Ok(listing.entries.into_iter().zip(read).map(|(listed, read)| entry(listed, read?)).collect())
}

fn entry(listed: Listed, read: ReadMember) -> Option<Entry> {
    let Listed { kind, compressed_size, size, crc32, executable, .. } = listed;
    let ReadMember { data_offset, sha256 } = read;
    let method = listed.packing()?;
    let path = listed.into_path()?;
    Some(Entry { path, kind, data_offset, compressed_size, size, method, crc32, sha256, executable })
}

/// What only reading an entry tells.
#[derive(Clone, Copy)]
struct ReadMember {
    data_offset: u64,
    sha256: Sha256,
}

/// Goes through the entries in the order of the file. They must tile it, from its first byte to the central
/// directory; those that lie where they must are unpacked.
fn read_members(
    window: &mut Window<'_>,
    directory: &CentralDirectory,
    listing: &Listing,
    budget: &mut Budget<'_>,
    findings: &mut Findings,
) -> io::Result<Vec<Option<ReadMember>>> {
    let listed = &listing.entries;
    let mut read = vec![None; listed.len()];
    let mut order: Vec<usize> = (0..listed.len()).filter(|&index| listed[index].located).collect();
    order.sort_by_key(|&index| listed[index].header_offset);
    // Where the next entry must begin; unknown behind an entry whose end is not known.
    let mut next = Some(0);
    // Whether what lies between entries can be called a gap: no entry that is listed may lie there.
    let mut whole = listing.whole;
    let mut unpacker = Unpacker::new();
    for index in order {
        if budget.clock.is_over(findings) {
            return Ok(read);
        }
        let entry = &listed[index];
        if let Some(next) = next
            && entry.header_offset < next
        {
            let message = format!(
                "the entry begins at byte {}, before the previous one ends at byte {next}",
                entry.header_offset
            );
            findings.refuse_entry(Rule::Overlap, &entry.name, message);
            whole = false;
            continue;
        }
        let placed = local_header::check(window, entry, directory.offset, findings)?;
        let Some(Placed { data_offset, end }) = placed else {
            next = None;
            continue;
        };
        check_gap(next.filter(|_| whole), entry.header_offset, findings);
        next = end;
        if let Some(method) = entry.packing()
            && !budget.exhausted
        {
            let packed = Packed { offset: data_offset, compressed_size: entry.compressed_size, method };
            let sha256 = unpacker.check(window, entry, packed, budget, findings)?;
            read[index] = sha256.map(|sha256| ReadMember { data_offset, sha256 });
        }
    }
    check_gap(next.filter(|_| whole), directory.offset, findings);
    Ok(read)
}

/// Bytes that belong to no entry can hold anything, also entries that only some readers find.
fn check_gap(expected: Option<u64>, found: u64, findings: &mut Findings) {
    match expected {
        // Unknown, or it might be an entry that could not be read from the directory.
        None => {}
        Some(0) if found > 0 => {
            findings.refuse(Rule::Prefix, format!("{found} bytes stand before the first entry"));
        }
        Some(expected) if expected < found => findings.refuse(
            Rule::Gap,
            format!("{} bytes from byte {expected} on belong to no entry", found - expected),
        ),
        Some(_) => {}
    }
}

/// Many small files that each may be packed that well, but not all of them together.
fn check_ratio(budget: &Budget<'_>, packed: u64, findings: &mut Findings) {
    let Limits { ratio, ratio_from, .. } = *budget.limits;
    let unpacked = budget.unpacked;
    if !findings.refused() && unpacked > ratio_from && unpacked > packed.saturating_mul(ratio) {
        let message =
            format!("{unpacked} bytes come out of an archive of {packed}, more than {ratio} of each");
        findings.refuse(Rule::Ratio, message);
    }
}

#[cfg(test)]
pub(super) mod tests;
