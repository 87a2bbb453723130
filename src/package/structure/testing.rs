//! A writer of zips for tests: right by itself, and wrong exactly where a test wants it.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::{Finding, Limits, Rule, read_archive};

/// Archives that break one rule only, and their twins that are just inside.
pub struct Case {
    pub rule: Rule,
    pub refused: Vec<(&'static str, Vec<u8>)>,
    pub accepted: Vec<(&'static str, Vec<u8>)>,
    pub limits: Limits,
}

impl Case {
    pub fn new(rule: Rule) -> Self {
        Self { rule, refused: Vec::new(), accepted: Vec::new(), limits: Limits::default() }
    }

    pub fn within(rule: Rule, limits: Limits) -> Self {
        Self { limits, ..Self::new(rule) }
    }

    pub fn refuses(mut self, what: &'static str, archive: impl Into<Vec<u8>>) -> Self {
        self.refused.push((what, archive.into()));
        self
    }

    pub fn accepts(mut self, what: &'static str, archive: impl Into<Vec<u8>>) -> Self {
        self.accepted.push((what, archive.into()));
        self
    }
}

/// The findings of an archive with the usual limits.
pub fn findings(archive: &[u8]) -> Vec<Finding> {
    findings_within(archive, &Limits::default())
}

pub fn findings_within(archive: &[u8], limits: &Limits) -> Vec<Finding> {
    let reading = read_archive(&archive, limits, in_a_minute()).unwrap();
    let refused = reading.findings.iter().any(|finding| finding.severity == super::Severity::Error);
    assert_eq!(reading.archive.is_none(), refused);
    reading.findings
}

/// Far enough away for a slow machine.
pub fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// What stands behind the data of a member, and zeros in its local header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    None,
    Signed,
    Plain,
    /// With 8 bytes for each size, and a ZIP64 field in the local header.
    Signed64,
    Plain64,
}

/// One entry. What is not set by a test is what `zip` writes.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    /// Only in the local header.
    pub local_name: Option<Vec<u8>>,
    pub size: u64,
    pub packed: Vec<u8>,
    pub crc32: u32,
    pub method: u16,
    pub flags: u16,
    pub made_by: u16,
    pub needed: u16,
    pub external: u32,
    pub disk: u16,
    pub local_extra: Vec<u8>,
    pub central_extra: Vec<u8>,
    pub comment: Vec<u8>,
    pub descriptor: Descriptor,
    /// Between the previous member and this one.
    pub before: Vec<u8>,
}

impl Member {
    pub fn stored(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let name = name.as_ref().to_vec();
        let mode: u32 = if name.ends_with(b"/") { 0o040_755 } else { 0o100_644 };
        Self {
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            name,
            local_name: None,
            size: content.len() as u64,
            packed: content.to_vec(),
            crc32: crc32fast::hash(content),
            method: 0,
            made_by: 3 << 8 | 30,
            needed: 20,
            external: mode << 16,
            disk: 0,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            comment: Vec::new(),
            descriptor: Descriptor::None,
            before: Vec::new(),
        }
    }

    pub fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self { packed: deflate(content), method: 8, ..Self::stored(name, content) }
    }

    pub fn folder(name: &str) -> Self {
        Self::stored(name, b"")
    }

    /// Deflated, with a descriptor.
    pub fn streamed(name: &str, content: &[u8], descriptor: Descriptor) -> Self {
        Self { descriptor, ..Self::deflated(name, content) }.with(|member| member.flags |= 1 << 3)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn mode(self, mode: u32) -> Self {
        self.with(|member| member.external = mode << 16)
    }

    pub fn extra(self, extra: Vec<u8>) -> Self {
        self.with(|member| {
            member.local_extra.clone_from(&extra);
            member.central_extra = extra;
        })
    }

    fn zip64_local(&self) -> bool {
        matches!(self.descriptor, Descriptor::Signed64 | Descriptor::Plain64)
    }
}

pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// One extra field.
pub fn field(id: u16, data: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
}

/// A whole archive.
#[derive(Clone, Default)]
pub struct Zip {
    pub members: Vec<Member>,
    pub before_directory: Vec<u8>,
    pub behind_directory: Vec<u8>,
    /// Whether ZIP64 records stand before the end record, which says the same.
    pub zip64: bool,
    pub comment: Vec<u8>,
}

impl Zip {
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        Self { members: members.into_iter().collect(), ..Self::default() }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn build(&self) -> Built {
        let mut built = Built::default();
        for member in &self.members {
            built.bytes.extend_from_slice(&member.before);
            built.locals.push(built.bytes.len());
            built.local(member);
        }
        built.bytes.extend_from_slice(&self.before_directory);
        built.directory = built.bytes.len();
        for (member, local) in self.members.iter().zip(built.locals.clone()) {
            built.centrals.push(built.bytes.len());
            built.central(member, local);
        }
        let size = built.bytes.len() - built.directory;
        built.bytes.extend_from_slice(&self.behind_directory);
        if self.zip64 {
            built.zip64_end_records(self.members.len(), size);
        }
        built.end = built.bytes.len();
        built.signature(b"PK\x05\x06").number16(0).number16(0);
        built.number16(self.members.len() as u16).number16(self.members.len() as u16);
        let directory = built.directory as u32;
        built.number32(size as u32).number32(directory);
        built.number16(self.comment.len() as u16);
        built.bytes.extend_from_slice(&self.comment);
        built
    }
}

impl From<Zip> for Vec<u8> {
    fn from(zip: Zip) -> Self {
        zip.build().bytes
    }
}

/// An archive of one member.
impl From<Member> for Vec<u8> {
    fn from(member: Member) -> Self {
        Zip::of([member]).into()
    }
}

impl From<Built> for Vec<u8> {
    fn from(built: Built) -> Self {
        built.bytes
    }
}

/// The bytes of an archive, and where its records begin.
#[derive(Clone, Default)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub locals: Vec<usize>,
    pub centrals: Vec<usize>,
    pub directory: usize,
    pub end: usize,
}

impl Built {
    pub fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn put16(self, at: usize, value: u16) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    pub fn put32(self, at: usize, value: u32) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    pub fn put64(self, at: usize, value: u64) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    fn signature(&mut self, signature: &[u8; 4]) -> &mut Self {
        self.bytes.extend_from_slice(signature);
        self
    }

    fn number16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn number32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn number64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn local(&mut self, member: &Member) {
        let name = member.local_name.as_ref().unwrap_or(&member.name);
        let zip64 = if member.zip64_local() { field(1, &[0; 16]) } else { Vec::new() };
        self.signature(b"PK\x03\x04").number16(member.needed).number16(member.flags).number16(member.method);
        self.number32(0x5a21_0000);
        if member.zip64_local() {
            self.number32(0).number32(u32::MAX).number32(u32::MAX);
        } else if member.descriptor != Descriptor::None {
            self.number32(0).number32(0).number32(0);
        } else {
            self.number32(member.crc32).number32(member.packed.len() as u32).number32(member.size as u32);
        }
        self.number16(name.len() as u16).number16((zip64.len() + member.local_extra.len()) as u16);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(&zip64);
        self.bytes.extend_from_slice(&member.local_extra);
        self.bytes.extend_from_slice(&member.packed);
        let packed = member.packed.len();
        match member.descriptor {
            Descriptor::None => return,
            Descriptor::Signed | Descriptor::Signed64 => self.signature(b"PK\x07\x08").number32(member.crc32),
            Descriptor::Plain | Descriptor::Plain64 => self.number32(member.crc32),
        };
        match member.zip64_local() {
            true => self.number64(packed as u64).number64(member.size),
            false => self.number32(packed as u32).number32(member.size as u32),
        };
    }

    fn central(&mut self, member: &Member, local: usize) {
        self.signature(b"PK\x01\x02").number16(member.made_by).number16(member.needed);
        self.number16(member.flags).number16(member.method).number32(0x5a21_0000).number32(member.crc32);
        self.number32(member.packed.len() as u32).number32(member.size as u32);
        self.number16(member.name.len() as u16).number16(member.central_extra.len() as u16);
        self.number16(member.comment.len() as u16).number16(member.disk).number16(0);
        self.number32(member.external).number32(local as u32);
        self.bytes.extend_from_slice(&member.name);
        self.bytes.extend_from_slice(&member.central_extra);
        self.bytes.extend_from_slice(&member.comment);
    }

    fn zip64_end_records(&mut self, entries: usize, size: usize) {
        let (at, directory) = (self.bytes.len(), self.directory);
        self.signature(b"PK\x06\x06").number64(44).number16(45).number16(45).number32(0).number32(0);
        self.number64(entries as u64).number64(entries as u64);
        self.number64(size as u64).number64(directory as u64);
        self.signature(b"PK\x06\x07").number32(0).number64(at as u64).number32(1);
    }
}
