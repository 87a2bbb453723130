//! File type and permissions of an entry, by whichever system's attributes it has.

use super::{Findings, Kind, Rule};

/// Systems whose attributes mean the same to every reader: MS-DOS attributes in the low half, and a Unix
/// mode in the high half or zero. Python on Windows and Go write 0, `zip` and `ditto` 3, NTFS and VFAT tools
/// 10, 11 and 14, Darwin tools 19. The remaining ones (VMS, Amiga, Acorn, BeOS, ...) put other bits there.
const HOSTS: [u8; 6] = [0, 3, 10, 11, 14, 19];

const DOS_VOLUME_LABEL: u32 = 0x08;
const DOS_FOLDER: u32 = 0x10;
/// Windows marks symbolic links and junctions so; some tools store all 16 of its bits.
const WINDOWS_REPARSE_POINT: u32 = 0x400;

const TYPE: u16 = 0o170_000;
const TYPE_FOLDER: u16 = 0o040_000;
const TYPE_FILE: u16 = 0o100_000;
const TYPE_LINK: u16 = 0o120_000;
const SETUID_SETGID_STICKY: u16 = 0o7_000;
const EXECUTE: u16 = 0o111;

/// Checks the attributes of a central header against the kind that the name tells. Answers whether the
/// entry is executable.
///
/// The mode in the high half counts for every host: `unzip` and many libraries apply it to entries of
/// MS-DOS as well.
pub(super) fn check(host: u8, external: u32, kind: Kind, name: &[u8], findings: &mut Findings) -> bool {
    if !HOSTS.contains(&host) {
        let message =
            format!("the entry has attributes of system {host}; 0, 3, 10, 11, 14 and 19 are understood");
        findings.refuse_entry(Rule::Host, name, message);
        return false;
    }
    if external & DOS_VOLUME_LABEL != 0 {
        findings.refuse_entry(Rule::Special, name, "the entry is a volume label, not a file");
    }
    if external & WINDOWS_REPARSE_POINT != 0 {
        findings.refuse_entry(Rule::Link, name, "the entry is a reparse point, which is a link on Windows");
    }
    if external & DOS_FOLDER != 0 && kind == Kind::File {
        findings.refuse_entry(
            Rule::Kind,
            name,
            "the attributes say folder, and the name has no slash at its end",
        );
    }
    let mode = (external >> 16) as u16;
    check_mode(mode, kind, name, findings);
    kind == Kind::File && mode & EXECUTE != 0
}

/// Checks a Unix mode, from the attributes or from an extra field. A mode without a type says nothing about
/// it: Python and Go write such ones.
pub(super) fn check_mode(mode: u16, kind: Kind, name: &[u8], findings: &mut Findings) {
    let stated = match mode & TYPE {
        0 => None,
        TYPE_FILE => Some(Kind::File),
        TYPE_FOLDER => Some(Kind::Folder),
        TYPE_LINK => {
            findings.refuse_entry(Rule::Link, name, format!("mode {mode:o} is a symbolic link"));
            None
        }
        other => {
            let what = match other {
                0o010_000 => "a pipe",
                0o020_000 => "a character device",
                0o060_000 => "a block device",
                0o140_000 => "a socket",
                _ => "of no known type",
            };
            findings.refuse_entry(Rule::Special, name, format!("mode {mode:o} is {what}"));
            None
        }
    };
    if mode & SETUID_SETGID_STICKY != 0 {
        let message = format!("mode {mode:o} has a setuid, setgid or sticky bit");
        findings.refuse_entry(Rule::Setuid, name, message);
    }
    let message = match (stated, kind) {
        (Some(Kind::Folder), Kind::File) => "is a folder, and the name has no slash at its end",
        (Some(Kind::File), Kind::Folder) => "is a file, and the name ends with a slash",
        (None, _) | (Some(Kind::File), Kind::File) | (Some(Kind::Folder), Kind::Folder) => return,
    };
    findings.refuse_entry(Rule::Kind, name, format!("mode {mode:o} {message}"));
}

#[cfg(test)]
pub(super) mod tests;
