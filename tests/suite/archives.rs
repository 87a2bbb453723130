//! The archive corpus: each rule of a package's structure is broken alone, and what is just inside is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use quire::package::{Finding, Limits, Package, Severity, check};

#[cfg(feature = "interop")]
use crate::archive_corpus::limits::noise;
use crate::archive_corpus::writer::Entry;
use crate::archive_corpus::{METADATA, Pair, package, pairs};

/// Far enough away for a slow machine.
fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn read(bytes: &[u8], limits: &Limits) -> (bool, Vec<Finding>) {
    let Package { plugin, archive, findings } =
        check(&bytes, limits, in_a_minute()).expect("bytes in memory");
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(plugin.is_none(), refused, "{findings:#?}");
    assert!(archive.is_some() || refused);
    (refused, findings)
}

#[test]
fn each_rule_is_broken_alone_and_its_twin_is_accepted() {
    let mut wrong = Vec::new();
    for Pair { rule, what, broken, twin, limits } in pairs() {
        assert_ne!(broken, twin, "{rule}: {what}");
        let (_, found) = read(&broken, &limits);
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let rules: BTreeSet<&str> = errors.map(|finding| finding.rule).collect();
        if rules != BTreeSet::from([rule]) {
            wrong.push(format!("{rule}: {what}: {found:#?}"));
        }
        if found.iter().any(|finding| finding.hint.is_none() || finding.message.len() < 15) {
            wrong.push(format!("{rule}: {what}: no help: {found:#?}"));
        }
        let (refused, found) = read(&twin, &limits);
        if refused || !found.is_empty() {
            wrong.push(format!("{rule}: the twin of {what}: {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// The ids in the code's table of rules.
fn rules_of_the_code() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/package/structure/rule.rs");
    source.split("serialize = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The ids in the specification's table of rules of the structure.
fn rules_of_the_specification() -> BTreeSet<&'static str> {
    let page = include_str!("../../spec/plugin.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Structure")).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

#[test]
fn every_rule_is_specified_and_has_two_pairs() {
    let rules = rules_of_the_code();
    assert!(rules.len() > 50, "{rules:?}");
    assert_eq!(rules, rules_of_the_specification());
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in pairs() {
        *counted.entry(pair.rule).or_default() += 1;
    }
    for rule in &rules {
        // No archive breaks these alone: time is not a property of bytes, and many findings are many rules.
        let elsewhere = ["limit.time", "limit.findings"].contains(rule);
        let pairs = counted.remove(rule).unwrap_or_default();
        assert!(elsewhere || pairs >= 2, "{rule} has {pairs} pairs");
    }
    assert!(counted.is_empty(), "rules that don't exist: {counted:?}");
}

#[test]
fn the_time_is_limited() {
    let small = package([]).bytes();
    let large = package([Entry::deflated("large", &vec![b'x'; 1_000_000])]).bytes();
    for bytes in [small, large] {
        let source = bytes.as_slice();
        let late = check(&source, &Limits::default(), Instant::now()).expect("bytes in memory");
        assert!(late.is_refused() && late.archive.is_none());
        let rules: Vec<&str> = late.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["limit.time"]);
        assert!(!read(&bytes, &Limits::default()).0);
    }
}

#[test]
fn the_number_of_findings_is_limited() {
    let wrong = |count: usize| {
        package(
            (0..count).map(|number| Entry::stored(number.to_string(), METADATA).both(|head| head.crc32 ^= 1)),
        )
    };
    let (_, found) = read(&wrong(1_000).bytes(), &Limits::default());
    assert_eq!(found.len(), 1_000);
    assert!(found.iter().all(|finding| finding.rule == "zip.crc"));
    let (_, found) = read(&wrong(1_002).bytes(), &Limits::default());
    assert_eq!(found.len(), 1_001);
    let last = &found[1_000];
    assert_eq!((last.rule, last.severity), ("limit.findings", Severity::Error));
    assert!(last.message.starts_with("2 more"), "{last:?}");
}

/// An archive in a package is a file like any other: nobody looks into it.
#[test]
fn an_inner_archive_is_opaque() {
    let broken = pairs().into_iter().map(|pair| pair.broken).filter(|bytes| bytes.len() < 10_000);
    let inner =
        broken.enumerate().map(|(number, bytes)| Entry::stored(format!("inner/{number}.zip"), &bytes));
    let (refused, found) = read(&package(inner).bytes(), &Limits::default());
    assert!(!refused && found.is_empty(), "{found:#?}");
}

/// 256 MiB, of files that are each packed as well as is allowed.
#[cfg(feature = "interop")]
#[test]
fn the_limit_of_what_comes_out_is_the_one_that_is_promised() {
    const MEBIBYTE: usize = 1 << 20;
    let part = |length: usize| {
        let mut content = noise(6_000);
        content.resize(length, 0);
        Entry::deflated("part", &content)
    };
    let [whole, last, more] = [MEBIBYTE, MEBIBYTE - METADATA.len(), MEBIBYTE - METADATA.len() + 1].map(part);
    let named = |entry: &Entry, number: usize| {
        entry.clone().both(|head| head.name = format!("part-{number}").into_bytes())
    };
    for (last, rules) in [(last, &[][..]), (more, &["limit.unpacked"])] {
        let parts = (1..256).map(|number| named(&whole, number)).chain([named(&last, 256)]);
        let (_, found) = read(&package(parts).bytes(), &Limits::default());
        let found: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, rules);
    }
}
