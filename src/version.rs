//! Versions of plugins: `MAJOR.MINOR[.PATCH][-pre]`, ordered by precedence.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::name::Tag;

/// Longest version in bytes, as it is also a tag.
const LENGTH_LIMIT: usize = 128;

/// A version, as it was written.
///
/// Equality and order are those of precedence and not those of the text: `1.0` equals `1.0.0`, a pre-release
/// comes before its release, and numbers of any length are compared as numbers.
#[derive(Clone)]
pub struct Version(Arc<str>);

/// What stands behind the numbers in a sort key.
mod key {
    /// Before a number of a pre-release.
    pub const NUMBER: u8 = 1;
    /// Before any other identifier of a pre-release.
    pub const WORD: u8 = 2;
    /// In place of a pre-release.
    pub const RELEASE: u8 = 0xff;
}

/// Why a text is no version.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum VersionError {
    #[error("a version has at most {LENGTH_LIMIT} characters")]
    Length,
    #[error("a version has no leading 'v'")]
    LeadingV,
    #[error("a version has no build metadata ('+')")]
    Build,
    #[error("a version is MAJOR.MINOR or MAJOR.MINOR.PATCH, each a number without leading zeros")]
    Numbers,
    #[error(
        "a pre-release is made of identifiers separated by dots: letters, digits and '-', numbers without \
         leading zeros"
    )]
    PreRelease,
}

impl Version {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the version comes before the release of the same numbers.
    pub fn is_pre_release(&self) -> bool {
        self.0.contains('-')
    }

    /// Bytes whose order is the order of versions, and that are equal for equal versions: what a database sorts by
    /// and keeps unique. Fewer than 200. They are stored, so a version never gets another key.
    ///
    /// Each number is its count of digits in a byte and the digits. A release ends with a byte 255; the identifiers
    /// of a pre-release stand in its place, a number behind a 1, a word between a 2 and a zero.
    pub fn sort_key(&self) -> Vec<u8> {
        let (numbers, pre_release) = self.parts();
        let mut key = Vec::with_capacity(self.0.len() + 8);
        let number = |key: &mut Vec<u8>, digits: &str| {
            key.push(digits.len() as u8);
            key.extend_from_slice(digits.as_bytes());
        };
        for digits in numbers {
            number(&mut key, digits);
        }
        let Some(pre_release) = pre_release else {
            key.push(key::RELEASE);
            return key;
        };
        for identifier in pre_release.split('.') {
            if all_digits(identifier) {
                key.push(key::NUMBER);
                number(&mut key, identifier);
            } else {
                key.push(key::WORD);
                key.extend_from_slice(identifier.as_bytes());
                key.push(0);
            }
        }
        key
    }

    /// The other way to write this version: with the patch when it is left out, without it when it is 0. `None`
    /// when there is no other, or when it would be too long for a version.
    pub fn other_spelling(&self) -> Option<Self> {
        let (numbers, pre_release) = split(&self.0);
        let numbers = match numbers.matches('.').count() {
            1 => format!("{numbers}.0"),
            _ => numbers.strip_suffix(".0")?.to_owned(),
        };
        let text = match pre_release {
            Some(pre_release) => format!("{numbers}-{pre_release}"),
            None => numbers,
        };
        text.parse().ok()
    }

    /// Major, minor and patch as they are written, and what stands behind them.
    fn parts(&self) -> ([&str; 3], Option<&str>) {
        let (numbers, pre_release) = split(&self.0);
        let mut numbers = numbers.splitn(3, '.');
        let mut next = || numbers.next().unwrap_or("0");
        ([next(), next(), next()], pre_release)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

/// Whether a tag is written as a version: numbers without leading zeros, no leading `v`, no build metadata.
pub fn is_version(tag: &Tag) -> bool {
    check(tag.as_str()).is_ok()
}

fn check(text: &str) -> Result<(), VersionError> {
    if text.len() > LENGTH_LIMIT {
        return Err(VersionError::Length);
    }
    if text.starts_with(['v', 'V']) {
        return Err(VersionError::LeadingV);
    }
    if text.contains('+') {
        return Err(VersionError::Build);
    }
    let (numbers, pre_release) = split(text);
    let count = numbers.split('.').count();
    if !(2..=3).contains(&count) || !numbers.split('.').all(is_number) {
        return Err(VersionError::Numbers);
    }
    if !pre_release.is_none_or(|pre_release| pre_release.split('.').all(is_identifier)) {
        return Err(VersionError::PreRelease);
    }
    Ok(())
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('-') {
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (text, None),
    }
}

fn is_number(text: &str) -> bool {
    all_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One identifier of a pre-release, as semantic versioning has them.
fn is_identifier(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(known) && (!all_digits(text) || is_number(text))
}

/// Numbers have no leading zeros, so the longer one is the larger.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Numbers come before words; of two that agree as far as they go, the shorter comes first.
fn compare_pre_releases(left: &str, right: &str) -> Ordering {
    let identifiers = |left: &&str, right: &&str| match (all_digits(left), all_digits(right)) {
        (true, true) => compare_numbers(left, right),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    };
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) => match identifiers(&a, &b) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((numbers, pre_release), (other_numbers, other_pre_release)) = (self.parts(), other.parts());
        for (left, right) in numbers.into_iter().zip(other_numbers) {
            match compare_numbers(left, right) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        match (pre_release, other_pre_release) {
            (Some(left), Some(right)) => compare_pre_releases(left, right),
            // What has a pre-release comes before what has none.
            (left, right) => right.is_some().cmp(&left.is_some()),
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_a_version() {
        for good in
            ["1.0", "0.0", "1.0.0", "10.20.30", "1.0-rc.1", "1.2.3-alpha", "1.0-0a", "1.0-a-b", "1.0-0"]
        {
            assert!(is_version(&good.parse().unwrap()), "{good}");
            assert_eq!(version(good).as_str(), good);
        }
        for channel in [
            "latest", "1", "v1.0", "1.0.0.0", "01.0", "1.00", "1.0-", "1.0-01", "1.0-a..b", "1.x", "1.0_1",
            "1.",
        ] {
            assert!(!is_version(&channel.parse().unwrap()), "{channel}");
        }
        for (bad, why) in [
            ("v1.0", VersionError::LeadingV),
            ("1.0+build", VersionError::Build),
            ("1", VersionError::Numbers),
            ("", VersionError::Numbers),
            (" 1.0", VersionError::Numbers),
            ("1.0 ", VersionError::Numbers),
            ("١.0", VersionError::Numbers),
            ("1.0-é", VersionError::PreRelease),
            ("1.0-a.", VersionError::PreRelease),
        ] {
            assert_eq!(bad.parse::<Version>(), Err(why), "{bad}");
        }
        assert_eq!(format!("1.{}", "9".repeat(127)).parse::<Version>(), Err(VersionError::Length));
    }

    #[test]
    fn versions_are_ordered_by_precedence() {
        let rising = [
            "0.0",
            "0.9.9-a",
            "0.9.9",
            "1.0-0",
            "1.0-2",
            "1.0-10",
            "1.0-18446744073709551616",
            "1.0-99999999999999999999999",
            "1.0-A",
            "1.0-alpha",
            "1.0.0-alpha.1",
            "1.0-alpha.beta",
            "1.0-beta",
            "1.0-beta.2",
            "1.0-beta.11",
            "1.0-rc.1",
            "1.0.0",
            "1.0.1-a",
            "1.0.1",
            "1.9",
            "1.10",
            "9.0",
            "18446744073709551615.0",
            "18446744073709551616.0",
            "99999999999999999999999.0",
        ];
        for (at, lower) in rising.iter().enumerate() {
            for higher in &rising[at + 1..] {
                assert!(version(lower) < version(higher), "{lower} {higher}");
                assert!(version(higher) > version(lower), "{lower} {higher}");
                assert!(version(lower).sort_key() < version(higher).sort_key(), "{lower} {higher}");
            }
        }
        assert!(version("1.0-rc.1").is_pre_release() && !version("1.0").is_pre_release());
    }

    #[test]
    fn two_spellings_of_one_version_keep_their_text() {
        assert_eq!(version("1.0"), version("1.0.0"));
        assert_eq!(version("1.0-a"), version("1.0.0-a"));
        assert_ne!(version("1.0").to_string(), version("1.0.0").to_string());
        assert_ne!(version("1.0-a"), version("1.0"));
    }

    #[test]
    fn the_keys_that_databases_hold() {
        for (text, key) in [
            ("1.0", &b"\x011\x010\x010\xff"[..]),
            ("1.0.0", b"\x011\x010\x010\xff"),
            ("0.10.203", b"\x010\x0210\x03203\xff"),
            ("1.0-rc.1", b"\x011\x010\x010\x02rc\0\x01\x011"),
            ("2.1.0-0.alpha-7.42", b"\x012\x011\x010\x01\x010\x02alpha-7\0\x01\x0242"),
        ] {
            assert_eq!(version(text).sort_key(), key, "{text}");
        }
        let long = format!("{}.0", "9".repeat(126));
        assert_eq!(version(&long).sort_key().first(), Some(&126));
        let many = format!("1.0-{}1", "0.".repeat(61));
        assert_eq!(version(&many).sort_key().len(), 6 + 62 * 3);
    }

    #[test]
    fn the_other_spelling() {
        for (short, long) in
            [("1.0", "1.0.0"), ("2.1-rc.1", "2.1.0-rc.1"), ("0.0-a-0.0", "0.0.0-a-0.0"), ("1.10", "1.10.0")]
        {
            assert_eq!(version(short).other_spelling().unwrap().as_str(), long);
            assert_eq!(version(long).other_spelling().unwrap().as_str(), short);
        }
        for only in ["1.0.1", "1.0.10", "1.2.3-0.0", &format!("1.{}", "9".repeat(125))] {
            assert!(version(only).other_spelling().is_none(), "{only}");
        }
        let longest = version(&format!("1.{}", "9".repeat(124)));
        assert_eq!(longest.other_spelling().map(|other| other.as_str().len()), Some(128));
    }

    const GRAMMAR: &str =
        "(0|[1-9][0-9]{0,2})\\.(0|[1-9])(\\.(0|[1-2]))?(-(0|[1-9][0-9]{0,1}|[a-c-]{1,2})(\\.(0|1|a))?)?";

    /// Numbers of any length, words of any letters.
    const ANY: &str = "(0|[1-9][0-9]{0,30})\\.(0|[1-9][0-9]{0,3})(\\.(0|[1-9]))?(-([0-9A-Za-z-]{1,9})(\\.[0-9A-Za-z-]{1,3}){0,4})?";

    proptest! {
        #[test]
        fn the_order_is_total(a in GRAMMAR, b in GRAMMAR, c in GRAMMAR) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            let mut sorted = [a, b, c];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
            if sorted[0] == sorted[2] {
                prop_assert!(sorted[0] == sorted[1] && sorted[1] == sorted[2]);
            }
        }

        #[test]
        fn keys_are_ordered_as_versions_are(a in GRAMMAR, b in GRAMMAR) {
            let (a, b) = (version(&a), version(&b));
            prop_assert_eq!(a.sort_key().cmp(&b.sort_key()), a.cmp(&b), "{} {}", a, b);
        }

        #[test]
        fn keys_of_any_versions_are_ordered(a in ANY, b in ANY) {
            if let (Ok(a), Ok(b)) = (a.parse::<Version>(), b.parse::<Version>()) {
                prop_assert_eq!(a.sort_key().cmp(&b.sort_key()), a.cmp(&b), "{} {}", a, b);
            }
        }

        #[test]
        fn the_other_spelling_is_the_same_version(text in GRAMMAR) {
            let version = version(&text);
            let patch_is_zero = version.parts().0[2] == "0";
            let other = version.other_spelling();
            prop_assert_eq!(other.is_some(), patch_is_zero);
            if let Some(other) = other {
                prop_assert!(other == version && other.as_str() != text);
                prop_assert_eq!(other.sort_key(), version.sort_key());
                prop_assert_eq!(other.other_spelling().unwrap().to_string(), text);
            }
        }

        #[test]
        fn a_version_is_a_tag(text in "[0-9a-z.+-]{0,12}") {
            if text.parse::<Version>().is_ok() {
                prop_assert!(text.parse::<Tag>().is_ok_and(|tag| is_version(&tag)));
            }
        }
    }
}
