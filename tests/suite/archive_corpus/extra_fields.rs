//! Extra fields and comments of entries.

use super::writer::{Entry, field};
use super::{Pair, entries, text};

pub fn pairs() -> Vec<Pair> {
    [extra(), extra_size(), second_name(), entry_comment(), link()].into_iter().flatten().collect()
}

fn with(extra: &[u8]) -> Entry {
    text().extra(extra)
}

fn local(extra: &[u8]) -> Entry {
    text().local(|head| head.extra = extra.to_vec())
}

fn central(extra: &[u8]) -> Entry {
    text().central(|head| head.extra = extra.to_vec())
}

/// A modification time, as `zip` writes it.
fn time() -> Vec<u8> {
    field(0x5455, &[1, 0x80, 0x43, 0x6d, 0x38])
}

fn owner() -> Vec<u8> {
    field(0x7875, &[1, 4, 0xe8, 3, 0, 0, 4, 0xe8, 3, 0, 0])
}

fn extra() -> Vec<Pair> {
    let (time, owner) = (time(), owner());
    let asi = |length: usize| with(&field(0x756e, &[&[0; 4], &[0xa4, 0x81][..], &[0; 8]].concat()[..length]));
    entries(
        "zip.extra",
        [
            ("cut in the data", with(&time[..8]), with(&time)),
            ("cut in the length", central(&[&time[..], &[0xfe, 0xca, 0]].concat()), central(&time)),
            ("a zero to align data", local(&[&time[..], &[0]].concat()), local(&time)),
            ("zeros to align data", local(&[0; 3]), local(&[0; 4])),
            ("a field twice", with(&[&time[..], &time].concat()), with(&[&time[..], &owner].concat())),
            ("a field twice, not side by side", with(&[&time[..], &owner, &time].concat()), with(&owner)),
            (
                "a length beyond the header",
                local(&[0xfe, 0xca, 5, 0, 1, 2, 3, 4]),
                local(&field(0xcafe, &[1, 2, 3, 4])),
            ),
            ("ASi's field a byte short", asi(13), asi(14)),
            (
                "bsdtar's field a byte short",
                with(&field(0x6c78, &[1, 30])),
                with(&field(0x6c78, &[1, 30, 3])),
            ),
        ],
    )
}

fn extra_size() -> Vec<Pair> {
    let sized = |length: usize| field(0xcafe, &vec![0; length - 4]);
    entries(
        "zip.extra-size",
        [
            ("4,097 bytes in both headers", with(&sized(4_097)), with(&sized(4_096))),
            ("4,097 bytes in the local header", local(&sized(4_097)), local(&sized(4_096))),
            ("4,097 bytes in the central header", central(&sized(4_097)), central(&sized(4_096))),
            ("as long as a header can say", local(&sized(65_535)), local(&sized(4))),
        ],
    )
}

fn second_name() -> Vec<Pair> {
    let unicode = |name: &[u8]| {
        let mut data = vec![1];
        data.extend(crc32fast::hash(b"text.txt").to_le_bytes());
        data.extend(name);
        data
    };
    entries(
        "zip.second-name",
        [
            (
                "a Unicode path",
                with(&field(0x7075, &unicode(b"evil.txt"))),
                with(&field(0x7076, &unicode(b"evil.txt"))),
            ),
            ("a Unicode path that is the same", with(&field(0x7075, &unicode(b"text.txt"))), with(&[])),
            ("a Unicode path only locally", local(&field(0x7075, &unicode(b"evil.txt"))), local(&time())),
            (
                "a Unicode path only centrally",
                central(&field(0x7075, &unicode(b"evil.txt"))),
                central(&time()),
            ),
            (
                "a name of a Macintosh",
                with(&field(0x2605, b"ZPIT\x08evil.txt")),
                with(&field(0x2805, b"ZPIT\x08evil.txt")),
            ),
            ("another character set", with(&field(0x0008, b"\x11\x02\0\0")), with(&field(0x000a, &[0; 4]))),
            ("another code page", with(&field(0xe57a, b"\xe4\x04")), with(&field(0xe57b, b"\xe4\x04"))),
        ],
    )
}

fn entry_comment() -> Vec<Pair> {
    let commented = |comment: &[u8]| text().with(|entry| entry.comment = comment.to_vec());
    // A bitmap, which says that a comment follows with its length.
    let streamed = |comment: &[u8]| {
        let length = comment.len() as u8;
        with(&field(0x6c78, &[&[8, length, 0][..], comment].concat()))
    };
    entries(
        "zip.entry-comment",
        [
            ("a byte", commented(b"x"), commented(b"")),
            ("the longest", commented(&[b'x'; 65_535]), commented(b"")),
            (
                "a Unicode comment",
                central(&field(0x6375, b"\x01\0\0\0\0x")),
                central(&field(0x6376, b"\x01\0\0\0\0x")),
            ),
            ("a comment in bsdtar's field", streamed(b"x"), streamed(b"")),
        ],
    )
}

/// Links, set-id bits and types that extra fields tell.
fn link() -> Vec<Pair> {
    let pkware = |target: &[u8]| with(&field(0x000d, &[&[0; 12][..], target].concat()));
    let asi = |mode: u16, target: &[u8]| {
        let length = (target.len() as u32).to_le_bytes();
        with(&field(0x756e, &[&[0; 4][..], &mode.to_le_bytes(), &length, &[0; 4], target].concat()))
    };
    let streamed = |mode: u16| with(&field(0x6c78, &[&[5, 30, 3, 0, 0][..], &mode.to_le_bytes()].concat()));
    let rows = [
        ("zip.link", "a target in PKWARE's field", pkware(b"/etc/passwd"), pkware(b"")),
        ("zip.link", "a target in ASi's field", asi(0o100_644, b"/etc/passwd"), asi(0o100_644, b"")),
        ("zip.link", "the mode in ASi's field", asi(0o120_777, b""), asi(0o100_777, b"")),
        ("zip.link", "the mode in bsdtar's field", streamed(0o120_777), streamed(0o100_777)),
        ("zip.special", "the mode in ASi's field", asi(0o020_644, b""), asi(0o100_644, b"")),
        ("zip.setuid", "the mode in ASi's field", asi(0o104_755, b""), asi(0o100_755, b"")),
        ("zip.kind", "the mode in ASi's field", asi(0o040_755, b""), asi(0o100_755, b"")),
        (
            "zip.host",
            "the host in bsdtar's field",
            with(&field(0x6c78, &[1, 30, 1])),
            with(&field(0x6c78, &[1, 30, 3])),
        ),
    ];
    rows.into_iter().flat_map(|(rule, what, broken, twin)| entries(rule, [(what, broken, twin)])).collect()
}
