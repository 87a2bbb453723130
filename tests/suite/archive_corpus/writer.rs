//! Zip records field by field: right as they are made, and wrong wherever a test changes one.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Flag: CRC and sizes stand behind the data.
pub const STREAMED: u16 = 1 << 3;
/// Flag: the name is UTF-8.
pub const UTF8: u16 = 1 << 11;

const UNIX: u16 = 3 << 8;

/// What the local and the central header of an entry both have.
#[derive(Clone)]
pub struct Header {
    pub needed: u16,
    pub flags: u16,
    pub method: u16,
    /// Time in the low half, date in the high half, as MS-DOS has them.
    pub time: u32,
    pub crc32: u32,
    pub packed: u32,
    pub size: u32,
    pub name: Vec<u8>,
    pub extra: Vec<u8>,
}

impl Header {
    fn write(&self, out: &mut Vec<u8>) {
        put16(out, &[self.needed, self.flags, self.method]);
        put32(out, &[self.time, self.crc32, self.packed, self.size]);
        put16(out, &[self.name.len() as u16, self.extra.len() as u16]);
    }
}

/// A file or folder: both headers, and what lies between them.
#[derive(Clone)]
pub struct Entry {
    /// Bytes in front of the local header.
    pub before: Vec<u8>,
    pub local: Header,
    pub data: Vec<u8>,
    /// What stands behind the data.
    pub descriptor: Vec<u8>,
    pub central: Header,
    pub made_by: u16,
    pub disk: u16,
    pub internal: u16,
    pub external: u32,
    /// Where the local header is; [`Zip::place`] sets it.
    pub offset: u32,
    pub comment: Vec<u8>,
    /// Whether it has a local header and data in the file.
    pub is_there: bool,
    /// Whether the central directory has it.
    pub is_listed: bool,
}

impl Entry {
    pub fn stored(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let name = name.as_ref().to_vec();
        let external = if name.ends_with(b"/") { 0o040_755 << 16 | 0x10 } else { 0o100_644 << 16 };
        let head = Header {
            needed: 20,
            flags: if name.is_ascii() { 0 } else { UTF8 },
            method: 0,
            time: 0x5a21_6000,
            crc32: crc32fast::hash(content),
            packed: content.len() as u32,
            size: content.len() as u32,
            name,
            extra: Vec::new(),
        };
        Self {
            before: Vec::new(),
            local: head.clone(),
            data: content.to_vec(),
            descriptor: Vec::new(),
            central: head,
            made_by: UNIX | 30,
            disk: 0,
            internal: 0,
            external,
            offset: 0,
            comment: Vec::new(),
            is_there: true,
            is_listed: true,
        }
    }

    pub fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self::stored(name, content).packed_as(8, deflate(content))
    }

    pub fn folder(name: &str) -> Self {
        Self::stored(format!("{name}/"), b"")
    }

    /// Other bytes as its data, with the sizes that go with them.
    pub fn packed_as(self, method: u16, data: Vec<u8>) -> Self {
        let packed = data.len() as u32;
        self.with(|entry| entry.data = data).both(|head| {
            head.method = method;
            head.packed = packed;
        })
    }

    /// Written in one go: zeros in the local header, and a descriptor with its signature behind the data.
    pub fn streamed(self) -> Self {
        let Header { crc32, packed, size, .. } = self.central;
        let mut descriptor = b"PK\x07\x08".to_vec();
        put32(&mut descriptor, &[crc32, packed, size]);
        self.with(|entry| entry.descriptor = descriptor)
            .local(|head| (head.crc32, head.packed, head.size) = (0, 0, 0))
            .both(|head| head.flags |= STREAMED)
    }

    /// The same with sizes of 8 bytes, which a ZIP64 field in the local header announces.
    pub fn streamed_long(self) -> Self {
        let Header { crc32, packed, size, .. } = self.central;
        let mut descriptor = b"PK\x07\x08".to_vec();
        put32(&mut descriptor, &[crc32]);
        put64(&mut descriptor, &[packed.into(), size.into()]);
        self.streamed().with(|entry| entry.descriptor = descriptor).both(|head| head.needed = 45).local(
            |head| {
                head.extra = field(1, &[0; 16]);
                (head.packed, head.size) = (u32::MAX, u32::MAX);
            },
        )
    }

    /// Sizes in the ZIP64 fields of both headers, and the offset too if it is asked for.
    pub fn long(self, offset: Option<u64>) -> Self {
        let mut sizes = Vec::new();
        put64(&mut sizes, &[self.central.size.into(), self.central.packed.into()]);
        let mut all = sizes.clone();
        put64(&mut all, offset.as_slice());
        self.both(|head| (head.needed, head.packed, head.size) = (45, u32::MAX, u32::MAX))
            .local(|head| head.extra = field(1, &sizes))
            .central(|head| head.extra = field(1, &all))
    }

    /// The descriptor without its signature.
    pub fn unsigned(self) -> Self {
        self.with(|entry| drop(entry.descriptor.drain(..4)))
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    #[must_use]
    pub fn local(self, change: impl FnOnce(&mut Header)) -> Self {
        self.with(|entry| change(&mut entry.local))
    }

    #[must_use]
    pub fn central(self, change: impl FnOnce(&mut Header)) -> Self {
        self.with(|entry| change(&mut entry.central))
    }

    #[must_use]
    pub fn both(self, change: impl Fn(&mut Header)) -> Self {
        self.with(|entry| {
            change(&mut entry.local);
            change(&mut entry.central);
        })
    }

    pub fn extra(self, extra: &[u8]) -> Self {
        self.both(|head| head.extra = extra.to_vec())
    }

    pub fn mode(self, mode: u32) -> Self {
        self.with(|entry| entry.external = mode << 16)
    }

    /// The local header and everything up to the next entry.
    pub fn record(&self) -> Vec<u8> {
        let mut out = b"PK\x03\x04".to_vec();
        self.local.write(&mut out);
        [&out[..], &self.local.name, &self.local.extra, &self.data, &self.descriptor].concat()
    }

    fn central_record(&self) -> Vec<u8> {
        let mut out = b"PK\x01\x02".to_vec();
        put16(&mut out, &[self.made_by]);
        self.central.write(&mut out);
        put16(&mut out, &[self.comment.len() as u16, self.disk, self.internal]);
        put32(&mut out, &[self.external, self.offset]);
        [&out[..], &self.central.name, &self.central.extra, &self.comment].concat()
    }
}

/// The ZIP64 end record and its locator.
#[derive(Clone, Default)]
pub struct Zip64 {
    /// Of what follows this field.
    pub length: u64,
    pub needed: u16,
    pub disk: u32,
    pub directory_disk: u32,
    pub entries_here: u64,
    pub entries: u64,
    pub size: u64,
    pub offset: u64,
    /// Behind the fields that every such record has.
    pub more: Vec<u8>,
    pub locator_disk: u32,
    pub locator_offset: u64,
    pub disks: u32,
}

#[derive(Clone, Default)]
pub struct EndRecord {
    pub disk: u16,
    pub directory_disk: u16,
    pub entries_here: u16,
    pub entries: u16,
    pub size: u32,
    pub offset: u32,
    pub comment_length: u16,
}

/// An archive. What [`Zip::place`] has computed may be changed afterwards.
#[derive(Clone, Default)]
pub struct Zip {
    pub entries: Vec<Entry>,
    pub before_directory: Vec<u8>,
    pub behind_directory: Vec<u8>,
    /// Whether the central directory lists the entries the other way round.
    pub reversed: bool,
    pub zip64: Option<Zip64>,
    pub end: EndRecord,
    pub comment: Vec<u8>,
    pub behind: Vec<u8>,
}

impl Zip {
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().collect(), ..Self::default() }.place()
    }

    /// Changes what the archive consists of, and all numbers with it.
    pub fn framed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.place()
    }

    /// Changes something, and leaves everything else as it is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With ZIP64 end records that say the same as the plain one.
    pub fn long(self) -> Self {
        self.framed(|zip| zip.zip64 = Some(Zip64::default()))
    }

    /// Says where everything is.
    fn place(mut self) -> Self {
        let mut at = 0;
        for entry in self.entries.iter_mut().filter(|entry| entry.is_there) {
            at += entry.before.len();
            entry.offset = at as u32;
            at += entry.record().len();
        }
        at += self.before_directory.len();
        let directory = self.directory();
        let entries = self.entries.iter().filter(|entry| entry.is_listed).count();
        self.end = EndRecord {
            entries_here: entries as u16,
            entries: entries as u16,
            size: directory.len() as u32,
            offset: at as u32,
            comment_length: self.comment.len() as u16,
            ..EndRecord::default()
        };
        if let Some(zip64) = &mut self.zip64 {
            *zip64 = Zip64 {
                length: 44 + zip64.more.len() as u64,
                needed: 45,
                entries_here: entries as u64,
                entries: entries as u64,
                size: directory.len() as u64,
                offset: at as u64,
                more: std::mem::take(&mut zip64.more),
                locator_offset: (at + directory.len() + self.behind_directory.len()) as u64,
                disks: 1,
                ..Zip64::default()
            };
        }
        self
    }

    fn directory(&self) -> Vec<u8> {
        let listed = self.entries.iter().filter(|entry| entry.is_listed);
        let mut records: Vec<Vec<u8>> = listed.map(Entry::central_record).collect();
        if self.reversed {
            records.reverse();
        }
        records.concat()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.is_there) {
            out.extend_from_slice(&entry.before);
            out.extend(entry.record());
        }
        out.extend_from_slice(&self.before_directory);
        out.extend(self.directory());
        out.extend_from_slice(&self.behind_directory);
        if let Some(zip64) = &self.zip64 {
            out.extend_from_slice(b"PK\x06\x06");
            put64(&mut out, &[zip64.length]);
            put16(&mut out, &[45, zip64.needed]);
            put32(&mut out, &[zip64.disk, zip64.directory_disk]);
            put64(&mut out, &[zip64.entries_here, zip64.entries, zip64.size, zip64.offset]);
            out.extend_from_slice(&zip64.more);
            out.extend_from_slice(b"PK\x06\x07");
            put32(&mut out, &[zip64.locator_disk]);
            put64(&mut out, &[zip64.locator_offset]);
            put32(&mut out, &[zip64.disks]);
        }
        let end = &self.end;
        out.extend_from_slice(b"PK\x05\x06");
        put16(&mut out, &[end.disk, end.directory_disk, end.entries_here, end.entries]);
        put32(&mut out, &[end.size, end.offset]);
        put16(&mut out, &[end.comment_length]);
        out.extend_from_slice(&self.comment);
        out.extend_from_slice(&self.behind);
        out
    }
}

impl From<Zip> for Vec<u8> {
    fn from(zip: Zip) -> Self {
        zip.bytes()
    }
}

pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// One extra field.
pub fn field(id: u16, data: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
