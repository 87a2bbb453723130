//! Data that is broken, or is not what the headers say of it.

use super::writer::{Entry, deflate};
use super::{Pair, TEXT, entries, stored, text};

pub fn pairs() -> Vec<Pair> {
    [broken_deflate(), size(), crc()].into_iter().flatten().collect()
}

fn broken_deflate() -> Vec<Pair> {
    let packed = deflate(TEXT);
    let with = |data: &[u8]| text().packed_as(8, data.to_vec());
    let nothing = |data: &[u8]| Entry::stored("empty.txt", b"").packed_as(8, data.to_vec());
    // Stored blocks of deflate: whether it is the last, its length twice, and the bytes.
    let length = TEXT.len() as u16;
    let block =
        |last: u8, length: u16| [&[last][..], &length.to_le_bytes(), &(!length).to_le_bytes(), TEXT].concat();
    let mut wrong_length = block(1, length);
    wrong_length[3] ^= 1;
    // The last block by fixed codes: a match that points before the first byte.
    let too_far = [0x03 | 1 << 2, 0x02, 0];
    entries(
        "zip.deflate",
        [
            ("a byte less", with(&packed[..packed.len() - 1]), with(&packed)),
            ("a byte more", with(&[&packed[..], &[0]].concat()), with(&packed)),
            ("a second stream", with(&[&packed[..], &packed].concat()), with(&packed)),
            ("no stream", with(TEXT), with(&packed)),
            ("with the header of zlib", with(&[&[0x78, 0x9c][..], &packed].concat()), with(&packed)),
            ("no last block", with(&block(0, length)), with(&block(1, length))),
            ("a block of another length", with(&wrong_length), with(&block(1, length))),
            ("a reserved type of block", nothing(&[7, 0]), nothing(&[3, 0])),
            ("nothing, not even an end", nothing(&[]), nothing(&deflate(b""))),
            ("a match from before the start", nothing(&too_far), nothing(&[3, 0])),
        ],
    )
}

fn size() -> Vec<Pair> {
    let off = |entry: Entry, by: i32| entry.both(|head| head.size = head.size.wrapping_add_signed(by));
    entries(
        "zip.size",
        [
            ("one more than comes out", off(text(), 1), text()),
            ("one less than comes out", off(text(), -1), text()),
            ("stored: one more", off(stored(), 1), stored()),
            ("stored: one less", off(stored(), -1), stored()),
            ("almost 4 GiB", text().both(|head| head.size = u32::MAX - 1), text()),
            ("none", text().both(|head| head.size = 0), Entry::deflated("text.txt", b"")),
        ],
    )
}

fn crc() -> Vec<Pair> {
    let flipped = |entry: Entry| entry.both(|head| head.crc32 ^= 1 << 31);
    entries(
        "zip.crc",
        [
            ("a bit", flipped(text()), text()),
            ("a bit, stored", flipped(stored()), stored()),
            ("a bit, streamed", flipped(text()).streamed(), text().streamed()),
            ("of no bytes", flipped(Entry::stored("empty.txt", b"")), Entry::stored("empty.txt", b"")),
            ("other content", stored().with(|entry| entry.data[0] ^= 0x20), stored()),
            ("zero", stored().both(|head| head.crc32 = 0), stored()),
        ],
    )
}
