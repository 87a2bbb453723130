//! Data descriptors: CRC and sizes once more, behind the data of an entry that was written in one go.

use std::io;

use super::directory::Listed;
use super::fields::{DESCRIPTOR, Fields};
use super::source::Window;
use super::{Findings, Rule};

/// Compares the descriptor at `at` with the central header, and answers where it ends; `None` when it is not
/// what it must be.
///
/// Its shape is read as a reader that comes from the front reads it: with a signature if it begins like one,
/// and with sizes of 8 bytes if the local header has a ZIP64 field.
pub(super) fn check(
    window: &mut Window<'_>,
    listed: &Listed,
    zip64: bool,
    at: u64,
    end: u64,
    findings: &mut Findings,
) -> io::Result<Option<u64>> {
    let signed = window.bytes(at, 4, end)? == Some(&DESCRIPTOR);
    let length = if signed { 4 } else { 0 } + if zip64 { 20 } else { 12 };
    let descriptor = window.bytes(at, length, end)?.and_then(|bytes| parse(bytes, signed, zip64));
    let central = (listed.crc32, listed.compressed_size, listed.size);
    let message = match descriptor {
        None => format!("no data descriptor of {length} bytes at byte {at}"),
        // Who comes from the front and knows no size finds the end of an empty file by the signature only.
        Some(_) if !signed && listed.compressed_size == 0 => {
            format!("the data descriptor at byte {at}, behind no data, has no signature")
        }
        Some(descriptor) if descriptor == central => return Ok(Some(at + length as u64)),
        Some((crc32, compressed_size, size)) => format!(
            "the data descriptor at byte {at} says CRC {crc32:08x}, {compressed_size} bytes compressed, {size} \
             bytes; the central header says CRC {:08x}, {}, {}",
            central.0, central.1, central.2
        ),
    };
    findings.refuse_entry(Rule::Descriptor, &listed.name, message);
    Ok(None)
}

fn parse(bytes: &[u8], signed: bool, zip64: bool) -> Option<(u32, u64, u64)> {
    let mut fields = Fields(bytes);
    if signed {
        fields.signature()?;
    }
    let crc32 = fields.u32()?;
    let mut size = || if zip64 { fields.u64() } else { fields.u32().map(u64::from) };
    Some((crc32, size()?, size()?))
}

#[cfg(test)]
pub(super) mod tests;
