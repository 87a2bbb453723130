//! Globs over repository names and tags: `*` inside of a component, `**` across components.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::name::{RepositoryName, Tag};

/// Longest glob in bytes.
const GLOB_LIMIT: usize = 256;

/// Why a text is no glob of ours.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum GlobError {
    #[error("a glob has at most {GLOB_LIMIT} characters")]
    Length,
    #[error("a glob is made of the letters of names, '/' and '*', and '**' stands alone between slashes")]
    Grammar,
    #[error("the glob begins with a catalog, as in acme/**")]
    Catalog,
}

/// Checks the grammar. Nothing is compiled: globs are matched as they stand, as many are read and few are used.
fn check(text: &str) -> Result<(), GlobError> {
    if text.len() > GLOB_LIMIT {
        return Err(GlobError::Length);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/*".contains(&byte);
    let whole = |component: &str| component == "**" || !component.contains("**");
    let good = !text.is_empty() && text.bytes().all(known) && text.split('/').all(whole);
    if good { Ok(()) } else { Err(GlobError::Grammar) }
}

/// Components against components; `**` stands for any number of them.
fn matches(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**"], _) => true,
        (["**", rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ([first, rest @ ..], [component, others @ ..]) => {
            component_matches(first.as_bytes(), component.as_bytes()) && matches(rest, others)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// One component, where `*` stands for any number of characters. Only the last `*` is ever tried again.
fn component_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, read));
        } else if pattern.get(at) == Some(&name[read]) {
            at += 1;
            read += 1;
        } else if let Some((behind, tried)) = retry {
            at = behind;
            read = tried + 1;
            retry = Some((behind, read));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Repositories of one catalog: `acme/com.acme.*`, `acme/**`. The catalog itself is no pattern.
#[derive(Clone)]
pub struct RepositoryGlob {
    text: Arc<str>,
}

impl RepositoryGlob {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn catalog(&self) -> &str {
        self.text.split_once('/').map_or(&*self.text, |(catalog, _)| catalog)
    }

    /// What every repository begins with that it matches; all of them stand together in a list.
    pub fn prefix(&self) -> &str {
        let (start, rest) = self.text.split_at(self.text.find('*').unwrap_or(self.text.len()));
        // `**` stands for no component, too, and then for no slash.
        if rest.starts_with("**") { start.trim_end_matches('/') } else { start }
    }

    pub fn matches(&self, repository: &RepositoryName) -> bool {
        let pattern: Vec<&str> = self.text.split('/').collect();
        let name: Vec<&str> = repository.as_str().split('/').collect();
        matches(&pattern, &name)
    }
}

impl FromStr for RepositoryGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        match text.split_once('/') {
            Some((catalog, rest)) if !rest.is_empty() && !catalog.is_empty() && !catalog.contains('*') => {
                check(text)?;
                // More would make matching slow, and mean nothing more.
                let doubles = rest.split('/').filter(|component| *component == "**").count();
                if doubles > 2 { Err(GlobError::Grammar) } else { Ok(Self { text: text.into() }) }
            }
            Some(_) | None => Err(GlobError::Catalog),
        }
    }
}

/// Tags: `v*`, `*-rc.*`.
#[derive(Clone)]
pub struct TagGlob {
    text: Arc<str>,
}

impl TagGlob {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, tag: &Tag) -> bool {
        component_matches(self.text.as_bytes(), tag.as_str().as_bytes())
    }
}

impl FromStr for TagGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        check(text)?;
        if text.contains('/') || text.contains("**") {
            Err(GlobError::Grammar)
        } else {
            Ok(Self { text: text.into() })
        }
    }
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
            ("acme/tool/**", &["acme/tool", "acme/tool/x/y"], &["acme/tools", "acme/x/tool"]),
            ("acme/**/x", &["acme/x", "acme/a/b/x"], &["acme/a/xx", "acme/x/y"]),
            ("acme/*a*b*", &["acme/ab", "acme/xaxbx", "acme/aab"], &["acme/ba", "acme/a/b"]),
            ("acme/**/a*/**", &["acme/a", "acme/x/ab/y/z"], &["acme/x/y"]),
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
        for text in
            ["acme/[a-z]", "acme/{a,b}", "acme/a?", "acme/***", "acme/\\*", "acme/a**", "acme/**/**/**/x"]
        {
            assert_eq!(text.parse::<RepositoryGlob>(), Err(GlobError::Grammar), "{text}");
        }
        assert_eq!("v/*".parse::<TagGlob>(), Err(GlobError::Grammar));
        assert_eq!("v".repeat(300).parse::<TagGlob>(), Err(GlobError::Length));
    }

    /// The same answers as a slow matcher that tries everything.
    #[test]
    fn every_short_component_is_decided_right() {
        fn slow(pattern: &[u8], name: &[u8]) -> bool {
            match pattern {
                [] => name.is_empty(),
                [b'*', rest @ ..] => (0..=name.len()).any(|skipped| slow(rest, &name[skipped..])),
                [first, rest @ ..] => name.first() == Some(first) && slow(rest, &name[1..]),
            }
        }
        let words = |letters: &[u8], length: usize| {
            let mut words = vec![Vec::new()];
            for _ in 0..length {
                let longer: Vec<Vec<u8>> = words
                    .iter()
                    .flat_map(|word| letters.iter().map(|letter| [word.as_slice(), &[*letter]].concat()))
                    .collect();
                words.extend(longer);
            }
            words.sort_unstable();
            words.dedup();
            words
        };
        for pattern in words(b"ab*", 4) {
            for name in words(b"ab", 5) {
                assert_eq!(component_matches(&pattern, &name), slow(&pattern, &name), "{pattern:?} {name:?}");
            }
        }
    }

    #[test]
    fn tags_match_whole() {
        let releases: TagGlob = "v*".parse().unwrap();
        assert!(releases.matches(&"v1.0".parse().unwrap()));
        assert!(!releases.matches(&"rc-v1.0".parse().unwrap()));
    }
}
