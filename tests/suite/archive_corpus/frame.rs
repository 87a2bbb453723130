//! Where an archive begins and ends, where its parts lie, and what stands around them.

use std::io::Write;

use super::writer::{Entry, Zip, Zip64};
use super::{Pair, TEXT, metadata, package, pair, stored, text};

pub fn pairs() -> Vec<Pair> {
    [magic(), empty(), prefix(), end_record(), comment(), disk(), directory(), zip64(), gap(), overlap()]
        .into_iter()
        .flatten()
        .collect()
}

fn plain() -> Zip {
    package([text()])
}

fn magic() -> Vec<Pair> {
    let whole = plain().bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&whole).expect("memory takes everything");
    let gzip = gzip.finish().expect("memory takes everything");
    let mut tar = vec![0; 1_024];
    tar[..11].copy_from_slice(b"plugin.json");
    tar[257..262].copy_from_slice(b"ustar");
    vec![
        pair("zip.magic", "nothing at all", Vec::new(), whole.clone()),
        pair("zip.magic", "only the metadata", super::METADATA, whole.clone()),
        pair("zip.magic", "packed by gzip", gzip, whole.clone()),
        pair("zip.magic", "a tar file", tar, whole),
    ]
}

fn empty() -> Vec<Pair> {
    let none = || Zip::of([]);
    let one = || Zip::of([metadata()]);
    let commented = |zip: Zip| zip.framed(|zip| zip.comment = b"A plugin.".to_vec());
    vec![
        pair("zip.empty", "no entries", none(), one()),
        pair("zip.empty", "no entries and a comment", commented(none()), commented(one())),
        pair("zip.empty", "no entries in ZIP64", none().long(), one().long()),
    ]
}

fn prefix() -> Vec<Pair> {
    let behind = |prefix: &[u8]| Zip::of([metadata().with(|entry| entry.before = prefix.to_vec()), text()]);
    let put = |prefix: &[u8]| [prefix, &plain().bytes()].concat();
    vec![
        pair("zip.prefix", "one byte, and offsets that know of it", behind(b"\0"), behind(b"")),
        pair(
            "zip.prefix",
            "a program, and offsets that know of it",
            behind(b"#!/usr/bin/env python3\n"),
            plain(),
        ),
        pair("zip.prefix", "the mark of split archives", behind(b"PK\x07\x08"), plain()),
        pair("zip.prefix", "one byte, and offsets that don't know of it", put(b"\n"), put(b"")),
        pair(
            "zip.prefix",
            "a program, and offsets that don't know of it",
            put(b"MZ\x90\0\x03\0\0\0"),
            put(b""),
        ),
    ]
}

fn end_record() -> Vec<Pair> {
    let whole = plain().bytes();
    let cut = |bytes: usize| whole[..whole.len() - bytes].to_vec();
    let commented = || plain().framed(|zip| zip.comment = b"A plugin.".to_vec());
    let behind = |bytes: &[u8]| plain().with(|zip| zip.behind = bytes.to_vec());
    vec![
        pair("zip.end-record", "a byte behind it", behind(b"\0"), behind(b"")),
        pair("zip.end-record", "a line end behind it", behind(b"\r\n"), plain()),
        pair("zip.end-record", "a byte less", cut(1), cut(0)),
        pair("zip.end-record", "cut before it", cut(22), cut(0)),
        pair(
            "zip.end-record",
            "a comment that is longer than said",
            commented().with(|zip| zip.end.comment_length -= 1),
            commented(),
        ),
        pair(
            "zip.end-record",
            "a comment that is shorter than said",
            commented().with(|zip| zip.end.comment_length += 1),
            commented(),
        ),
    ]
}

fn comment() -> Vec<Pair> {
    let with = |comment: &[u8]| plain().framed(|zip| zip.comment = comment.to_vec());
    let mut pairs = vec![
        pair("zip.comment", "1,025 bytes", with(&[b'x'; 1_025]), with(&[b'x'; 1_024])),
        pair("zip.comment", "the longest", with(&[b'x'; 65_535]), with(b"x")),
        pair("zip.comment", "a whole archive in it", with(&plain().bytes()), with(b"a whole archive")),
        pair(
            "zip.comment",
            "an end record that reaches to the end as well",
            with(&Zip::of([]).bytes()),
            with(&Zip::of([]).bytes()[1..]),
        ),
    ];
    for signature in [b"\x03\x04", b"\x01\x02", b"\x05\x06", b"\x06\x06", b"\x06\x07", b"\x07\x08"] {
        let what = format!("the signature PK {signature:02x?}");
        let other = [b"PK\x04", &signature[..]].concat();
        pairs.push(pair("zip.comment", what, with(&[b"PK", &signature[..]].concat()), with(&other)));
    }
    pairs
}

fn disk() -> Vec<Pair> {
    let entry_on = |disk| package([text().with(|entry| entry.disk = disk)]);
    vec![
        pair("zip.disk", "the second disk", plain().with(|zip| zip.end.disk = 1), plain()),
        pair(
            "zip.disk",
            "a directory on the second disk",
            plain().with(|zip| zip.end.directory_disk = 1),
            plain(),
        ),
        pair(
            "zip.disk",
            "disks that ZIP64 would have to tell",
            plain().with(|zip| zip.end.disk = 65_535),
            plain(),
        ),
        pair(
            "zip.disk",
            "fewer entries here than in all",
            plain().with(|zip| zip.end.entries_here = 1),
            plain(),
        ),
        pair("zip.disk", "an entry on the second disk", entry_on(1), entry_on(0)),
        pair("zip.disk", "an entry on the last disk", entry_on(65_535), entry_on(0)),
        pair("zip.disk", "the second disk in ZIP64", long(|zip64| zip64.disk = 1), plain().long()),
        pair(
            "zip.disk",
            "a directory on another in ZIP64",
            long(|zip64| zip64.directory_disk = 1),
            plain().long(),
        ),
    ]
}

fn directory() -> Vec<Pair> {
    let broken = |what, change: fn(&mut Zip)| pair("zip.directory", what, plain().with(change), plain());
    let signature = |length: u32| {
        let signed = plain().framed(|zip| zip.behind_directory = b"PK\x05\x05\x04\0sign".to_vec());
        signed.with(|zip| zip.end.size += length)
    };
    vec![
        broken("a byte too large", |zip| zip.end.size += 1),
        broken("a byte too small", |zip| zip.end.size -= 1),
        broken("a byte too late", |zip| zip.end.offset += 1),
        broken("a byte too early", |zip| zip.end.offset -= 1),
        broken("too early, and larger for it", |zip| {
            zip.end.offset -= 10;
            zip.end.size += 10;
        }),
        broken("too late, and smaller for it", |zip| {
            zip.end.offset += 10;
            zip.end.size -= 10;
        }),
        broken("one entry more", |zip| (zip.end.entries, zip.end.entries_here) = (3, 3)),
        broken("one entry less", |zip| (zip.end.entries, zip.end.entries_here) = (1, 1)),
        broken("no entry", |zip| (zip.end.entries, zip.end.entries_here) = (0, 0)),
        broken("a byte behind it", |zip| zip.behind_directory = vec![0]),
        pair("zip.directory", "a signature of PKZIP behind it", signature(0), plain()),
        pair("zip.directory", "a signature of PKZIP in it", signature(10), plain()),
    ]
}

/// The usual package with ZIP64 end records, of which something is changed.
fn long(change: fn(&mut Zip64)) -> Zip {
    plain().long().with(|zip| zip.zip64.iter_mut().for_each(change))
}

fn zip64() -> Vec<Pair> {
    let broken = |what, change| pair("zip.zip64", what, long(change), plain().long());
    // What the plain record leaves to the other one.
    let left = |zip: Zip| {
        zip.with(|zip| {
            (zip.end.entries, zip.end.entries_here) = (u16::MAX, u16::MAX);
            (zip.end.size, zip.end.offset) = (u32::MAX, u32::MAX);
        })
    };
    let longer = plain().framed(|zip| zip.zip64 = Some(Zip64 { more: vec![0; 4], ..Zip64::default() }));
    let both = Entry::deflated("text.txt", TEXT).long(None);
    let offset = metadata().record().len() as u64;
    let all = Entry::deflated("text.txt", TEXT).long(Some(offset));
    let all = |field: usize| all.clone().central(|head| drop(head.extra.drain(4 + field..)));
    let shorter = |left: u8| {
        let all = all(usize::from(left) * 8);
        package([all.central(|head| head.extra[2] = left * 8)]).with(|zip| zip.entries[1].offset = u32::MAX)
    };
    let in_both = |change: fn(&mut Entry)| package([both.clone().with(change)]);
    vec![
        broken("a locator that points a byte too far", |zip64| zip64.locator_offset += 1),
        broken("a locator that points to the start", |zip64| zip64.locator_offset = 0),
        broken("a locator of another disk", |zip64| zip64.locator_disk = 1),
        broken("a locator of two disks", |zip64| zip64.disks = 2),
        broken("a locator of no disk", |zip64| zip64.disks = 0),
        broken("a record that says to be longer", |zip64| zip64.length += 1),
        broken("a record of a later version", |zip64| zip64.needed = 62),
        broken("another number of entries", |zip64| zip64.entries -= 1),
        broken("another size", |zip64| zip64.size -= 1),
        broken("another offset", |zip64| zip64.offset += 1),
        pair("zip.zip64", "a record with more in it", longer, plain().long()),
        pair("zip.zip64", "values that nobody tells", left(plain()), left(plain().long())),
        pair(
            "zip.zip64",
            "an offset that nobody tells",
            plain().with(|zip| zip.end.offset = u32::MAX),
            plain().long().with(|zip| zip.end.offset = u32::MAX),
        ),
        pair("zip.zip64", "an entry's offset that its field leaves out", shorter(2), shorter(3)),
        pair("zip.zip64", "an entry without the field that it points to", shorter(0), shorter(3)),
        pair(
            "zip.zip64",
            "a field beside plain sizes",
            in_both(|entry| {
                entry.central.size = TEXT.len() as u32;
                entry.central.packed = entry.data.len() as u32;
            }),
            in_both(|_| {}),
        ),
        pair(
            "zip.zip64",
            "a local field with one size",
            in_both(|entry| {
                entry.local.extra.truncate(12);
                entry.local.extra[2] = 8;
            }),
            in_both(|_| {}),
        ),
        pair(
            "zip.zip64",
            "one local size beside the field",
            in_both(|entry| entry.local.size = TEXT.len() as u32),
            in_both(|_| {}),
        ),
    ]
}

fn gap() -> Vec<Pair> {
    let between = |bytes: &[u8]| package([text().with(|entry| entry.before = bytes.to_vec())]);
    let hidden = |is_listed| {
        let hidden = Entry::stored("hidden.txt", TEXT).with(|entry| entry.is_listed = is_listed);
        package([hidden, text()])
    };
    let before_directory = |bytes: &[u8]| plain().framed(|zip| zip.before_directory = bytes.to_vec());
    let streamed = |descriptor: usize| {
        let first = Entry::deflated("first.txt", TEXT).streamed();
        package([first.with(|entry| entry.descriptor.resize(descriptor, 0)), text()])
    };
    // As zipalign does it, where the padding is an extra field.
    let aligned = package([text().local(|head| head.extra = super::writer::field(0xd935, &[4, 0, 0]))]);
    vec![
        pair("zip.gap", "a byte", between(b"\0"), between(b"")),
        pair("zip.gap", "seven bytes to align data", between(&[0; 7]), aligned),
        pair("zip.gap", "an entry that nobody lists", hidden(false), hidden(true)),
        pair("zip.gap", "a signing block", before_directory(b"APK Sig Block 42"), before_directory(b"")),
        pair(
            "zip.gap",
            "a record that is never read",
            before_directory(b"PK\x06\x08\x04\0\0\0abcd"),
            plain(),
        ),
        pair("zip.gap", "a descriptor with more behind it", streamed(17), streamed(16)),
    ]
}

fn overlap() -> Vec<Pair> {
    let inner = Entry::stored("inner.txt", TEXT);
    let outer = Entry::stored("outer.zip", &inner.record());
    let inside = |is_there| {
        let inner = inner.clone().with(|entry| entry.is_there = is_there);
        package([outer.clone(), inner]).with(|zip| {
            if !is_there {
                zip.entries[2].offset = zip.entries[1].offset + 30 + "outer.zip".len() as u32;
            }
        })
    };
    let again = |is_there| {
        let again = Entry::deflated("again.txt", TEXT).with(|entry| entry.is_there = is_there);
        let zip = package([text(), again]);
        if is_there { zip } else { zip.with(|zip| zip.entries[2].offset = zip.entries[1].offset) }
    };
    // The last byte of the first file's data is the first byte of the second entry.
    let shared = |is_shared| {
        let first = Entry::stored("first.txt", b"ends with a P");
        let shorter = first.clone().with(|entry| entry.data.truncate(entry.data.len() - 1));
        package([if is_shared { shorter } else { first }, stored()])
    };
    let reaching = |more: u32| {
        let size = TEXT.len() as u32 + more;
        package([stored().both(|head| (head.packed, head.size) = (size, size))])
    };
    vec![
        pair("zip.overlap", "an entry inside of another's data", inside(false), inside(true)),
        pair("zip.overlap", "two entries with one local header", again(false), again(true)),
        pair("zip.overlap", "a byte of two entries", shared(true), shared(false)),
        pair("zip.overlap", "data that reaches into the directory", reaching(1), reaching(0)),
    ]
}
