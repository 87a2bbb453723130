//! Extra fields of real tools, and those that would say something else.

use super::super::Rule;
use super::super::testing::{Case, Member, field};

fn with(extra: Vec<u8>) -> Member {
    Member::stored("a.txt", b"content").extra(extra)
}

fn local(extra: Vec<u8>) -> Member {
    Member::stored("a.txt", b"content").with(|member| member.local_extra = extra)
}

pub fn cases() -> Vec<Case> {
    let times = field(0x5455, &[3, 1, 2, 3, 4, 1, 2, 3, 4]);
    let owner = field(0x7875, &[1, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    vec![
        Case::new(Rule::Extra)
            .refuses("cut inside of the data", with(times[..12].to_vec()))
            .refuses("cut inside of the length", with([&times[..], &[1, 2, 3]].concat()))
            .refuses("zeros that fill up", local([&times[..], &[0]].concat()))
            .refuses("a field twice", with([&times[..], &owner, &times].concat()))
            .refuses("in the local header", local(times[..12].to_vec()))
            .refuses("ASi's field cut", with(field(0x756e, &[0; 13])))
            .refuses("bsdtar's field cut", with(field(0x6c78, &[4, 0])))
            .refuses("bsdtar's field with more", with(field(0x6c78, &[16])))
            .accepts("times", with(times.clone()))
            .accepts("times and owner", with([&times[..], &owner].concat()))
            .accepts("an empty field", with(field(0xcafe, &[])))
            .accepts("NTFS times", with(field(0x000a, &[0; 32])))
            .accepts("old times and owner", local(field(0x5855, &[0; 12])))
            .accepts("in one header only", local(times.clone())),
        Case::new(Rule::ExtraSize)
            .refuses("4,097 bytes", with(field(0xcafe, &[0; 4_093])))
            .refuses("in the local header", local(field(0xcafe, &[0; 4_093])))
            .refuses("the longest", local(field(0xcafe, &[0; 65_531])))
            .accepts("4,096 bytes", with(field(0xcafe, &[0; 4_092]))),
        Case::new(Rule::SecondName)
            .refuses("a Unicode path", with(field(0x7075, b"\x01\0\0\0\0b.txt")))
            .refuses("a Unicode path, locally", local(field(0x7075, b"\x01\0\0\0\0b.txt")))
            .refuses("a name of a Macintosh", with(field(0x2605, b"ZPIT\x05b.txtTEXTttxt")))
            .refuses("another character set", with(field(0x0008, &[0; 4])))
            .accepts("a name only", with(Vec::new())),
        Case::new(Rule::Link)
            .refuses("in PKWARE's field", with(field(0x000d, b"\0\0\0\0\0\0\0\0\0\0\0\0/etc/passwd")))
            .refuses("in ASi's field", with(field(0x756e, b"\0\0\0\0\xa4\x81\x06\0\0\0\0\0\0\0target")))
            .refuses("a length in ASi's field", with(field(0x756e, b"\0\0\0\0\xa4\x81\x06\0\0\0\0\0\0\0")))
            .accepts("PKWARE's field", with(field(0x000d, &[0; 12])))
            .accepts("ASi's field", with(field(0x756e, b"\0\0\0\0\xa4\x81\0\0\0\0\0\0\0\0"))),
        Case::new(Rule::Encrypted)
            .refuses("AES", with(field(0x9901, b"\x02\0AE\x03\x08\0")))
            .refuses("strong encryption", with(field(0x0017, &[2, 0, 0, 0, 0, 0, 1, 0])))
            .accepts("neither", with(times)),
    ]
}
