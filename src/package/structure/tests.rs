//! Every rule breaks alone, what is accepted reads the same elsewhere, and no bytes do harm.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use proptest::prelude::*;
use strum::VariantArray;

use super::testing::{Case, Descriptor, Member, Zip, findings_within, in_a_minute};
use super::{Kind, Limits, Rule, Severity, read_archive};

fn cases() -> Vec<Case> {
    [
        super::archive::tests::cases(),
        super::attributes::tests::cases(),
        super::descriptor::tests::cases(),
        super::directory::tests::cases(),
        super::end_record::tests::cases(),
        super::entry_name::tests::cases(),
        super::extra::tests::cases(),
        super::local_header::tests::cases(),
        super::member::tests::cases(),
        super::name_clashes::tests::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The rules of these archives: nothing but the one that they are made to break.
#[test]
fn each_rule_is_broken_alone() {
    let mut wrong = Vec::new();
    for Case { rule, refused, limits, .. } in cases() {
        for (what, archive) in refused {
            let found = findings_within(&archive, &limits);
            let rules: BTreeSet<&str> = found.iter().map(|finding| finding.rule).collect();
            if rules != BTreeSet::from([rule.id()]) {
                wrong.push(format!("{}: {what}: {found:#?}", rule.id()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_just_inside_is_accepted_and_read_alike() {
    let mut wrong = Vec::new();
    for Case { rule, accepted, limits, .. } in cases() {
        for (what, archive) in accepted {
            let found = findings_within(&archive, &limits);
            if !found.is_empty() {
                wrong.push(format!("{}: {what}: {found:#?}", rule.id()));
            } else if let Err(why) = read_alike(&archive, &limits) {
                wrong.push(format!("{}: {what}: {why}", rule.id()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_two_archives_that_break_it_and_one_that_is_just_inside() {
    let mut counted: BTreeMap<Rule, (usize, usize)> = BTreeMap::new();
    for case in cases() {
        let (refused, accepted) = counted.entry(case.rule).or_default();
        *refused += case.refused.len();
        *accepted += case.accepted.len();
    }
    for rule in Rule::VARIANTS {
        // These are no property of the bytes; they have tests of their own.
        if matches!(rule, Rule::Time | Rule::Findings) {
            continue;
        }
        let (refused, accepted) = counted.get(rule).copied().unwrap_or_default();
        assert!(refused >= 2 && accepted >= 1, "{}: {refused} refused, {accepted} accepted", rule.id());
    }
}

/// Compares with the `zip` crate: the same names, kinds, sizes and contents, in the same order.
fn read_alike(bytes: &[u8], limits: &Limits) -> Result<(), String> {
    let reading = read_archive(&bytes, limits, in_a_minute()).map_err(|error| error.to_string())?;
    let ours = reading.archive.ok_or("refused")?;
    let mut theirs = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    if theirs.len() != ours.entries().len() {
        return Err(format!("{} entries here, {} there", ours.entries().len(), theirs.len()));
    }
    for (index, entry) in ours.entries().iter().enumerate() {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", entry.path);
        let mut file = theirs.by_index(index).map_err(|error| failed(&error))?;
        let name = file.name().map_err(|error| failed(&error))?.trim_end_matches('/').to_owned();
        let folder = file.is_dir();
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|error| failed(&error))?;
        if name != entry.path || folder != (entry.kind == Kind::Folder) || content.len() as u64 != entry.size
        {
            return Err(format!("{entry:?} here, {name} of {} bytes there", content.len()));
        }
        if entry.data_offset != file.data_start().unwrap_or_default() {
            return Err(format!("{}: other data there", entry.path));
        }
        let read = ours.read(&entry.path, u64::MAX).map_err(|error| error.to_string())?;
        if crate::digest::Sha256::of(&content) != entry.sha256 || read.is_some_and(|read| read != content) {
            return Err(format!("{}: other content there", entry.path));
        }
    }
    Ok(())
}

/// A package with everything that is allowed.
fn valid() -> Vec<u8> {
    let text = "All of this is fine.\n".repeat(40);
    Zip::of([
        Member::folder("plugin/"),
        Member::deflated("plugin/plugin.json", b"{\"pid\": \"com.example.hello\"}"),
        Member::stored("plugin/süß.txt", "süß".as_bytes()),
        Member::streamed("plugin/streamed.txt", text.as_bytes(), Descriptor::Signed),
        Member::streamed("plugin/large.txt", text.as_bytes(), Descriptor::Plain64),
        Member::deflated("plugin/run.sh", b"#!/bin/sh\n")
            .mode(0o100_755)
            .extra(super::testing::field(0x5455, &[1, 0, 0, 0, 0])),
        Member::stored("plugin/__init__.py", b""),
    ])
    .with(|zip| {
        zip.zip64 = true;
        zip.comment = b"A plugin.".to_vec();
    })
    .into()
}

#[test]
fn a_valid_package_is_read() {
    let bytes = valid();
    let source = bytes.as_slice();
    let reading = read_archive(&source, &Limits::default(), in_a_minute()).unwrap();
    assert_eq!(reading.findings, []);
    read_alike(&bytes, &Limits::default()).unwrap();
}

/// Small enough that nothing a mutation declares can come close to it by itself.
fn tight() -> Limits {
    Limits { entries: 50, unpacked: 1 << 20, findings: 20, ..Limits::default() }
}

/// Whatever becomes of it, what is accepted must be read by others in the same way.
fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
    let reading = read_archive(&bytes, &tight(), in_a_minute())
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(reading.findings.len() <= 21);
    if reading.archive.is_some() {
        prop_assert!(reading.findings.iter().all(|finding| finding.severity == Severity::Warning));
        read_alike(bytes, &tight()).map_err(TestCaseError::fail)?;
    } else {
        prop_assert!(!reading.findings.is_empty());
    }
    Ok(())
}

#[test]
fn every_truncation_is_refused() {
    let bytes = valid();
    for length in 0..bytes.len() {
        assert!(!findings_within(&bytes[..length], &tight()).is_empty(), "{length}");
    }
}

/// Every single bit, one after the other: most are refused, and the times and modes that are not read alike.
#[test]
fn every_bit_flip_is_refused_or_read_alike() {
    let bytes = valid();
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        survives(&changed).unwrap_or_else(|error| panic!("bit {at}: {error}"));
    }
}

proptest! {
    #[test]
    fn bytes_that_are_changed_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = valid();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survives(&bytes)?;
    }

    #[test]
    fn numbers_that_are_changed_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&[0u32, 1, 0xffff, 0xffff_fffe, 0xffff_ffff, 0x0605_4b50, 100, 1_000][..])), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = valid();
        for (at, value) in changes {
            let at = at.index(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        survives(&bytes)?;
        survives(&bytes[cut.index(bytes.len())..])?;
    }

    /// Parts of archives put together in another order: records in wrong places, twice, or not at all.
    #[test]
    fn pieces_that_are_put_together_anew_do_no_harm(pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6)) {
        let valid = valid();
        let mut bytes = Vec::new();
        for (from, to) in pieces {
            let (from, to) = (from.index(valid.len()), to.index(valid.len() + 1));
            bytes.extend_from_slice(&valid[from.min(to)..from.max(to)]);
        }
        survives(&bytes)?;
    }

    #[test]
    fn archives_of_any_names_and_contents_are_refused_or_read_alike(
        files in prop::collection::vec(("\\PC{1,12}", prop::collection::vec(any::<u8>(), 0..200), 0..4u8), 1..6),
    ) {
        let members = files.iter().map(|(name, content, how)| match how {
            0 => Member::stored(name, content),
            1 => Member::deflated(name, content),
            2 => Member::streamed(name, content, Descriptor::Signed),
            _ => Member::streamed(name, content, Descriptor::Signed64),
        });
        survives(&Vec::from(Zip::of(members)))?;
    }
}
