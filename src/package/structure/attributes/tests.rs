//! Types and modes of every kind of system.

use super::super::Rule;
use super::super::testing::{Case, Member, field};

fn file() -> Member {
    Member::stored("a.txt", b"content")
}

fn host(host: u16, external: u32) -> Member {
    file().with(|member| {
        member.made_by = host << 8 | 20;
        member.external = external;
    })
}

fn asi(mode: u16) -> Vec<u8> {
    field(0x756e, &[&[0; 4][..], &mode.to_le_bytes(), &[0; 8]].concat())
}

fn streamed(mode: u16) -> Vec<u8> {
    field(0x6c78, &[&[7, 30, 3, 0, 0, 0, 0][..], &mode.to_le_bytes()].concat())
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(Rule::Host)
            .refuses("Amiga", host(1, 0))
            .refuses("VMS", host(2, 0))
            .refuses("Acorn", host(13, 0))
            .refuses("unknown", host(255, 0))
            .accepts("MS-DOS", host(0, 0x20))
            .accepts("MS-DOS with a mode, as Python on Windows writes", host(0, 0o600 << 16))
            .accepts("Unix without a mode", host(3, 0))
            .accepts("NTFS", host(10, 0x20))
            .accepts("NTFS as Go counts", host(11, 0x20))
            .accepts("VFAT", host(14, 0x21))
            .accepts("Darwin", host(19, 0o100_644 << 16 | 0x4000)),
        Case::new(Rule::Link)
            .refuses("a symbolic link", file().mode(0o120_777))
            .refuses("from MS-DOS", host(0, 0o120_777 << 16))
            .refuses("a reparse point", host(0, 0x420))
            .refuses("in ASi's field", file().extra(asi(0o120_777)))
            .refuses("in the field of bsdtar", file().with(|member| member.local_extra = streamed(0o120_777)))
            .accepts("a file", file().mode(0o100_777))
            .accepts("a file in ASi's field", file().extra(asi(0o100_644)))
            .accepts(
                "a file in the field of bsdtar",
                file().with(|member| member.local_extra = streamed(0o100_644)),
            ),
        Case::new(Rule::Special)
            .refuses("a pipe", file().mode(0o010_644))
            .refuses("a character device", file().mode(0o020_644))
            .refuses("a block device", file().mode(0o060_644))
            .refuses("a socket", file().mode(0o140_644))
            .refuses("no known type", file().mode(0o150_644))
            .refuses("a volume label", host(0, 0x08))
            .accepts("no type at all", file().mode(0o644)),
        Case::new(Rule::Setuid)
            .refuses("setuid", file().mode(0o104_755))
            .refuses("setgid", file().mode(0o102_755))
            .refuses("sticky", Member::folder("a/").mode(0o041_777))
            .refuses("from MS-DOS", host(0, 0o104_755 << 16))
            .refuses("in ASi's field", file().extra(asi(0o104_755)))
            .accepts("everything else", file().mode(0o100_777)),
        Case::new(Rule::Kind)
            .refuses("a folder without a slash", file().mode(0o040_755))
            .refuses("a file with a slash", Member::folder("a/").mode(0o100_644))
            .refuses("a folder of MS-DOS without a slash", host(0, 0x10))
            .refuses("a folder in ASi's field", file().extra(asi(0o040_755)))
            .refuses("a folder with content", Member::stored("a/", b"content"))
            .refuses("a folder with deflated content", Member::deflated("a/", b"content"))
            .accepts("a folder", Member::folder("a/"))
            .accepts(
                "a folder of MS-DOS",
                Member::folder("a/").with(|member| {
                    member.made_by = 20;
                    member.external = 0x10;
                }),
            )
            .accepts("a folder without attributes", Member::folder("a/").with(|member| member.external = 0))
            .accepts("a folder of no bytes, deflated", Member::deflated("a/", b"")),
    ]
}

#[test]
fn what_is_executable() {
    use super::super::{Limits, read_archive, testing};
    for (member, executable) in [
        (file().mode(0o100_755), true),
        (file().mode(0o100_654), true),
        (file().mode(0o100_644), false),
        (host(0, 0x20), false),
        (Member::folder("a/"), false),
    ] {
        let bytes = Vec::from(member);
        let source = bytes.as_slice();
        let reading = read_archive(&source, &Limits::default(), testing::in_a_minute()).unwrap();
        assert_eq!(reading.archive.unwrap().entries()[0].executable, executable);
    }
}
