//! An archive corpus: for each rule of a package's structure archives that break it alone, with twins just inside.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod attributes;
mod content;
mod extra_fields;
mod frame;
mod headers;
pub mod limits;
mod names;
pub mod random;
pub mod writer;

use quire::package::Limits;

use self::writer::{Entry, Zip};

/// What makes an archive a package.
pub const METADATA: &[u8] =
    br#"{"pid": "com.acme.hello", "name": "Hello", "version": "1.0", "description": "Says hello."}"#;

const TEXT: &[u8] = b"Some text that can be packed, packed, packed and packed again.\n";

/// Two packages that differ in as little as possible.
pub struct Pair {
    /// Breaks this rule, and no other.
    pub broken: Vec<u8>,
    /// Breaks none.
    pub twin: Vec<u8>,
    pub rule: &'static str,
    /// In what the broken one differs.
    pub what: String,
    pub limits: Limits,
}

/// Every pair, in the order of the rules' table.
pub fn pairs() -> Vec<Pair> {
    [
        frame::pairs(),
        headers::pairs(),
        extra_fields::pairs(),
        attributes::pairs(),
        content::pairs(),
        names::pairs(),
        limits::pairs(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn pair(
    rule: &'static str,
    what: impl Into<String>,
    broken: impl Into<Vec<u8>>,
    twin: impl Into<Vec<u8>>,
) -> Pair {
    let limits = Limits::default();
    Pair { rule, what: what.into(), broken: broken.into(), twin: twin.into(), limits }
}

/// Pairs of one rule that differ in one entry beside the metadata.
fn entries<const N: usize>(rule: &'static str, cases: [(&str, Entry, Entry); N]) -> Vec<Pair> {
    let one = |(what, broken, twin)| pair(rule, what, package([broken]), package([twin]));
    cases.into_iter().map(one).collect()
}

/// Metadata, and these entries behind it.
pub fn package(entries: impl IntoIterator<Item = Entry>) -> Zip {
    Zip::of(std::iter::once(metadata()).chain(entries))
}

fn metadata() -> Entry {
    Entry::deflated("plugin.json", METADATA)
}

fn text() -> Entry {
    Entry::deflated("text.txt", TEXT)
}

fn stored() -> Entry {
    Entry::stored("text.txt", TEXT)
}
