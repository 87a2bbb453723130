//! The rules of the archive part: a stable id for each, and the hint that helps an author.

use strum::{IntoStaticStr, VariantArray};

/// Why an archive is refused. The id is part of the interface: it is never changed or given to another rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum Rule {
    /// Not a zip at all.
    #[strum(serialize = "zip.magic")]
    Magic,
    #[strum(serialize = "zip.empty")]
    Empty,
    /// Bytes before the first local header.
    #[strum(serialize = "zip.prefix")]
    Prefix,
    /// No end record at the very end.
    #[strum(serialize = "zip.end-record")]
    EndRecord,
    /// The comment of the archive.
    #[strum(serialize = "zip.comment")]
    Comment,
    #[strum(serialize = "zip.disk")]
    Disk,
    /// Count, size or offset of the central directory.
    #[strum(serialize = "zip.directory")]
    Directory,
    /// ZIP64 records and fields: place, shape and agreement.
    #[strum(serialize = "zip.zip64")]
    Zip64,
    /// No local header where the central directory says that there is one.
    #[strum(serialize = "zip.local-header")]
    LocalHeader,
    /// The local header and the central one disagree.
    #[strum(serialize = "zip.local-differs")]
    LocalDiffers,
    /// A data descriptor that is missing or disagrees with the central header.
    #[strum(serialize = "zip.descriptor")]
    Descriptor,
    #[strum(serialize = "zip.stored-descriptor")]
    StoredDescriptor,
    #[strum(serialize = "zip.gap")]
    Gap,
    #[strum(serialize = "zip.overlap")]
    Overlap,
    #[strum(serialize = "zip.method")]
    Method,
    #[strum(serialize = "zip.encrypted")]
    Encrypted,
    #[strum(serialize = "zip.flags")]
    Flags,
    #[strum(serialize = "zip.version")]
    Version,
    /// Extra fields that are no sequence of id, length and data, or that stand there twice.
    #[strum(serialize = "zip.extra")]
    Extra,
    #[strum(serialize = "zip.extra-size")]
    ExtraSize,
    /// A second name, or another encoding of the name, in the extra fields.
    #[strum(serialize = "zip.second-name")]
    SecondName,
    #[strum(serialize = "zip.entry-comment")]
    EntryComment,
    /// The system whose attributes an entry has.
    #[strum(serialize = "zip.host")]
    Host,
    /// Symbolic links, by mode, by attribute or by an extra field.
    #[strum(serialize = "zip.link")]
    Link,
    /// Devices, pipes, sockets, volume labels.
    #[strum(serialize = "zip.special")]
    Special,
    #[strum(serialize = "zip.setuid")]
    Setuid,
    /// Type, mode and trailing slash disagree, or a folder has content.
    #[strum(serialize = "zip.kind")]
    Kind,
    /// Compressed data that is broken, or ends before or after its compressed size.
    #[strum(serialize = "zip.deflate")]
    Deflate,
    #[strum(serialize = "zip.size")]
    Size,
    #[strum(serialize = "zip.crc")]
    Crc,
    #[strum(serialize = "name.utf8")]
    NameUtf8,
    /// Not ASCII, and not flagged as UTF-8.
    #[strum(serialize = "name.unflagged")]
    NameUnflagged,
    /// Not ASCII, from a system whose names some readers take to be in a code page, flagged or not.
    #[strum(serialize = "name.host")]
    NameHost,
    #[strum(serialize = "name.nfc")]
    NameNfc,
    #[strum(serialize = "name.length")]
    NameLength,
    #[strum(serialize = "name.component-length")]
    NameComponentLength,
    #[strum(serialize = "name.depth")]
    NameDepth,
    #[strum(serialize = "name.control")]
    NameControl,
    #[strum(serialize = "name.format")]
    NameFormat,
    #[strum(serialize = "name.bidi")]
    NameBidi,
    #[strum(serialize = "name.unassigned")]
    NameUnassigned,
    #[strum(serialize = "name.private-use")]
    NamePrivateUse,
    #[strum(serialize = "name.character")]
    NameCharacter,
    #[strum(serialize = "name.slash")]
    NameSlash,
    #[strum(serialize = "name.absolute")]
    NameAbsolute,
    #[strum(serialize = "name.empty")]
    NameEmpty,
    /// A component `.` or `..`.
    #[strum(serialize = "name.dots")]
    NameDots,
    #[strum(serialize = "name.trailing")]
    NameTrailing,
    /// A component that ends in a semicolon and digits, as files of VMS do.
    #[strum(serialize = "name.version")]
    NameVersion,
    #[strum(serialize = "name.device")]
    NameDevice,
    #[strum(serialize = "name.duplicate")]
    NameDuplicate,
    #[strum(serialize = "name.case")]
    NameCase,
    #[strum(serialize = "name.file-and-folder")]
    NameFileAndFolder,
    #[strum(serialize = "limit.entries")]
    Entries,
    #[strum(serialize = "limit.unpacked")]
    Unpacked,
    #[strum(serialize = "limit.ratio")]
    Ratio,
    #[strum(serialize = "limit.time")]
    Time,
    #[strum(serialize = "limit.findings")]
    Findings,
}

const REPACK: &str = "pack the folder again: `zip -r plugin.zip DIR`";
const RENAME: &str = "rename the file and pack again";

impl Rule {
    pub fn id(self) -> &'static str {
        self.into()
    }

    pub fn hint(self) -> &'static str {
        match self {
            Self::Magic => "a plugin is a zip: `zip -r plugin.zip DIR` makes one",
            Self::Empty => "pack the folder that holds plugin.json or plugin.py",
            Self::Prefix => {
                "a plugin is a plain zip, not a self-extracting program; `zip -J` strips what stands before"
            }
            Self::EndRecord => {
                "the file was cut or added to on its way here; send it again, or pack it again"
            }
            Self::Comment => "pack without a comment: comments belong into the README",
            // Joining is no advice: `zip -s 0` damages files that lie in more than two parts.
            Self::Disk => "pack the folder again as one file: `zip -r plugin.zip DIR`, without `-s`",
            Self::Directory | Self::LocalHeader | Self::LocalDiffers | Self::Gap | Self::Overlap => REPACK,
            Self::Zip64 => "a package of this size needs no ZIP64; pack it again without (`zip -fz-`)",
            Self::Descriptor => "pack into a file and not into a pipe, or pack again with another tool",
            Self::StoredDescriptor => {
                "what is written into a pipe must be compressed: pack into a file, or use deflate"
            }
            Self::Method => "pack with deflate or without compression: `zip -r`, Python's ZIP_DEFLATED",
            Self::Encrypted => "a plugin is read by the registry: pack it without a password",
            Self::Flags => "pack again with a tool that writes plain zips",
            Self::Version => "pack again with a tool that writes plain zips (format version 4.5 or lower)",
            Self::Extra | Self::ExtraSize => "leave extra fields out: `zip -X`",
            Self::SecondName => "a name is written once, as UTF-8: as Python and Go do; or use ASCII names",
            Self::EntryComment => "pack without comments on files",
            Self::Host => {
                "pack on Linux, macOS or Windows; attributes of other systems have no agreed meaning"
            }
            Self::Link => "put the file itself in the place of the link: `zip -r` without `-y` does that",
            Self::Special => "a package holds regular files and folders only",
            Self::Setuid => "`chmod -R u-s,g-s,-t DIR` and pack again",
            Self::Kind => "a folder's name ends with a slash and a file's does not; pack again",
            Self::Deflate | Self::Size | Self::Crc => {
                "the file is damaged, or was changed after it was packed; pack it again"
            }
            Self::NameUtf8 | Self::NameUnflagged => {
                "pack with a tool that flags names as UTF-8 (Python or Go; `zip` does not), or use ASCII names"
            }
            Self::NameHost => {
                "unzip would give the file another name: use ASCII names, or pack on Linux or macOS with Python"
            }
            Self::NameNfc => "macOS tends to decompose accents: use ASCII names",
            Self::NameLength | Self::NameComponentLength => "shorten the name and pack again",
            Self::NameDepth => "put the files into fewer folders",
            Self::NameControl | Self::NameUnassigned | Self::NamePrivateUse => RENAME,
            Self::NameFormat => {
                "invisible characters are not allowed in names, not even in joined emoji; rename the file"
            }
            Self::NameBidi => {
                "characters that change the direction of text can hide what a name is; rename the file"
            }
            Self::NameCharacter => {
                r#"Windows cannot store names with \ : * ? " < > or |; folders are separated by /"#
            }
            Self::NameSlash => "use / between folders, and other characters inside of names",
            Self::NameAbsolute => "pack relative to the folder: `cd DIR && zip -r ../plugin.zip .`",
            Self::NameEmpty | Self::NameDots => {
                "pack from inside of the folder, so that no path begins elsewhere"
            }
            Self::NameTrailing => "Windows drops dots and blanks at the end of a name; rename the file",
            Self::NameVersion => {
                "unzip takes ; and digits at the end of a name for a version and drops them; rename the file"
            }
            Self::NameDevice => "Windows gives this name to a device, with any extension; rename the file",
            Self::NameDuplicate => "the archive was added to; pack it again from scratch",
            Self::NameCase => "these are one file on Windows and macOS; rename one of them",
            Self::NameFileAndFolder => "a name is either a file or a folder; rename one of them",
            Self::Entries => "leave out what is not needed at run time: caches, tests, node_modules",
            Self::Unpacked => "leave large data out of the package and load it at run time",
            Self::Ratio => "leave generated or empty data out of the package",
            Self::Time => "pack fewer or smaller files; if the package is small, try again later",
            Self::Findings => "repair what is shown and look again",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_written_alike() {
        let ids: HashSet<&str> = Rule::VARIANTS.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::VARIANTS.len());
        for id in ids {
            let (group, rest) = id.split_once('.').unwrap();
            assert!(["zip", "name", "limit"].contains(&group), "{id}");
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(rest.bytes().all(plain), "{id}");
        }
    }

    #[test]
    fn every_rule_has_a_hint() {
        for rule in Rule::VARIANTS {
            assert!(rule.hint().len() > 15, "{rule:?}");
        }
    }
}
