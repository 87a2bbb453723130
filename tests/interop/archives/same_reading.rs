//! Whatever is accepted, other readers see the same files with the same contents in it.

use std::collections::BTreeSet;

use quire::package::{Limits, check};

use super::readers::{Archives, PROGRAMS, differences};
use super::{Workshop, in_a_minute};
use crate::archive_corpus::pairs;
use crate::archive_corpus::random::{Random, archive, mutation};

/// Random archives, and how often a byte of each is changed.
const RANDOM: usize = 500;
const MUTATIONS: usize = 12;
/// How many of them the other programs read at most: they need some milliseconds for each.
const READ: usize = 600;

fn is_sound(bytes: &[u8]) -> bool {
    check(&bytes, &Limits::default(), in_a_minute()).expect("bytes in memory").archive.is_some()
}

/// Names for archives that are no longer than a file's may be, each archive once.
fn numbered(prefix: &str, archives: impl IntoIterator<Item = Vec<u8>>) -> Archives {
    let different: BTreeSet<Vec<u8>> = archives.into_iter().collect();
    different
        .into_iter()
        .enumerate()
        .map(|(number, bytes)| (format!("{prefix}-{number}.zip"), bytes))
        .collect()
}

fn assert_none(differences: &[String]) {
    let first = &differences[..differences.len().min(20)];
    assert!(first.is_empty(), "{} differences, among them:\n{}", differences.len(), first.join("\n"));
}

#[test]
fn what_is_just_inside_the_rules() {
    let Some(workshop) = Workshop::new(&PROGRAMS) else { return };
    let twins = numbered("twin", pairs().into_iter().map(|pair| pair.twin));
    assert!(twins.len() > 100, "{} twins", twins.len());
    assert_none(&differences(&workshop, &twins));
}

#[test]
fn random_archives() {
    let Some(workshop) = Workshop::new(&PROGRAMS) else { return };
    let mut random = Random::new(20_260_801);
    let all: Vec<Vec<u8>> = (0..RANDOM).map(|_| archive(&mut random).bytes()).collect();
    let accepted: Vec<Vec<u8>> = all.into_iter().filter(|bytes| is_sound(bytes)).collect();
    assert!(accepted.len() > RANDOM / 2, "{} of {RANDOM} are accepted", accepted.len());
    assert_none(&differences(&workshop, &numbered("random", accepted)));
}

#[test]
fn archives_with_a_changed_byte() {
    let Some(workshop) = Workshop::new(&PROGRAMS) else { return };
    let mut random = Random::new(20_260_802);
    let mut accepted = Vec::new();
    let mut tried = 0;
    while tried < RANDOM * MUTATIONS && accepted.len() < READ {
        let whole = archive(&mut random).bytes();
        for _ in 0..MUTATIONS {
            tried += 1;
            let changed = mutation(&mut random, &whole);
            if changed != whole && is_sound(&changed) {
                accepted.push(changed);
            }
        }
    }
    // If all were refused, nothing was compared; if none was, nothing was checked.
    assert!(accepted.len() > tried / 50 && accepted.len() < tried / 2, "{} of {tried}", accepted.len());
    assert_none(&differences(&workshop, &numbered("changed", accepted)));
}
