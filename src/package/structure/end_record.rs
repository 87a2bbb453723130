//! The end record, and the ZIP64 records before it: where the central directory is, told in one way only.

use std::io;

use super::fields::{
    DESCRIPTOR, END_RECORD, Fields, LOCAL_HEADER, SIGNATURES, VERSION_NEEDED, ZIP64_END_RECORD, ZIP64_LOCATOR,
};
use super::source::Window;
use super::{Findings, Rule};

const END_RECORD_LENGTH: usize = 22;
const LOCATOR_LENGTH: usize = 20;
const ZIP64_END_RECORD_LENGTH: usize = 56;
/// Longest comment of an archive. Some readers search for the end record in the last kilobytes only.
const COMMENT_LIMIT: usize = 1_024;

/// What a plain field holds when the value stands in the ZIP64 record.
const ELSEWHERE_16: u16 = u16::MAX;
const ELSEWHERE_32: u32 = u32::MAX;

/// Where the central directory lies, and how many entries it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CentralDirectory {
    pub offset: u64,
    /// Where the end records begin, and so where the directory ends.
    pub end: u64,
    pub entries: u64,
}

/// Finds the end records. `None` when they are so wrong that nothing behind them can be judged.
pub(super) fn read(window: &mut Window<'_>, findings: &mut Findings) -> io::Result<Option<CentralDirectory>> {
    let Some((offset, record)) = locate(window, findings)? else { return Ok(None) };
    let size = window.size();
    let mut start = offset;
    let mut told = Told {
        disk: record.disk.into(),
        directory_disk: record.directory_disk.into(),
        entries_here: record.entries_here.into(),
        entries: record.entries.into(),
        size: record.size.into(),
        offset: record.offset.into(),
    };
    match read_zip64(window, offset, findings)? {
        Zip64::None if record.size == ELSEWHERE_32 || record.offset == ELSEWHERE_32 => {
            findings
                .refuse(Rule::Zip64, "the end record points to a ZIP64 record, and there is none before it");
            return Ok(None);
        }
        Zip64::None => {}
        Zip64::Refused => return Ok(None),
        Zip64::Told { start: zip64_start, told: zip64 } => {
            if !record.agrees_with(&zip64) {
                findings.refuse(
                    Rule::Zip64,
                    format!("the end record says {told}, and the ZIP64 end record says {zip64}"),
                );
                return Ok(None);
            }
            (start, told) = (zip64_start, zip64);
        }
    }
    // No disk may be left to the ZIP64 record: readers refuse the archive that ask for it only when a count,
    // size or offset stands there.
    let disks = [record.disk.into(), record.directory_disk.into(), told.disk, told.directory_disk];
    if disks != [0; 4] || told.entries_here != told.entries {
        let Told { entries_here, entries, .. } = told;
        findings.refuse(
            Rule::Disk,
            format!(
                "the archive is one of several disks: disks {disks:?}, {entries_here} of {entries} entries here"
            ),
        );
    }
    if told.entries == 0 && told.size == 0 && start == 0 {
        findings.refuse(Rule::Empty, "the archive has no entries");
        return Ok(None);
    }
    if told.offset.checked_add(told.size) == Some(start) {
        return Ok(Some(CentralDirectory { offset: told.offset, end: start, entries: told.entries }));
    }
    // Offsets that all miss by the length of what someone put in front are one mistake, not many.
    let before = start.checked_sub(told.offset.saturating_add(told.size));
    match before {
        Some(before) if window.bytes(0, 4, size)? != Some(&LOCAL_HEADER) => {
            findings.refuse(Rule::Prefix, format!("{before} bytes stand before the archive"));
        }
        _ => findings.refuse(
            Rule::Directory,
            format!(
                "the central directory is said to be {} bytes from byte {} on, but must end at byte {start}, \
                 where the end record begins",
                told.size, told.offset
            ),
        ),
    }
    Ok(None)
}

/// The plain end record, as it is written.
struct EndRecord {
    disk: u16,
    directory_disk: u16,
    entries_here: u16,
    entries: u16,
    size: u32,
    offset: u32,
    comment: u16,
}

impl EndRecord {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.signature()? == END_RECORD).then_some(())?;
        Some(Self {
            disk: fields.u16()?,
            directory_disk: fields.u16()?,
            entries_here: fields.u16()?,
            entries: fields.u16()?,
            size: fields.u32()?,
            offset: fields.u32()?,
            comment: fields.u16()?,
        })
    }

    /// Each field says either the same, or that it is said elsewhere: a reader that knows ZIP64 and one that
    /// asks for it only where it must come to the same directory.
    fn agrees_with(&self, zip64: &Told) -> bool {
        let short = |plain: u16, value: u64| plain == ELSEWHERE_16 || u64::from(plain) == value;
        let long = |plain: u32, value: u64| plain == ELSEWHERE_32 || u64::from(plain) == value;
        short(self.entries_here, zip64.entries_here)
            && short(self.entries, zip64.entries)
            && long(self.size, zip64.size)
            && long(self.offset, zip64.offset)
    }
}

/// What an end record of either kind says.
struct Told {
    disk: u64,
    directory_disk: u64,
    entries_here: u64,
    entries: u64,
    size: u64,
    offset: u64,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { entries, size, offset, .. } = self;
        write!(f, "{entries} entries in {size} bytes from byte {offset} on")
    }
}

/// The end record whose comment reaches exactly to the end of the file.
///
/// When several do, one stands in the comment of the other. The outermost is taken, and refused because of
/// the signature in its comment.
fn locate(window: &mut Window<'_>, findings: &mut Findings) -> io::Result<Option<(u64, EndRecord)>> {
    let size = window.size();
    let searched = usize::try_from(size).unwrap_or(usize::MAX).min(END_RECORD_LENGTH + usize::from(u16::MAX));
    let tail_start = size - searched as u64;
    let tail = window.bytes(tail_start, searched, size)?.unwrap_or_default();
    let mut last = None;
    let fits = tail.windows(4).enumerate().filter(|(_, four)| *four == END_RECORD).find_map(|(at, _)| {
        let record = EndRecord::parse(&tail[at..])?;
        let rest = searched - at - END_RECORD_LENGTH;
        last = Some((usize::from(record.comment), rest));
        (usize::from(record.comment) == rest).then_some((at, record))
    });
    let Some((at, record)) = fits else {
        match last {
            Some((comment, rest)) if comment > rest => findings.refuse(
                Rule::EndRecord,
                format!("the comment of the archive has {rest} of {comment} bytes: the file was cut"),
            ),
            Some((comment, rest)) => findings
                .refuse(Rule::EndRecord, format!("{} bytes follow the end of the archive", rest - comment)),
            None => return not_an_archive(window, findings).map(|()| None),
        }
        return Ok(None);
    };
    let comment = usize::from(record.comment);
    if comment > COMMENT_LIMIT {
        let message =
            format!("the comment of the archive has {comment} bytes, at most {COMMENT_LIMIT} are allowed");
        findings.refuse(Rule::Comment, message);
    }
    // From the second byte of the record on: a reader that searches backwards meets these first.
    let behind = &tail[at + 1..];
    if let Some(found) = behind.windows(4).position(|four| SIGNATURES.iter().any(|known| *known == four)) {
        let offset = tail_start + (at + 1 + found) as u64;
        findings
            .refuse(Rule::Comment, format!("the comment of the archive holds a signature at byte {offset}"));
    }
    Ok(Some((tail_start + at as u64, record)))
}

/// Says what a file without an end record is.
fn not_an_archive(window: &mut Window<'_>, findings: &mut Findings) -> io::Result<()> {
    const TAR: std::ops::Range<usize> = 257..262;
    let size = window.size();
    let head = window.some(0, size.min(TAR.end as u64))?;
    if head.starts_with(&LOCAL_HEADER) {
        findings.refuse(Rule::EndRecord, format!("the file of {size} bytes has no end record: it was cut"));
        return Ok(());
    }
    if head.starts_with(&DESCRIPTOR) {
        findings.refuse(Rule::Disk, "this is one part of a split archive, and not the last one");
        return Ok(());
    }
    let known: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "rar"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ];
    let message = match known.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, format)) => format!("this is a {format} file, not a zip"),
        None if size == 0 => "the file is empty".to_owned(),
        None if head.get(TAR) == Some(b"ustar") => "this is a tar file, not a zip".to_owned(),
        None => format!("this is not a zip: the {size} bytes neither begin nor end like one"),
    };
    findings.refuse(Rule::Magic, message);
    Ok(())
}

enum Zip64 {
    None,
    Refused,
    Told { start: u64, told: Told },
}

/// Reads the locator right before the end record and the record right before the locator. A reader that
/// follows the locator's offset and one that looks right before it must find the same.
fn read_zip64(window: &mut Window<'_>, end_record: u64, findings: &mut Findings) -> io::Result<Zip64> {
    let size = window.size();
    let Some(locator_at) = end_record.checked_sub(LOCATOR_LENGTH as u64) else { return Ok(Zip64::None) };
    let locator = window.bytes(locator_at, LOCATOR_LENGTH, size)?.unwrap_or_default();
    if !locator.starts_with(&ZIP64_LOCATOR) {
        return Ok(Zip64::None);
    }
    let parse = |bytes| {
        let mut fields = Fields(bytes);
        fields.take(4)?;
        Some((fields.u32()?, fields.u64()?, fields.u32()?))
    };
    let located = parse(locator);
    let start = locator_at.checked_sub(ZIP64_END_RECORD_LENGTH as u64);
    let (Some(start), Some((disk, offset, disks))) = (start, located) else {
        findings.refuse(Rule::Zip64, "a ZIP64 locator stands where no ZIP64 end record fits before it");
        return Ok(Zip64::Refused);
    };
    if disk != 0 || disks != 1 || offset != start {
        findings.refuse(
            Rule::Zip64,
            format!(
                "the ZIP64 locator says disk {disk} of {disks} and byte {offset}; it must say disk 0 of 1 and \
                 byte {start}, right before itself"
            ),
        );
        return Ok(Zip64::Refused);
    }
    let record = window.bytes(start, ZIP64_END_RECORD_LENGTH, size)?.and_then(parse_zip64_end_record);
    match record {
        Some(told) => Ok(Zip64::Told { start, told }),
        None => {
            let message =
                format!("at byte {start} stands no ZIP64 end record of {ZIP64_END_RECORD_LENGTH} bytes");
            findings.refuse(Rule::Zip64, message);
            Ok(Zip64::Refused)
        }
    }
}

/// `None` for another signature, another length (version 2 of the record is about encryption), or a format
/// that is newer than ZIP64.
fn parse_zip64_end_record(bytes: &[u8]) -> Option<Told> {
    let mut fields = Fields(bytes);
    (fields.signature()? == ZIP64_END_RECORD).then_some(())?;
    (fields.u64()? == ZIP64_END_RECORD_LENGTH as u64 - 12).then_some(())?;
    let _made_by = fields.u16()?;
    (fields.u16()? <= VERSION_NEEDED).then_some(())?;
    Some(Told {
        disk: fields.u32()?.into(),
        directory_disk: fields.u32()?.into(),
        entries_here: fields.u64()?,
        entries: fields.u64()?,
        size: fields.u64()?,
        offset: fields.u64()?,
    })
}

#[cfg(test)]
pub(super) mod tests;
