//! Local headers against central ones, descriptors, and the features that a header asks for.

use super::writer::{Entry, Header};
use super::{Pair, TEXT, entries, package, pair, stored, text};

pub fn pairs() -> Vec<Pair> {
    [
        local_header(),
        local_differs(),
        descriptor(),
        stored_descriptor(),
        method(),
        encrypted(),
        flags(),
        version(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn local_header() -> Vec<Pair> {
    let at = |offset: fn(u32) -> u32| {
        package([text()]).with(|zip| zip.entries[1].offset = offset(zip.entries[1].offset))
    };
    // Puts other bytes at a distance from the second local header.
    let put = |distance: usize, bytes: &[u8]| {
        let zip = package([text()]);
        let start = zip.entries[1].offset as usize + distance;
        let mut whole = zip.bytes();
        whole[start..start + bytes.len()].copy_from_slice(bytes);
        whole
    };
    vec![
        pair("zip.local-header", "one byte too far", at(|offset| offset + 1), at(|offset| offset)),
        pair("zip.local-header", "beyond the file", at(|_| 1_000_000), at(|offset| offset)),
        pair(
            "zip.local-header",
            "the signature of another record",
            put(0, b"PK\x01\x02"),
            put(0, b"PK\x03\x04"),
        ),
        pair("zip.local-header", "no signature", put(0, &[0; 4]), put(0, b"PK\x03\x04")),
        pair("zip.local-header", "a name that reaches beyond", put(26, &[0xff, 0xff]), put(26, &[8, 0])),
        pair("zip.local-header", "extra fields that reach beyond", put(28, &[0xff, 0xff]), put(28, &[0, 0])),
    ]
}

fn local_differs() -> Vec<Pair> {
    let differs = |what: &str, entry: Entry, change: fn(&mut Header)| {
        pair("zip.local-differs", what, package([entry.clone().local(change)]), package([entry]))
    };
    let later = |change: fn(&mut Header, &Header)| {
        package([text().streamed().with(|entry| change(&mut entry.local, &entry.central))])
    };
    vec![
        differs("another name", text(), |head| head.name = b"test.txt".to_vec()),
        differs("a name in other letters", text(), |head| head.name = b"TEXT.txt".to_vec()),
        differs("a shorter name", text(), |head| head.name = b"text.tx".to_vec()),
        differs("a longer name", text(), |head| head.name = b"text.txt/x".to_vec()),
        differs("a folder's name", text(), |head| head.name = b"text.txt/".to_vec()),
        differs("no name", text(), |head| head.name.clear()),
        differs("another method", text(), |head| head.method = 0),
        differs("another level of deflate", text(), |head| head.flags = 2),
        differs("an encoding that only one states", text(), |head| head.flags = super::writer::UTF8),
        differs("a descriptor that only the local header announces", text(), |head| head.flags = 8),
        differs("another CRC", text(), |head| head.crc32 ^= 1),
        differs("another size", text(), |head| head.size += 1),
        differs("another size of stored data", stored(), |head| head.size -= 1),
        differs("another packed size", text(), |head| head.packed += 1),
        differs("zeros without a descriptor", text(), |head| {
            (head.crc32, head.packed, head.size) = (0, 0, 0)
        }),
        pair(
            "zip.local-differs",
            "a size beside the descriptor",
            later(|local, central| local.size = central.size - 1),
            later(|local, central| local.size = central.size),
        ),
        pair(
            "zip.local-differs",
            "a CRC beside the descriptor",
            later(|local, central| local.crc32 = central.crc32 ^ 1),
            later(|local, central| local.crc32 = central.crc32),
        ),
    ]
}

fn descriptor() -> Vec<Pair> {
    let short = || text().streamed();
    let long = || text().streamed_long();
    let flip = |entry: Entry, at: usize| entry.with(|entry| entry.descriptor[at] ^= 1);
    let nothing = || Entry::stored("empty.txt", b"").streamed();
    entries(
        "zip.descriptor",
        [
            ("none", short().with(|entry| entry.descriptor.clear()), short()),
            ("another CRC", flip(short(), 4), short()),
            ("another packed size", flip(short(), 8), short()),
            ("another size", flip(short(), 12), short()),
            ("another signature", flip(short(), 3), short()),
            ("another CRC without a signature", flip(short().unsigned(), 0), short().unsigned()),
            ("a byte less", short().with(|entry| entry.descriptor.truncate(15)), short()),
            (
                "sizes of 8 bytes that no field announces",
                short().with(|entry| entry.descriptor = long().descriptor),
                long(),
            ),
            (
                "sizes of 4 bytes where a field announces 8",
                long().with(|entry| entry.descriptor = short().descriptor),
                long(),
            ),
            ("another size in 8 bytes", flip(long(), 23), long()),
            ("no signature behind no data", nothing().unsigned(), nothing()),
        ],
    )
}

fn stored_descriptor() -> Vec<Pair> {
    entries(
        "zip.stored-descriptor",
        [
            ("stored with a descriptor", stored().streamed(), text().streamed()),
            ("without its signature", stored().streamed().unsigned(), text().streamed().unsigned()),
            ("in ZIP64", stored().streamed_long(), text().streamed_long()),
            ("one byte", Entry::stored("one.txt", b"1").streamed(), Entry::stored("one.txt", b"").streamed()),
        ],
    )
}

fn method() -> Vec<Pair> {
    let as_method = |method: u16| package([stored().both(|head| head.method = method)]);
    let other = |method: u16| pair("zip.method", format!("method {method}"), as_method(method), as_method(0));
    let mut pairs: Vec<Pair> =
        [1, 2, 6, 7, 9, 12, 14, 93, 95, 98, 99, 65_535].into_iter().map(other).collect();
    let deflate64 = package([text().both(|head| head.method = 9)]);
    pairs.push(pair("zip.method", "deflate64 for deflate", deflate64, package([text()])));
    pairs
}

fn encrypted() -> Vec<Pair> {
    let flagged = |flags: u16| text().both(|head| head.flags |= flags);
    let about = |id: u16| text().extra(&super::writer::field(id, &[2, 0, b'A', b'E', 3, 8, 0]));
    entries(
        "zip.encrypted",
        [
            ("traditional", flagged(1), flagged(2)),
            ("strong", flagged(1 | 1 << 6), flagged(4)),
            ("only the mark of strong encryption", flagged(1 << 6), flagged(0)),
            ("masked headers", flagged(1 << 13), flagged(0)),
            ("AES", about(0x9901), about(0x9902)),
            ("strong, as a field", about(0x0017), about(0x0018)),
        ],
    )
}

fn flags() -> Vec<Pair> {
    let flagged = |flags: u16| package([text().both(|head| head.flags = flags)]);
    let bits = [4, 5, 7, 8, 9, 10, 12, 14, 15];
    let known = [0, 2, 4, 6, super::writer::UTF8];
    let of_bit = |(index, bit): (usize, u16)| {
        let twin = known[index % known.len()];
        pair("zip.flags", format!("bit {bit}"), flagged(twin | 1 << bit), flagged(twin))
    };
    bits.into_iter().enumerate().map(of_bit).collect()
}

fn version() -> Vec<Pair> {
    let central = |version| text().central(|head| head.needed = version);
    let local = |version| text().local(|head| head.needed = version);
    entries(
        "zip.version",
        [
            ("4.6", central(46), central(45)),
            ("4.6 in the local header", local(46), local(45)),
            ("6.3", central(63), central(10)),
            ("beyond all versions", central(65_535), central(0)),
            (
                "6.3 in both",
                Entry::deflated("text.txt", TEXT).both(|head| head.needed = 63),
                Entry::deflated("text.txt", TEXT).both(|head| head.needed = 21),
            ),
        ],
    )
}
