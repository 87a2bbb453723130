//! Central headers: methods, flags, versions, comments, and a directory that is exactly what was counted.

use super::super::testing::{Case, Descriptor, Member, Zip, field, findings};
use super::super::{Rule, Severity};

fn one() -> Member {
    Member::stored("a.txt", b"content")
}

fn two() -> Zip {
    Zip::of([one(), Member::stored("b.txt", b"more")])
}

/// Puts values into the ZIP64 field of a central header, and the marker into the plain fields.
fn zip64_central(fields: &[usize], values: &[u64], extra: &[u8]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).chain(extra.to_vec()).collect();
    let mut built = Zip::of([one().with(|member| member.central_extra = field(1, &data))]).build();
    let central = built.centrals[0];
    for at in fields {
        built = built.put32(central + at, u32::MAX);
    }
    built.bytes
}

const COMPRESSED_SIZE: usize = 20;
const SIZE: usize = 24;
const OFFSET: usize = 42;

pub fn cases() -> Vec<Case> {
    let built = two().build();
    let (end, second) = (built.end, built.centrals[1]);
    let method = |method: u16| one().with(|member| member.method = method);
    let flags = |flags: u16| one().with(|member| member.flags |= flags);
    let needed = |needed: u16| one().with(|member| member.needed = needed);
    vec![
        Case::new(Rule::Directory)
            .refuses("fewer entries counted", two().build().put32(end + 8, 0x0001_0001))
            .refuses("more entries counted", two().build().put32(end + 8, 0x0003_0003))
            .refuses("another signature", two().build().put(second, b"PK\x05\x05"))
            .refuses("a name that reaches out of it", two().build().put16(second + 28, 6))
            .accepts("as many as counted", two()),
        Case::new(Rule::Method)
            .refuses("bzip2", method(12))
            .refuses("deflate64", method(9))
            .refuses("zstd", method(93))
            .refuses("unknown", method(77))
            .accepts("stored", one())
            .accepts("deflate", Member::deflated("a.txt", b"content")),
        Case::new(Rule::Encrypted)
            .refuses("encrypted", flags(1))
            .refuses("encrypted strongly", flags(1 | 1 << 6))
            .refuses("masked headers", flags(1 << 13))
            .accepts("in the clear", one()),
        Case::new(Rule::Flags)
            .refuses("patched data", flags(1 << 5))
            .refuses("enhanced deflate", flags(1 << 4))
            .refuses("the highest bit", flags(1 << 15))
            .accepts(
                "how hard deflate tried",
                Member::deflated("a", b"aaaa").with(|member| member.flags |= 0b110),
            )
            .accepts("UTF-8 on an ASCII name", flags(1 << 11)),
        Case::new(Rule::Version)
            .refuses("4.6", needed(46))
            .refuses("6.3", needed(63))
            .refuses("in the local header", {
                let built = Zip::of([one()]).build();
                built.put16(4, 51)
            })
            .accepts("4.5", needed(45))
            .accepts("1.0", needed(10)),
        Case::new(Rule::EntryComment)
            .refuses("a comment", one().with(|member| member.comment = b"hello".to_vec()))
            .refuses("one byte", one().with(|member| member.comment = b"x".to_vec()))
            .refuses("in an extra field", one().extra(field(0x6375, &[1, 0, 0, 0, 0, b'x'])))
            .refuses("in the field of bsdtar", one().extra(field(0x6c78, &[8, 1, 0, b'x'])))
            .accepts("none", one()),
        Case::new(Rule::StoredDescriptor)
            .refuses(
                "with a signature",
                one().with(|member| {
                    member.flags |= 1 << 3;
                    member.descriptor = Descriptor::Signed;
                }),
            )
            .refuses(
                "without a signature",
                one().with(|member| {
                    member.flags |= 1 << 3;
                    member.descriptor = Descriptor::Plain;
                }),
            )
            .accepts("behind deflated data", Member::streamed("a", b"content", Descriptor::Signed))
            .accepts(
                "behind no data",
                Member::stored("a", b"").with(|member| {
                    member.flags |= 1 << 3;
                    member.descriptor = Descriptor::Signed;
                }),
            ),
        Case::new(Rule::Zip64)
            .refuses("a size that is not there", {
                let built = Zip::of([one()]).build();
                let central = built.centrals[0];
                built.put32(central + SIZE, u32::MAX)
            })
            .refuses("an offset that is not there", {
                let built = Zip::of([one()]).build();
                let central = built.centrals[0];
                built.put32(central + OFFSET, u32::MAX)
            })
            .refuses("a field for nothing", zip64_central(&[], &[], &[]))
            .refuses("a size that is plain as well", zip64_central(&[], &[7], &[]))
            .refuses("one value too many", zip64_central(&[SIZE], &[7, 7], &[]))
            .refuses("one value too few", zip64_central(&[SIZE, OFFSET], &[7], &[]))
            .refuses("a disk", zip64_central(&[OFFSET], &[0], &[0; 4]))
            .accepts("a size", zip64_central(&[SIZE], &[7], &[]))
            .accepts("an offset", zip64_central(&[OFFSET], &[0], &[]))
            .accepts("all three", zip64_central(&[SIZE, COMPRESSED_SIZE, OFFSET], &[7, 7, 0], &[])),
    ]
}

#[test]
fn every_finding_of_an_entry_is_told_at_once() {
    let member = Member::stored("../a:b.", b"content").with(|member| {
        member.method = 12;
        member.flags |= 1;
        member.comment = b"hello".to_vec();
        member.external = 0o104_644 << 16;
    });
    let found = findings(&Vec::from(member));
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    for rule in [
        Rule::NameCharacter,
        Rule::NameDots,
        Rule::NameTrailing,
        Rule::Encrypted,
        Rule::Method,
        Rule::EntryComment,
        Rule::Setuid,
    ] {
        assert!(rules.contains(&rule.id()), "{rule:?} in {found:#?}");
    }
    assert!(found.iter().all(|finding| finding.severity == Severity::Error && finding.hint.is_some()));
    assert!(found.iter().all(|finding| finding.path.as_deref() == Some("../a:b.")), "{found:#?}");
}
