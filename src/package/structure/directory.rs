//! The central directory: one header for each entry, and everything that can be said from it alone.

use std::io;

use super::end_record::CentralDirectory;
use super::entry_name::{self, NAME_LIMIT};
use super::extra::{self, Header};
use super::fields::{CENTRAL_HEADER, Fields, VERSION_NEEDED};
use super::member::Clock;
use super::source::Window;
use super::{Findings, Kind, Limits, Method, Rule, attributes};

const CENTRAL_HEADER_LENGTH: usize = 46;

/// The flag for a data descriptor behind the data.
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Traditional encryption, strong encryption, masked headers.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// How hard deflate tried, which no reader needs to know.
const FLAGS_DEFLATE_LEVEL: u16 = 0b110;
const FLAGS_KNOWN: u16 = FLAG_DESCRIPTOR | FLAG_UTF8 | FLAGS_ENCRYPTED | FLAGS_DEFLATE_LEVEL;

/// What a field holds when the value stands in the ZIP64 extra field.
pub(super) const ELSEWHERE: u32 = u32::MAX;

/// An entry as the central directory lists it.
#[derive(Debug)]
pub(super) struct Listed {
    /// The name as it is written; no more than one byte beyond the longest that is accepted.
    pub name: Vec<u8>,
    /// How long the name is in truth.
    pub name_length: usize,
    /// As the end of the name tells.
    pub kind: Kind,
    pub executable: bool,
    pub flags: u16,
    pub method: u16,
    pub crc32: u32,
    pub compressed_size: u64,
    pub size: u64,
    pub header_offset: u64,
    /// Whether sizes and offset can be relied on to find the data.
    pub located: bool,
}

impl Listed {
    /// The name as text, without the slash of a folder; `None` when it is too long or not UTF-8.
    pub fn path(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.name).ok().filter(|text| text.len() <= NAME_LIMIT)?;
        match self.kind {
            Kind::File => Some(text),
            Kind::Folder => text.strip_suffix('/'),
        }
    }

    /// The same without a copy: there may be many, and they may be long.
    pub fn into_path(mut self) -> Option<String> {
        let length = self.path()?.len();
        self.name.truncate(length);
        String::from_utf8(self.name).ok()
    }

    pub fn has_descriptor(&self) -> bool {
        self.flags & FLAG_DESCRIPTOR != 0
    }

    /// How to unpack it; `None` when that is not possible.
    pub fn packing(&self) -> Option<Method> {
        match self.method {
            _ if self.flags & FLAGS_ENCRYPTED != 0 => None,
            0 => Some(Method::Stored),
            8 => Some(Method::Deflate),
            _ => None,
        }
    }
}

/// The entries of a central directory.
#[derive(Default)]
pub(super) struct Listing {
    pub entries: Vec<Listed>,
    /// Whether every entry that there may be is among them, and can be found.
    pub whole: bool,
}

/// Reads as many headers as the end record counts, and no more: that bounds what is kept. They must fill the
/// directory exactly.
pub(super) fn read(
    window: &mut Window<'_>,
    directory: &CentralDirectory,
    limits: &Limits,
    clock: &mut Clock,
    findings: &mut Findings,
) -> io::Result<Listing> {
    let CentralDirectory { offset: mut at, end, entries } = *directory;
    if entries > limits.entries as u64 {
        let message = format!("the archive has {entries} entries, at most {} are allowed", limits.entries);
        findings.refuse(Rule::Entries, message);
        return Ok(Listing::default());
    }
    let mut listing = Listing::default();
    for number in 1..=entries {
        if clock.is_over(findings) {
            return Ok(listing);
        }
        let header = window.bytes(at, CENTRAL_HEADER_LENGTH, end)?.and_then(CentralHeader::parse);
        let Some(header) = header else {
            let message =
                format!("entry {number} of {entries}: no central header at byte {at}, before byte {end}");
            findings.refuse(Rule::Directory, message);
            return Ok(listing);
        };
        let behind = at + CENTRAL_HEADER_LENGTH as u64;
        let length = header.name_length + header.extra_length + header.comment_length;
        let Some(variable) = window.bytes(behind, length, end)? else {
            let message = format!(
                "entry {number} of {entries}: the {length} bytes behind its header at byte {at} are cut"
            );
            findings.refuse(Rule::Directory, message);
            return Ok(listing);
        };
        listing.entries.push(header.check(variable, findings));
        at = behind + length as u64;
    }
    if at != end {
        findings.refuse(
            Rule::Directory,
            format!("behind the {entries} entries that the end record counts stand {} more bytes", end - at),
        );
    }
    listing.whole = at == end && listing.entries.iter().all(|listed| listed.located);
    Ok(listing)
}

struct CentralHeader {
    host: u8,
    needed: u16,
    flags: u16,
    method: u16,
    crc32: u32,
    compressed_size: u32,
    size: u32,
    name_length: usize,
    extra_length: usize,
    comment_length: usize,
    disk: u16,
    external: u32,
    header_offset: u32,
}

impl CentralHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.signature()? == CENTRAL_HEADER).then_some(())?;
        let [_, host] = fields.u16()?.to_le_bytes();
        let (needed, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let _time_and_date = fields.u32()?;
        let (crc32, compressed_size, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name_length, extra_length) = (fields.u16()?.into(), fields.u16()?.into());
        let comment_length = fields.u16()?.into();
        let disk = fields.u16()?;
        // Whether it is text: readers convert line ends only when they are told to.
        let _internal = fields.u16()?;
        let (external, header_offset) = (fields.u32()?, fields.u32()?);
        Some(Self {
            host,
            needed,
            flags,
            method,
            crc32,
            compressed_size,
            size,
            name_length,
            extra_length,
            comment_length,
            disk,
            external,
            header_offset,
        })
    }

    /// Judges a header and the name, extra fields and comment behind it.
    fn check(&self, variable: &[u8], findings: &mut Findings) -> Listed {
        let (name, rest) = variable.split_at(self.name_length.min(variable.len()));
        let extra = &rest[..self.extra_length.min(rest.len())];
        let kind = if name.ends_with(b"/") { Kind::Folder } else { Kind::File };
        entry_name::check(name, self.flags & FLAG_UTF8 != 0, self.host, findings);
        self.check_features(name, findings);
        let executable = attributes::check(self.host, self.external, kind, name, findings);
        let zip64 = extra::check(extra, Header::Central, kind, name, findings);
        let values = self.values(zip64);
        if values.is_none() {
            findings.refuse_entry(Rule::Zip64, name, self.zip64_message(zip64));
        }
        let [size, compressed_size, header_offset] = values.unwrap_or_default();
        if kind == Kind::Folder && size > 0 {
            findings.refuse_entry(Rule::Kind, name, format!("the folder has {size} bytes of content"));
        }
        let listed = Listed {
            name: name[..name.len().min(NAME_LIMIT + 1)].to_vec(),
            name_length: name.len(),
            kind,
            executable,
            flags: self.flags,
            method: self.method,
            crc32: self.crc32,
            compressed_size,
            size,
            header_offset,
            located: values.is_some(),
        };
        // An empty file has no data in which a reader could search for the descriptor; `zip` writes such.
        if listed.has_descriptor() && listed.packing() == Some(Method::Stored) && compressed_size > 0 {
            let message = "a data descriptor stands behind stored data, so that its end has to be guessed";
            findings.refuse_entry(Rule::StoredDescriptor, name, message);
        }
        listed
    }

    fn check_features(&self, name: &[u8], findings: &mut Findings) {
        if self.needed > VERSION_NEEDED {
            let message = format!(
                "the entry needs version {} of the format, at most {VERSION_NEEDED} is read",
                self.needed
            );
            findings.refuse_entry(Rule::Version, name, message);
        }
        if self.flags & FLAGS_ENCRYPTED != 0 {
            let message = format!("the entry is encrypted (flags {:#06x})", self.flags);
            findings.refuse_entry(Rule::Encrypted, name, message);
        }
        if self.flags & !FLAGS_KNOWN != 0 {
            let message = format!("flags {:#06x} have bits that packages do not use", self.flags);
            findings.refuse_entry(Rule::Flags, name, message);
        }
        if let Some(method) = unknown_method(self.method) {
            let message = format!("method {} ({method}) is neither stored nor deflate", self.method);
            findings.refuse_entry(Rule::Method, name, message);
        }
        if self.disk != 0 {
            findings.refuse_entry(Rule::Disk, name, format!("the entry begins on disk {}", self.disk));
        }
        if self.comment_length > 0 {
            let message = format!("the entry has a comment of {} bytes", self.comment_length);
            findings.refuse_entry(Rule::EntryComment, name, message);
        }
    }

    /// Size, compressed size and offset. The ZIP64 field holds exactly those, in this order, whose plain
    /// field says so, and is not there when none does.
    fn values(&self, zip64: Option<&[u8]>) -> Option<[u64; 3]> {
        let plain = [self.size, self.compressed_size, self.header_offset];
        let mut fields = Fields(zip64.unwrap_or_default());
        if zip64.is_some() && !plain.contains(&ELSEWHERE) {
            return None;
        }
        let mut values = [0; 3];
        for (value, plain) in values.iter_mut().zip(plain) {
            *value = if plain == ELSEWHERE { fields.u64()? } else { plain.into() };
        }
        fields.0.is_empty().then_some(values)
    }

    fn zip64_message(&self, zip64: Option<&[u8]>) -> String {
        let plain = [self.size, self.compressed_size, self.header_offset];
        let elsewhere = plain.iter().filter(|&&plain| plain == ELSEWHERE).count();
        match zip64 {
            Some(data) => format!(
                "the central ZIP64 field has {} bytes for {elsewhere} values of 8 bytes that the header leaves to it",
                data.len()
            ),
            None => {
                format!("the central header leaves {elsewhere} values to a ZIP64 field that is not there")
            }
        }
    }
}

/// What the format calls a method that packages do not use.
fn unknown_method(method: u16) -> Option<&'static str> {
    match method {
        0 | 8 => None,
        1 => Some("shrink"),
        2..=5 => Some("reduce"),
        6 => Some("implode"),
        9 => Some("deflate64"),
        12 => Some("bzip2"),
        14 => Some("lzma"),
        93 => Some("zstd"),
        95 => Some("xz"),
        98 => Some("ppmd"),
        99 => Some("AES"),
        _ => Some("unknown"),
    }
}

#[cfg(test)]
pub(super) mod tests;
