//! How much a package may be: one more than allowed, and exactly as much.

use quire::package::Limits;

use super::writer::Entry;
use super::{METADATA, Pair, package, pair};

pub fn pairs() -> Vec<Pair> {
    [entries(), unpacked(), ratio()].into_iter().flatten().collect()
}

fn entries() -> Vec<Pair> {
    let many = |count: usize| package((1..count).map(|number| Entry::stored(number.to_string(), b"")));
    let folders = |count: usize| package((1..count).map(|number| Entry::folder(&number.to_string())));
    let few = Limits { entries: 20, ..Limits::default() };
    vec![
        pair("limit.entries", "10,001", many(10_001), many(10_000)),
        pair("limit.entries", "10,001 in ZIP64", many(10_001).long(), many(1_000).long()),
        Pair { limits: few, ..pair("limit.entries", "21 with folders", folders(21), folders(20)) },
    ]
}

/// Content that cannot be packed.
pub fn noise(length: usize) -> Vec<u8> {
    let mut random = super::random::Random::new(1);
    (0..length).map(|_| random.byte()).collect()
}

fn unpacked() -> Vec<Pair> {
    let limits = Limits { unpacked: (METADATA.len() + 1_000) as u64, ..Limits::default() };
    let one = |length: usize| package([Entry::deflated("noise", &noise(length))]);
    let two = |length: usize| {
        package([Entry::stored("noise", &noise(500)), Entry::deflated("more", &noise(length - 500))])
    };
    // What is declared counts for nothing: most of it is hidden.
    let declared = |length: usize| {
        let zeros = Entry::deflated("zeros", &vec![0; length]);
        package([zeros.both(|head| head.size = 1_000)])
    };
    let rows = [
        ("a byte too much", one(1_001), one(1_000)),
        ("a byte too much in two files", two(1_001), two(1_000)),
        ("much of one byte, and less declared", declared(50_000), declared(1_000)),
    ];
    rows.into_iter()
        .map(|(what, broken, twin)| Pair {
            limits: limits.clone(),
            ..pair("limit.unpacked", what, broken, twin)
        })
        .collect()
}

fn ratio() -> Vec<Pair> {
    const FROM: usize = 1 << 20;
    // What the metadata leaves of it.
    const LEFT: usize = FROM - METADATA.len();
    let zeros = |length: usize| package([Entry::deflated("zeros", &vec![0; length])]);
    let mixed = |noisy: usize| {
        let mut content = noise(noisy);
        content.resize(2 * FROM, 0);
        package([Entry::deflated("mixed", &content)])
    };
    let dense = Limits { ratio: 5, ratio_from: 1_000, ..Limits::default() };
    let many =
        |count: usize| package((0..count).map(|number| Entry::deflated(number.to_string(), &[0; 900])));
    vec![
        pair("limit.ratio", "1 MiB of zeros and a byte", zeros(FROM + 1), zeros(LEFT)),
        pair("limit.ratio", "a byte too much with the metadata", zeros(LEFT + 1), zeros(LEFT)),
        pair("limit.ratio", "2 MiB, 240 out of one", mixed(6_700), mixed(9_500)),
        Pair { limits: dense, ..pair("limit.ratio", "many small files together", many(20), many(1)) },
    ]
}
