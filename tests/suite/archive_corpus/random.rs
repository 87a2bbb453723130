//! Random archives: the same ones for the same seed.

use super::TEXT;
use super::writer::{Entry, Zip, field};

/// A small generator (xorshift), so that a failure can be repeated anywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

const WORDS: [&str; 28] = [
    "x;1", "a;1b", ";b", "a;1.x", "%00", "$HOME", "^A", "{b}", "=", "+", "a..b", "é", "a", "B", "plugin",
    "süß", "日本", "x.py", "read me", "[1]", "~", "-", ".hidden", "#", "👍", "a'b", "&", "%41",
];

/// Ids of extra fields that some reader gives a meaning.
const FIELDS: [u16; 20] = [
    0x0007, 0x0009, 0x000a, 0x000d, 0x000f, 0x0014, 0x0021, 0x0065, 0x2705, 0x334d, 0x4154, 0x4341, 0x4704,
    0x5356, 0x5455, 0x5855, 0x6542, 0x7855, 0x7875, 0xcafe,
];

/// An archive of a few entries, most of whose fields are any that a tool might write, and some that none does.
pub fn archive(random: &mut Random) -> Zip {
    let count = 1 + random.below(4);
    let entries: Vec<Entry> = (0..count).map(|number| entry(random, number)).collect();
    let mut zip = Zip::of(entries);
    if random.one_in(4) {
        let length = random.below(30);
        let comment = random.bytes(length);
        zip = zip.framed(|zip| zip.comment = comment);
    }
    if random.one_in(4) {
        zip = zip.long();
    }
    if random.one_in(4) {
        zip = zip.framed(|zip| zip.reversed = true);
    }
    zip
}

fn entry(random: &mut Random, number: usize) -> Entry {
    let depth = random.below(3);
    let mut name: Vec<String> = (0..depth).map(|_| random.pick(&WORDS).to_owned()).collect();
    name.push(format!("{number}{}", random.pick(&WORDS)));
    let name = name.join("/");
    let length = random.below(80);
    let content =
        if random.one_in(2) { TEXT[..length.min(TEXT.len())].to_vec() } else { random.bytes(length) };
    let entry = match random.below(6) {
        0 => Entry::folder(&name),
        1 => Entry::stored(&name, &content),
        2 => Entry::deflated(&name, &content).streamed(),
        3 => Entry::deflated(&name, &content).streamed().with(|entry| {
            if !entry.data.is_empty() {
                entry.descriptor.drain(..4);
            }
        }),
        4 => Entry::deflated(&name, &content).streamed_long(),
        _ => Entry::deflated(&name, &content),
    };
    fill(random, entry)
}

/// Sets fields that most readers don't look at.
fn fill(random: &mut Random, entry: Entry) -> Entry {
    let (time, level, needed) =
        (random.next() as u32, random.pick(&[0, 2, 4, 6]), random.pick(&[10, 20, 21, 45]));
    let mut entry = entry.both(|head| {
        head.time = time;
        head.flags |= level;
        head.needed = needed;
    });
    entry.made_by = random.pick(&[0_u16, 3, 3, 3, 10, 11, 14, 19]) << 8 | random.below(64) as u16;
    entry.internal = random.pick(&[0, 0, 1, 2, 0xffff]);
    let is_folder = entry.central.name.ends_with(b"/");
    let permissions = random.pick(&[0, 0o644, 0o755, 0o600, 0o777, 0o444]);
    let kind = match (random.below(3), is_folder) {
        (0, _) => 0,
        (_, true) => 0o040_000,
        (_, false) => 0o100_000,
    };
    let dos = if is_folder { random.pick(&[0, 0x10]) } else { random.pick(&[0, 1, 0x20, 0x80]) };
    entry.external = (kind | permissions) << 16 | dos;
    if random.one_in(3) {
        let (id, length) = (random.pick(&FIELDS), random.below(20));
        let extra = field(id, &random.bytes(length));
        match random.below(3) {
            0 => entry.local.extra.extend(extra),
            1 => entry.central.extra.extend(extra),
            _ => {
                entry.local.extra.extend(&extra);
                entry.central.extra.extend(extra);
            }
        }
    }
    entry
}

/// One byte of an archive changed, most often in its records and not in its data.
pub fn mutation(random: &mut Random, archive: &[u8]) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let at = random.below(bytes.len());
    bytes[at] = match random.below(4) {
        0 => bytes[at] ^ 1 << random.below(8),
        1 => bytes[at].wrapping_add(1),
        2 => random.pick(&[0, 0xff, b'/', b'P', 8]),
        _ => random.byte(),
    };
    bytes
}
