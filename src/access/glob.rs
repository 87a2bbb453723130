//! Globs over repository names and tags: `*` inside of a component, `**` across components.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;

use crate::name::{RepositoryName, Tag};

/// Longest glob in bytes.
const GLOB_LIMIT: usize = 256;

/// Why a text is no glob of ours.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum GlobError {
    #[error("a glob has at most {GLOB_LIMIT} characters")]
    Length,
    #[error("a glob is made of the letters of names, '/', '*' and '**'")]
    Grammar,
    #[error("the glob begins with a catalog, as in acme/**")]
    Catalog,
}

/// Repositories of one catalog: `acme/com.acme.*`, `acme/**`. The catalog itself is no pattern.
#[derive(Clone)]
pub struct RepositoryGlob {
    text: String,
    matcher: GlobMatcher,
}

impl RepositoryGlob {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn catalog(&self) -> &str {
        self.text.split_once('/').map_or(self.text.as_str(), |(catalog, _)| catalog)
    }

    /// What every repository begins with that it matches; all of them stand together in a list.
    pub fn prefix(&self) -> &str {
        self.text.split('*').next().unwrap_or_default()
    }

    pub fn matches(&self, repository: &RepositoryName) -> bool {
        self.matcher.is_match(repository.as_str())
    }
}

impl FromStr for RepositoryGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let matcher = compile(text)?;
        match text.split_once('/') {
            Some((catalog, rest)) if !rest.is_empty() && !catalog.is_empty() && !catalog.contains('*') => {
                Ok(Self { text: text.to_owned(), matcher })
            }
            _ => Err(GlobError::Catalog),
        }
    }
}

/// Tags: `v*`, `*-rc.*`.
#[derive(Clone)]
pub struct TagGlob {
    text: String,
    matcher: GlobMatcher,
}

impl TagGlob {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, tag: &Tag) -> bool {
        self.matcher.is_match(tag.as_str())
    }
}

impl FromStr for TagGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() || text.contains('/') {
            return Err(GlobError::Grammar);
        }
        Ok(Self { text: text.to_owned(), matcher: compile(text)? })
    }
}

fn compile(text: &str) -> Result<GlobMatcher, GlobError> {
    if text.len() > GLOB_LIMIT {
        return Err(GlobError::Length);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/*".contains(&byte);
    if !text.bytes().all(known) || text.contains("***") {
        return Err(GlobError::Grammar);
    }
    let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|_| GlobError::Grammar)?;
    Ok(glob.compile_matcher())
}

macro_rules! shown_as_text {
    ($glob:ty) => {
        impl PartialEq for $glob {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }
        impl Eq for $glob {}
        impl fmt::Debug for $glob {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}
shown_as_text!(RepositoryGlob);
shown_as_text!(TagGlob);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_inside_its_component() {
        for (glob, matching, other) in [
            ("acme/*", &["acme/a", "acme/com.acme.tool"][..], &["acme/a/b", "other/a", "acmes/a"][..]),
            ("acme/**", &["acme/a", "acme/a/b"], &["acmes/a"]),
            (
                "acme/com.acme.*",
                &["acme/com.acme.x"],
                &["acme/com.acme", "acme/com.acme.x/y", "acme/comxacme.x"],
            ),
            ("acme/tool", &["acme/tool"], &["acme/tools", "acme/tool/x"]),
            ("acme/**/x", &["acme/x", "acme/a/b/x"], &["acme/a/xx"]),
        ] {
            let parsed: RepositoryGlob = glob.parse().unwrap();
            assert_eq!(parsed.catalog(), "acme");
            assert!(matching.iter().all(|name| name.starts_with(parsed.prefix())));
            for name in matching {
                assert!(parsed.matches(&name.parse().unwrap()), "{glob} {name}");
            }
            for name in other {
                assert!(!parsed.matches(&name.parse().unwrap()), "{glob} {name}");
            }
        }
    }

    #[test]
    fn what_is_no_glob() {
        for text in ["", "acme", "*/tool", "a*/tool", "acme/", "/x"] {
            assert_eq!(text.parse::<RepositoryGlob>(), Err(GlobError::Catalog), "{text}");
        }
        for text in ["acme/[a-z]", "acme/{a,b}", "acme/a?", "acme/***", "acme/\\*"] {
            assert_eq!(text.parse::<RepositoryGlob>(), Err(GlobError::Grammar), "{text}");
        }
        assert_eq!("v/*".parse::<TagGlob>(), Err(GlobError::Grammar));
        assert_eq!("v".repeat(300).parse::<TagGlob>(), Err(GlobError::Length));
    }

    #[test]
    fn tags_match_whole() {
        let releases: TagGlob = "v*".parse().unwrap();
        assert!(releases.matches(&"v1.0".parse().unwrap()));
        assert!(!releases.matches(&"rc-v1.0".parse().unwrap()));
    }
}
