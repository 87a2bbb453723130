//! Repository names, tags and references: parsed once, or refused.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::digest::{Digest, DigestError};

/// Longest repository name in bytes; with a host and a slash clients allow 255.
const NAME_LIMIT: usize = 200;
/// Longest catalog in bytes.
const CATALOG_LIMIT: usize = 64;
/// Longest tag in bytes, from the distribution specification.
const TAG_LIMIT: usize = 128;

/// `<catalog>/<name>`: an OCI repository name of at least two components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first component: `system`, or the id of an organisation.
    pub fn catalog(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(catalog, _)| catalog)
    }

    /// Everything behind the catalog: of a plugin, its id.
    pub fn without_catalog(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, rest)| rest)
    }
}

/// Why a text is no repository name.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum NameError {
    #[error("a repository name has at most {NAME_LIMIT} characters")]
    Length,
    #[error(
        "each component of a repository name is lower-case letters and digits, \
         separated by one '.', one or two '_', or any number of '-'"
    )]
    Grammar,
    #[error("a repository is named <catalog>/<name>: it has at least two components")]
    Catalog,
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_LIMIT {
            return Err(NameError::Length);
        }
        if !text.split('/').all(is_component) {
            return Err(NameError::Grammar);
        }
        if !text.contains('/') {
            return Err(NameError::Catalog);
        }
        Ok(Self(text.into()))
    }
}

/// Whether a text can be a catalog: one component of a repository name, short enough to leave room for others.
pub fn is_catalog(text: &str) -> bool {
    text.len() <= CATALOG_LIMIT && is_component(text)
}

/// Whether a text is one component of a repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub fn is_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(|&byte| alphanumeric(byte)).all(|separator| match separator {
            [] | [b'.' | b'_'] | [b'_', b'_'] => true,
            dashes => dashes.iter().all(|&byte| byte == b'-'),
        })
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A movable name for a manifest inside a repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text does not follow `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error(
    "a tag has at most {TAG_LIMIT} letters, digits, '_', '.' and '-', and starts with none of '.' and '-'"
)]
pub struct TagError;

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(word);
        if text.len() <= TAG_LIMIT && starts_well && bytes.all(|b| word(b) || b == b'.' || b == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(TagError)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind `/manifests/`: a text with a `:` is a digest and never a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    Digest(Digest),
    Tag(Tag),
}

/// Why a text is neither a digest nor a tag.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum ReferenceError {
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_by_the_grammar() {
        for good in ["system/a", "acme/com.acme.tool", "a/b/c", "a__b/c", "a-b/c---d", "0/1", "a_b/c"] {
            assert_eq!(good.parse::<RepositoryName>().unwrap().as_str(), good);
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A/b", "a/B", "a/.b", "a/b.", "a/b..c", "a/b___c", "a/b._c", "a/-b",
            "a/b-", "a b/c", "a/é", "../a", "a/..", "a/%2e",
        ] {
            assert_eq!(bad.parse::<RepositoryName>(), Err(NameError::Grammar), "{bad}");
        }
        assert_eq!("alone".parse::<RepositoryName>(), Err(NameError::Catalog));
        let long = format!("a/{}", "b".repeat(NAME_LIMIT));
        assert_eq!(long.parse::<RepositoryName>(), Err(NameError::Length));
    }

    #[test]
    fn the_catalog_is_the_first_component() {
        assert_eq!("acme/x/y".parse::<RepositoryName>().unwrap().catalog(), "acme");
    }

    #[test]
    fn a_colon_makes_a_digest() {
        assert!(matches!("sha256:short".parse::<Reference>(), Err(ReferenceError::Digest(_))));
        assert!(matches!("v1:2".parse::<Reference>(), Err(ReferenceError::Digest(_))));
        assert!(matches!("v1.2".parse::<Reference>(), Ok(Reference::Tag(_))));
        // The referrers fallback tag of clients is a tag like any other.
        let fallback = format!("sha256-{}", "a".repeat(64));
        assert!(matches!(fallback.parse::<Reference>(), Ok(Reference::Tag(_))));
    }

    #[test]
    fn tags_by_the_grammar() {
        for bad in ["", ".a", "-a", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Tag>(), Err(TagError), "{bad}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
    }

    proptest! {
        #[test]
        fn every_name_of_the_grammar_parses(
            name in "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,3}(/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,3}){1,3}"
        ) {
            prop_assert_eq!(name.parse::<RepositoryName>().map(|n| n.to_string()), Ok(name));
        }

        #[test]
        fn what_parses_follows_the_grammar(name in "[a-z0-9._/-]{0,24}") {
            if name.parse::<RepositoryName>().is_ok() {
                for component in name.split('/') {
                    prop_assert!(!component.is_empty());
                    prop_assert!(!component.contains("..") && !component.contains("___"));
                    prop_assert!(component.starts_with(|c: char| c.is_ascii_alphanumeric()));
                    prop_assert!(component.ends_with(|c: char| c.is_ascii_alphanumeric()));
                }
            }
        }
    }
}
