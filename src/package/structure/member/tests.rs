//! Data that is broken, too much, or not what was declared.

use std::io::Write;
use std::time::Instant;

use super::super::testing::{Case, Member, Zip, deflate, findings_within, in_a_minute};
use super::super::{Limits, Rule, read_archive};

fn packed(content: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Member {
    Member::deflated("a.txt", content).with(|member| change(&mut member.packed))
}

/// Content that deflate cannot make smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Zeros and noise, so that about the wanted number of bytes comes out of one.
fn packed_to(size: usize, bytes: usize) -> Member {
    let mut content = noise(bytes);
    content.resize(size, 0);
    Member::deflated("a.bin", &content)
}

fn zeros(number: usize) -> Member {
    Member::deflated(number.to_string(), &[0; 1_000])
}

pub fn cases() -> Vec<Case> {
    let small = Limits { unpacked: 1_000, ..Limits::default() };
    let dense = Limits { ratio: 10, ratio_from: 1_000, ..Limits::default() };
    let text = b"content, content, content, content";
    let half = Member::deflated("a", &noise(500));
    vec![
        Case::new(Rule::Deflate)
            .refuses("no deflate", packed(text, |packed| packed.fill(0xff)))
            .refuses("a byte less", packed(text, |packed| packed.truncate(packed.len() - 1)))
            .refuses("a byte more", packed(text, |packed| packed.push(0)))
            .refuses("another stream behind", packed(text, |packed| packed.extend(deflate(text))))
            .refuses("nothing", packed(b"", Vec::clear))
            .refuses("no last block", packed(text, |packed| *packed = vec![0, 1, 0, 0xfe, 0xff, b'x']))
            .accepts("exactly", packed(text, |_| {}))
            .accepts("of nothing", packed(b"", |_| {})),
        Case::new(Rule::Size)
            .refuses("one byte more than said", Member::deflated("a", text).with(|member| member.size -= 1))
            .refuses("one byte less than said", Member::deflated("a", text).with(|member| member.size += 1))
            .refuses("stored: one byte more", Member::stored("a", text).with(|member| member.size -= 1))
            .refuses("stored: one byte less", Member::stored("a", text).with(|member| member.size += 1))
            .refuses("4 GiB said", Member::deflated("a", text).with(|member| member.size = 0xffff_fffe))
            .refuses("nothing said", Member::deflated("a", text).with(|member| member.size = 0))
            .accepts("as said", Member::deflated("a", text))
            .accepts("stored as said", Member::stored("a", text)),
        Case::new(Rule::Crc)
            .refuses("a bit", Member::deflated("a", text).with(|member| member.crc32 ^= 1))
            .refuses("stored", Member::stored("a", text).with(|member| member.crc32 = 0))
            .refuses("of nothing", Member::stored("a", b"").with(|member| member.crc32 = 1))
            .refuses("other content", Member::stored("a", text).with(|member| member.packed[0] = b'C'))
            .accepts("as it is", Member::stored("a", text)),
        Case::within(Rule::Unpacked, small)
            .refuses("1,001 bytes", Member::stored("a", &noise(1_001)))
            .refuses("1,001 bytes together", Zip::of([half.clone(), Member::stored("b", &noise(501))]))
            .refuses("much of it, packed well", Member::deflated("a", &[0; 50_000]))
            .refuses(
                "said to be little",
                Member::deflated("a", &[0; 50_000]).with(|member| member.size = 1_000),
            )
            .accepts("1,000 bytes", Member::stored("a", &noise(1_000)))
            .accepts("1,000 bytes together", Zip::of([half, Member::stored("b", &noise(500))])),
        Case::within(Rule::Ratio, dense)
            .refuses("twelve of one", packed_to(6_000, 500))
            .refuses("all zeros", Member::deflated("a", &[0; 1_001]))
            .accepts("nine of one", packed_to(4_500, 500))
            .accepts("all zeros, but few", Member::deflated("a", &[0; 1_000])),
        Case::within(Rule::Ratio, Limits { ratio: 5, ratio_from: 1_000, ..Limits::default() })
            .refuses("small files that are little together", Zip::of((0..20).map(zeros)))
            .accepts("one of them", zeros(0)),
        Case::new(Rule::Ratio)
            .refuses("2 MiB of zeros", Member::deflated("a", &vec![0; 2 << 20]))
            .refuses("a byte more than 1 MiB", Member::deflated("a", &vec![0; (1 << 20) + 1]))
            .accepts("1 MiB of zeros", Member::deflated("a", &vec![0; 1 << 20]))
            .accepts("2 MiB, 180 of one", packed_to(2 << 20, 9_500)),
    ]
}

#[test]
fn the_time_is_bounded() {
    let bytes = Vec::from(Zip::of([Member::stored("a", b"content"), Member::deflated("b", &noise(200_000))]));
    let source = bytes.as_slice();
    let reading = read_archive(&source, &Limits::default(), Instant::now()).unwrap();
    assert!(reading.archive.is_none());
    let rules: Vec<&str> = reading.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::Time.id()]);
    let reading = read_archive(&source, &Limits::default(), in_a_minute()).unwrap();
    assert!(reading.archive.is_some());
}

/// Blocks that each bring tables and no output: much work for little that comes out.
#[test]
fn work_that_brings_nothing_is_bounded_by_time() {
    let mut packed = Vec::new();
    for _ in 0..400_000 {
        // A stored block of no bytes, not the last.
        packed.write_all(&[0, 0, 0, 0xff, 0xff]).unwrap();
    }
    packed.extend([1, 0, 0, 0xff, 0xff]);
    let bytes = Vec::from(Member::deflated("a", b"").with(|member| member.packed = packed));
    let source = bytes.as_slice();
    let reading = read_archive(&source, &Limits::default(), Instant::now()).unwrap();
    assert_eq!(reading.findings[0].rule, Rule::Time.id());
    assert!(read_archive(&source, &Limits::default(), in_a_minute()).unwrap().archive.is_some());
}

#[test]
fn findings_are_bounded() {
    let limits = Limits { findings: 5, ..Limits::default() };
    let members = (0..9).map(|at| Member::stored(format!("a{at}"), b"x").with(|member| member.crc32 = 0));
    let found = findings_within(&Vec::from(Zip::of(members)), &limits);
    assert_eq!(found.len(), 6);
    assert_eq!(found[5].rule, Rule::Findings.id());
    assert!(found[5].message.starts_with("4 more"));
}
