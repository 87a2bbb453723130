//! Local headers: each must say what the central directory says, because some readers use one and some the other.

use std::io;

use super::directory::{ELSEWHERE, Listed};
use super::extra::{self, Header};
use super::fields::{Fields, LOCAL_HEADER, VERSION_NEEDED};
use super::findings::shown;
use super::source::Window;
use super::{Findings, Rule, descriptor};

const LOCAL_HEADER_LENGTH: usize = 30;

/// Where the data of an entry lies, and where the next entry must begin.
pub(super) struct Placed {
    pub data_offset: u64,
    /// `None` when that cannot be known.
    pub end: Option<u64>,
}

/// Reads the local header of an entry. `end` is where the central directory begins. `None` when there is no
/// such header, or no room for what it announces.
pub(super) fn check(
    window: &mut Window<'_>,
    listed: &Listed,
    end: u64,
    findings: &mut Findings,
) -> io::Result<Option<Placed>> {
    let name = &listed.name;
    let at = listed.header_offset;
    let header = window.bytes(at, LOCAL_HEADER_LENGTH, end)?.and_then(LocalHeader::parse);
    let Some(header) = header else {
        findings.refuse_entry(Rule::LocalHeader, name, format!("no local header at byte {at}"));
        return Ok(None);
    };
    let behind = at + LOCAL_HEADER_LENGTH as u64;
    let length = header.name_length + header.extra_length;
    let Some(variable) = window.bytes(behind, length, end)? else {
        let message = format!(
            "the {length} bytes of name and extra fields behind the local header at byte {at} are cut"
        );
        findings.refuse_entry(Rule::LocalHeader, name, message);
        return Ok(None);
    };
    let zip64 = header.compare(variable, listed, findings);
    let data_offset = behind + length as u64;
    let Some(data_end) = data_offset.checked_add(listed.compressed_size).filter(|last| *last <= end) else {
        let message = format!(
            "{} bytes of data from byte {data_offset} on reach into the central directory at byte {end}",
            listed.compressed_size
        );
        findings.refuse_entry(Rule::Overlap, name, message);
        return Ok(None);
    };
    let entry_end = match zip64 {
        _ if !listed.has_descriptor() => Some(data_end),
        Some(zip64) => descriptor::check(window, listed, zip64, data_end, end, findings)?,
        None => None,
    };
    Ok(Some(Placed { data_offset, end: entry_end }))
}

struct LocalHeader {
    needed: u16,
    flags: u16,
    method: u16,
    crc32: u32,
    compressed_size: u32,
    size: u32,
    name_length: usize,
    extra_length: usize,
}

impl LocalHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.signature()? == LOCAL_HEADER).then_some(())?;
        let (needed, flags, method) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let _time_and_date = fields.u32()?;
        Some(Self {
            needed,
            flags,
            method,
            crc32: fields.u32()?,
            compressed_size: fields.u32()?,
            size: fields.u32()?,
            name_length: fields.u16()?.into(),
            extra_length: fields.u16()?.into(),
        })
    }

    /// Compares with the central header. Answers whether the sizes of this entry are those of ZIP64, `None`
    /// when that is not well said.
    fn compare(&self, variable: &[u8], listed: &Listed, findings: &mut Findings) -> Option<bool> {
        let (name, extra) = variable.split_at(self.name_length.min(variable.len()));
        let zip64 = extra::check(extra, Header::Local, listed.kind, &listed.name, findings);
        let sizes = self.sizes(zip64);
        let mut differs = Vec::new();
        // A name that was too long to be kept whole is refused already: then its beginning is compared.
        if name.len() != listed.name_length || !name.starts_with(&listed.name) {
            differs.push(format!("name {}", shown(name)));
        }
        let mut compare = |what: &str, local: u64, central: u64, may_be_zero: bool| {
            if local != central && !(may_be_zero && local == 0) {
                differs.push(format!("{what} {local} in place of {central}"));
            }
        };
        compare("flags", self.flags.into(), listed.flags.into(), false);
        compare("method", self.method.into(), listed.method.into(), false);
        // With a data descriptor they are not known yet when the header is written, and zero then; `zip`
        // writes the size all the same.
        let later = listed.has_descriptor();
        compare("CRC", self.crc32.into(), listed.crc32.into(), later);
        if let Some([size, compressed_size]) = sizes {
            compare("compressed size", compressed_size, listed.compressed_size, later);
            compare("size", size, listed.size, later);
        } else {
            let message = "the local header's sizes and its ZIP64 field do not belong together";
            findings.refuse_entry(Rule::Zip64, &listed.name, message);
        }
        if !differs.is_empty() {
            let message = format!("the local header differs from the central one: {}", differs.join(", "));
            findings.refuse_entry(Rule::LocalDiffers, &listed.name, message);
        }
        if self.needed > VERSION_NEEDED {
            let message =
                format!("the local header needs version {}, at most {VERSION_NEEDED} is read", self.needed);
            findings.refuse_entry(Rule::Version, &listed.name, message);
        }
        sizes.map(|_| zip64.is_some())
    }

    /// Size and compressed size. In a local header the ZIP64 field holds both or is not there.
    fn sizes(&self, zip64: Option<&[u8]>) -> Option<[u64; 2]> {
        let plain = [self.size, self.compressed_size];
        let Some(data) = zip64 else {
            return (!plain.contains(&ELSEWHERE)).then_some(plain.map(u64::from));
        };
        let mut fields = Fields(data);
        let sizes = [fields.u64()?, fields.u64()?];
        (plain == [ELSEWHERE; 2] && fields.0.is_empty()).then_some(sizes)
    }
}

#[cfg(test)]
pub(super) mod tests;
