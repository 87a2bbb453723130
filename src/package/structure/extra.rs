//! Extra fields: well-formed, small, and without a second name, a link or another encryption inside.

use std::collections::HashSet;

use super::fields::Fields;
use super::{Findings, Kind, Rule, attributes};

/// Longest extra fields of one header.
const EXTRA_LIMIT: usize = 4_096;

const ZIP64: u16 = 0x0001;
const LANGUAGE_ENCODING: u16 = 0x0008;
const PKWARE_UNIX: u16 = 0x000d;
const STRONG_ENCRYPTION: u16 = 0x0017;
const ENCRYPTION_RECIPIENTS: u16 = 0x0019;
const MACINTOSH_LONG_NAME: u16 = 0x2605;
const UNICODE_COMMENT: u16 = 0x6375;
const STREAMED_ATTRIBUTES: u16 = 0x6c78;
const UNICODE_PATH: u16 = 0x7075;
const ASI_UNIX: u16 = 0x756e;
const AES: u16 = 0x9901;
const CODE_PAGE: u16 = 0xe57a;

/// PKWARE's Unix field without a link target or device numbers behind it: two times, user and group.
const PKWARE_UNIX_PLAIN: usize = 12;
/// ASi's Unix field without a link target: CRC, mode, size, user, group.
const ASI_UNIX_PLAIN: usize = 14;

/// Whose extra fields: the two headers of an entry may have different ones, `zip` gives the local one more
/// times.
#[derive(Clone, Copy)]
pub(super) enum Header {
    Central,
    Local,
}

impl Header {
    fn name(self) -> &'static str {
        match self {
            Self::Central => "central",
            Self::Local => "local",
        }
    }
}

/// Checks the extra fields of a header. Answers the content of the ZIP64 field, which the caller compares
/// with the sizes of the header.
///
/// Fields with an id that is not named here are times, owners, markers of tools; whatever they hold, no
/// reader finds other files because of them.
pub(super) fn check<'a>(
    extra: &'a [u8],
    header: Header,
    kind: Kind,
    name: &[u8],
    findings: &mut Findings,
) -> Option<&'a [u8]> {
    let place = header.name();
    if extra.len() > EXTRA_LIMIT {
        let message =
            format!("the {place} extra fields have {} bytes, at most {EXTRA_LIMIT} are allowed", extra.len());
        findings.refuse_entry(Rule::ExtraSize, name, message);
        return None;
    }
    let mut zip64 = None;
    let mut seen = HashSet::new();
    let mut fields = Fields(extra);
    while !fields.0.is_empty() {
        let at = extra.len() - fields.0.len();
        let field =
            fields.u16().zip(fields.u16()).and_then(|(id, length)| Some((id, fields.take(length.into())?)));
        let Some((id, data)) = field else {
            let message = format!("the {place} extra fields are cut at byte {at} of {}", extra.len());
            findings.refuse_entry(Rule::Extra, name, message);
            break;
        };
        if !seen.insert(id) {
            let message = format!("the {place} extra field {id:#06x} stands there twice");
            findings.refuse_entry(Rule::Extra, name, message);
            break;
        }
        match id {
            ZIP64 => zip64 = Some(data),
            UNICODE_PATH | MACINTOSH_LONG_NAME | LANGUAGE_ENCODING | CODE_PAGE => {
                let message = format!("the {place} extra field {id:#06x} gives the entry another name");
                findings.refuse_entry(Rule::SecondName, name, message);
            }
            UNICODE_COMMENT => {
                let message = format!("the {place} extra field {id:#06x} is a comment");
                findings.refuse_entry(Rule::EntryComment, name, message);
            }
            AES | STRONG_ENCRYPTION | ENCRYPTION_RECIPIENTS => {
                let message = format!("the {place} extra field {id:#06x} is about encryption");
                findings.refuse_entry(Rule::Encrypted, name, message);
            }
            PKWARE_UNIX if data.len() > PKWARE_UNIX_PLAIN => {
                let message = format!("the {place} extra field {id:#06x} holds a link target or a device");
                findings.refuse_entry(Rule::Link, name, message);
            }
            STREAMED_ATTRIBUTES => check_streamed_attributes(data, place, kind, name, findings),
            ASI_UNIX => check_asi_unix(data, place, kind, name, findings),
            _ => {}
        }
    }
    zip64
}

/// ASi's field has a mode of its own, which must agree like that of the attributes.
fn check_asi_unix(data: &[u8], place: &str, kind: Kind, name: &[u8], findings: &mut Findings) {
    let mut fields = Fields(data);
    let parsed = fields.u32().and_then(|_crc| fields.u16().zip(fields.u32()));
    match parsed {
        Some((mode, 0)) if data.len() == ASI_UNIX_PLAIN => attributes::check_mode(mode, kind, name, findings),
        Some(_) if data.len() >= ASI_UNIX_PLAIN => {
            let message = format!("the {place} extra field {ASI_UNIX:#06x} holds a link target or a device");
            findings.refuse_entry(Rule::Link, name, message);
        }
        _ => {
            let message = format!("the {place} extra field {ASI_UNIX:#06x} has {} bytes, not 14", data.len());
            findings.refuse_entry(Rule::Extra, name, message);
        }
    }
}

/// The field of `bsdtar`: what stands only in the central header otherwise, for those who come from the
/// front. A bitmap tells which of host, internal attributes, external attributes and comment follow.
fn check_streamed_attributes(data: &[u8], place: &str, kind: Kind, name: &[u8], findings: &mut Findings) {
    let mut fields = Fields(data);
    let mut parse = || {
        let &[bitmap] = fields.take(1)? else { return None };
        let made_by = if bitmap & 1 != 0 { fields.u16()? } else { 0 };
        let _internal = if bitmap & 2 != 0 { fields.u16()? } else { 0 };
        let external = if bitmap & 4 != 0 { fields.u32()? } else { 0 };
        let comment = if bitmap & 8 != 0 { fields.u16()? } else { 0 };
        let known = bitmap < 16 && fields.0.len() == usize::from(comment);
        known.then_some((made_by.to_le_bytes()[1], external, comment))
    };
    match parse() {
        None => {
            let message = format!("the {place} extra field {STREAMED_ATTRIBUTES:#06x} is not well-formed");
            findings.refuse_entry(Rule::Extra, name, message);
        }
        Some((host, external, comment)) => {
            attributes::check(host, external, kind, name, findings);
            if comment > 0 {
                let message = format!("the {place} extra field {STREAMED_ATTRIBUTES:#06x} holds a comment");
                findings.refuse_entry(Rule::EntryComment, name, message);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
