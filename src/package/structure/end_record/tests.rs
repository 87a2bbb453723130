//! End records that lie, and those that just do not.

use super::super::testing::{Case, Member, Zip, findings};
use super::super::{Limits, Rule};

fn one() -> Zip {
    Zip::of([Member::stored("a.txt", b"content")])
}

fn commented(comment: &[u8]) -> Zip {
    one().with(|zip| zip.comment = comment.to_vec())
}

fn zip64() -> Zip {
    one().with(|zip| zip.zip64 = true)
}

pub fn cases() -> Vec<Case> {
    let (plain, long) = (one().build(), zip64().build());
    let (end, long_end) = (plain.end, long.end);
    let (locator, record) = (long_end - 20, long_end - 76);
    let bytes = |zip: Zip| Vec::from(zip);
    let cut = |length: usize| plain.bytes[..length].to_vec();
    let inner = bytes(one());
    vec![
        Case::new(Rule::Magic)
            .refuses("nothing", b"")
            .refuses("text", b"#!/bin/sh\necho hello\n".repeat(20))
            .refuses("gzip", b"\x1f\x8b\x08\0\0\0\0\0".repeat(9))
            .refuses("tar", [&[b'x'; 257][..], b"ustar\x0000", &[0; 500]].concat())
            .accepts("a zip", one()),
        Case::new(Rule::Empty)
            .refuses("an end record alone", Zip::default())
            .refuses("with a comment", Zip::default().with(|zip| zip.comment = b"empty".to_vec()))
            .refuses("with ZIP64 records", Zip::default().with(|zip| zip.zip64 = true))
            .accepts("one empty file", Zip::of([Member::stored("a", b"")])),
        Case::new(Rule::EndRecord)
            .refuses("one byte less", cut(plain.bytes.len() - 1))
            .refuses("one byte more", [&plain.bytes[..], b"\n"].concat())
            .refuses("no end record", cut(end))
            .refuses("cut inside of the data", cut(36))
            .refuses("a comment that is cut", {
                let whole = commented(b"hello").build().bytes;
                whole[..whole.len() - 2].to_vec()
            })
            .refuses("more bytes than a comment can have", [&plain.bytes[..], &[0; 70_000]].concat())
            .accepts("nothing behind it", one())
            .accepts("a comment to the end", commented(b"hello")),
        Case::new(Rule::Comment)
            .refuses("1,025 bytes", commented(&[b'c'; 1_025]))
            .refuses("the longest", commented(&[b'c'; 65_535]))
            .refuses("another archive", commented(&inner))
            .refuses("an end record", commented(&[0; 22]).build().put(end + 22, b"PK\x05\x06"))
            .refuses("a local signature", commented(b"see PK\x03\x04"))
            .refuses("a ZIP64 signature", commented(b"PK\x06\x06"))
            .accepts("1,024 bytes", commented(&[b'c'; 1_024]))
            .accepts("almost a signature", commented(b"PK\x05 PK\x06\x05 K\x05\x06 PK"))
            .accepts("the first bytes of one at the end", commented(b"PK\x05")),
        Case::new(Rule::Disk)
            .refuses("disk 1", one().build().put16(end + 4, 1))
            .refuses("directory on disk 1", one().build().put16(end + 6, 1))
            .refuses("fewer entries on this disk", one().build().put16(end + 8, 0))
            .refuses("disk 65535 without ZIP64", one().build().put16(end + 4, 0xffff))
            .refuses("ZIP64: disk 1", zip64().build().put32(record + 16, 1))
            .refuses("an entry on disk 1", Member::stored("a", b"").with(|member| member.disk = 1))
            .refuses("an entry on disk 65535", Member::stored("a", b"").with(|member| member.disk = 0xffff))
            .accepts("disk 0", one())
            .refuses("ZIP64: disks left to it", zip64().build().put32(long_end + 4, u32::MAX)),
        Case::new(Rule::Zip64)
            .refuses("an offset that is not there", one().build().put32(end + 16, u32::MAX))
            .refuses("a size that is not there", one().build().put32(end + 12, u32::MAX))
            .refuses("another count", zip64().build().put64(record + 24, 2).put64(record + 32, 2))
            .refuses("another size", zip64().build().put64(record + 40, 1))
            .refuses("another offset", zip64().build().put64(record + 48, 1))
            .refuses("another offset in the end record", zip64().build().put32(long_end + 16, 0))
            .refuses("a longer record", zip64().build().put64(record + 4, 45))
            .refuses("a record of version 6.2", zip64().build().put16(record + 14, 62))
            .refuses("no record", zip64().build().put(record, b"PK\x06\x05"))
            .refuses("a locator that points elsewhere", zip64().build().put64(locator + 8, 0))
            .refuses("a locator of two disks", zip64().build().put32(locator + 16, 2))
            .refuses("a locator on disk 1", zip64().build().put32(locator + 4, 1))
            .refuses(
                "a locator alone",
                one().with(|zip| zip.behind_directory = [&b"PK\x06\x07"[..], &[0; 16]].concat()),
            )
            .accepts("the same in both", zip64())
            .accepts("an offset in ZIP64 only", zip64().build().put32(long_end + 16, u32::MAX))
            .accepts("everything in ZIP64 only", zip64().build().put(long_end + 8, &[0xff; 12]))
            .accepts("with a comment", zip64().with(|zip| zip.comment = b"hello".to_vec())),
        Case::new(Rule::Directory)
            .refuses(
                "a size one too small",
                one().build().put32(end + 12, (end - plain.directory - 1) as u32),
            )
            .refuses(
                "a size one too large",
                one().build().put32(end + 12, (end - plain.directory + 1) as u32),
            )
            .refuses("an offset one too small", one().build().put32(end + 16, plain.directory as u32 - 1))
            .refuses("an offset beyond the file", one().build().put32(end + 16, u32::MAX - 1))
            .refuses("a byte behind it", one().with(|zip| zip.behind_directory = b"x".to_vec()))
            .refuses(
                "a ZIP64 record without a locator",
                one().with(|zip| zip.behind_directory = long.bytes[record..locator].to_vec()),
            )
            .refuses("an archive behind an archive", [&inner[..], &inner].concat())
            .accepts("right before the end record", one())
            .accepts("right before the ZIP64 record", zip64()),
        Case::new(Rule::Prefix)
            .refuses("a script", [b"#!/bin/sh\n", &inner[..]].concat())
            .refuses("one byte", [b"\0", &inner[..]].concat())
            .refuses("another format", [b"\x89PNG\r\n\x1a\n", &inner[..]].concat())
            .refuses(
                "a script that the offsets know of",
                Zip::of([Member::stored("a", b"").with(|member| member.before = b"#!/bin/sh\n".to_vec())]),
            )
            .refuses(
                "a local header that nobody lists",
                Zip::of([
                    Member::stored("a", b"").with(|member| member.before = inner[..plain.directory].to_vec())
                ]),
            )
            .accepts("a local header at byte 0", one())
            .accepts("an archive inside", Zip::of([Member::stored("inner.zip", &inner)])),
        Case::within(Rule::Entries, Limits { entries: 3, ..Limits::default() })
            .refuses("four of three", Zip::of((0..4).map(|at| Member::stored(format!("{at}"), b""))))
            .refuses("four, said in ZIP64", {
                let four = Zip::of((0..4).map(|at| Member::stored(format!("{at}"), b"")));
                let built = four.with(|zip| zip.zip64 = true).build();
                let end = built.end;
                built.put32(end + 8, u32::MAX)
            })
            .refuses(
                "so many that nobody could count them",
                zip64()
                    .build()
                    .put(long_end + 8, &[0xff; 4])
                    .put64(record + 24, 1 << 60)
                    .put64(record + 32, 1 << 60),
            )
            .accepts("three of three", Zip::of((0..3).map(|at| Member::stored(format!("{at}"), b"")))),
        Case::new(Rule::Entries)
            .refuses("10,001", Zip::of((0..10_001).map(|at| Member::stored(format!("{at}"), b""))))
            .accepts("10,000", Zip::of((0..10_000).map(|at| Member::stored(format!("{at}"), b"")))),
    ]
}

#[test]
fn a_file_of_another_format_is_named() {
    for (bytes, format) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
        (b"\xfd7zXZ\0\0", "xz"),
    ] {
        let found = findings(bytes);
        assert!(found[0].message.contains(format), "{found:?}");
    }
}

#[test]
fn what_stands_before_or_behind_is_counted() {
    let bytes = Vec::from(one());
    assert_eq!(findings(&[&[b'x'; 17][..], &bytes].concat())[0].message, "17 bytes stand before the archive");
    assert_eq!(findings(&[&bytes[..], b"xyz"].concat())[0].message, "3 bytes follow the end of the archive");
}
