//! How entries lie in the file, and what is given of them afterwards.

use std::io::Write;

use super::super::testing::{Case, Descriptor, Member, Zip, in_a_minute};
use super::super::{Limits, Rule, read_archive};
use super::{Kind, Method, ReadError};

fn file(name: &str) -> Member {
    Member::stored(name, b"content")
}

fn behind(bytes: &[u8]) -> Zip {
    Zip::of([file("a"), file("b").with(|member| member.before = bytes.to_vec())])
}

/// An archive whose second entry lies inside of the first one's data.
fn inside() -> Vec<u8> {
    let inner = Zip::of([file("b")]).build();
    let record = &inner.bytes[..inner.directory];
    let outer = Zip::of([Member::stored("a", record), file("b")]).build();
    // The second entry is cut out, and its central header points into the first.
    let (second, central) = (outer.locals[1], outer.centrals[1]);
    let removed = outer.directory - second;
    let moved = outer.put32(central + 42, 31);
    let end = moved.end;
    let mut bytes = moved.put32(end + 16, second as u32).bytes;
    bytes.drain(second..second + removed);
    bytes
}

/// An archive whose two entries share one local record.
fn shared() -> Vec<u8> {
    let built = Zip::of([file("a"), file("a")]).build();
    let (second, directory, end) = (built.locals[1], built.directory, built.end);
    let (first_name, second_name) = (30, built.centrals[1] + 46);
    let central = built.centrals[1];
    let mut bytes = built
        .put32(central + 42, 0)
        .put32(end + 16, second as u32)
        .put(first_name, b"a")
        .put(second_name, b"b")
        .bytes;
    bytes.drain(second..directory);
    bytes
}

/// An archive whose second entry begins with the last byte of the first one's data.
fn one_byte_shared() -> Vec<u8> {
    let built = Zip::of([Member::stored("a", b"content P"), file("b")]).build();
    let (second, directory, central, end) = (built.locals[1], built.directory, built.centrals[1], built.end);
    let mut bytes = built.put32(central + 42, second as u32 - 1).put32(end + 16, directory as u32 - 1).bytes;
    bytes.remove(second - 1);
    bytes
}

pub fn cases() -> Vec<Case> {
    let hidden = Zip::of([file("hidden")]).build();
    let record = hidden.bytes[..hidden.directory].to_vec();
    let reaching = Zip::of([file("a")]).build();
    let (central, size) = (reaching.centrals[0], reaching.directory as u32);
    vec![
        Case::new(Rule::Gap)
            .refuses("one byte", behind(&[0]))
            .refuses("an entry that nobody lists", behind(&record))
            .refuses("before the central directory", {
                Zip::of([file("a")]).with(|zip| zip.before_directory = b"signing block".to_vec())
            })
            .refuses("behind a descriptor", {
                let last = file("b").with(|member| member.before = vec![0; 4]);
                Zip::of([Member::streamed("a", b"content", Descriptor::Signed), last])
            })
            .accepts("none", behind(&[]))
            .accepts("entries listed in another order", {
                let built = behind(&[]).build();
                let (first, second, end) = (built.centrals[0], built.centrals[1], built.end);
                let one = built.bytes[first..second].to_vec();
                let other = built.bytes[second..end].to_vec();
                built.put(first, &[other, one].concat())
            }),
        Case::new(Rule::Overlap)
            .refuses("an entry inside of another", inside())
            .refuses("two entries with the same data", shared())
            .refuses("a byte of two entries", one_byte_shared())
            .refuses("data that reaches into the central directory", {
                reaching.put32(18, size).put32(22, size).put32(central + 20, size).put32(central + 24, size)
            })
            .accepts("side by side", behind(&[]))
            .accepts("an archive inside of an archive", Member::stored("a.zip", &hidden.bytes)),
    ]
}

#[test]
fn entries_are_recorded_as_they_are() {
    let bytes = Vec::from(Zip::of([
        Member::folder("a/"),
        Member::stored("a/b.txt", b"stored").mode(0o100_755),
        Member::streamed("c.txt", b"deflated, deflated", Descriptor::Signed),
    ]));
    let source = bytes.as_slice();
    let archive = read_archive(&source, &Limits::default(), in_a_minute()).unwrap().archive.unwrap();
    let [folder, stored, deflated] = archive.entries() else { panic!("three entries") };
    assert_eq!((folder.path.as_str(), folder.kind, folder.size), ("a", Kind::Folder, 0));
    assert_eq!((stored.path.as_str(), stored.kind, stored.method), ("a/b.txt", Kind::File, Method::Stored));
    assert!(stored.executable && !deflated.executable);
    let at = stored.data_offset as usize;
    assert_eq!(&bytes[at..at + stored.compressed_size as usize], b"stored");
    assert_eq!(deflated.sha256, crate::digest::Sha256::of(b"deflated, deflated"));
    assert_eq!((deflated.method, deflated.size), (Method::Deflate, 18));
}

#[test]
fn a_file_is_read_as_it_was_checked() {
    let mut bytes = Vec::from(Zip::of([Member::folder("a/"), Member::deflated("a/b", &[b'x'; 100_000])]));
    let source = bytes.as_slice();
    let archive = read_archive(&source, &Limits::default(), in_a_minute()).unwrap().archive.unwrap();
    assert_eq!(archive.read("a/b", 100_000).unwrap(), Some(vec![b'x'; 100_000]));
    let error = archive.read("a/b", 99_999).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { size: 100_000, limit: 99_999 }));
    assert_eq!(archive.read("a", 9).unwrap(), None);
    assert_eq!(archive.read("c", 9).unwrap(), None);

    // The same archive on disk, and then something else in its place.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let archive = read_archive(&file, &Limits::default(), in_a_minute()).unwrap().archive.unwrap();
    let at = archive.entry("a/b").unwrap().data_offset as usize;
    assert_eq!(archive.read("a/b", 100_000).unwrap().unwrap().len(), 100_000);
    bytes[at..at + 8].fill(0xff);
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    assert!(matches!(archive.read("a/b", 100_000).unwrap_err(), ReadError::Changed));
}

/// What is kept follows from what is there: sizes that are only declared cost nothing.
#[test]
fn a_declared_size_allocates_nothing() {
    let built = Zip::of([file("a")]).build();
    let (central, end) = (built.centrals[0], built.end);
    let bytes =
        built.put32(central + 20, 0xffff_fff0).put32(central + 24, 0xffff_fff0).put16(end + 10, 9_999);
    let source = bytes.bytes.as_slice();
    assert!(read_archive(&source, &Limits::default(), in_a_minute()).unwrap().archive.is_none());
}
