//! What a caller may read, as statements ask for it: catalogs, repositories, and globs as regular expressions.

use super::rows::{Text, text};
use crate::access::{CatalogScope, ReadScope, RepositoryGlob};
use crate::name::RepositoryName;

/// A read scope in pieces. `None` of it: everything is read.
pub(super) struct Pieces<'a> {
    /// Catalogs that all is read of.
    pub whole: Vec<Text<'a>>,
    pub repositories: &'a [RepositoryName],
    /// The globs that narrow other catalogs.
    pub globs: Globs<'a>,
}

/// Globs in columns: of which catalog, what all that they match begins with, and the regular expression.
#[derive(Default)]
pub(super) struct Globs<'a> {
    pub catalogs: Vec<Text<'a>>,
    pub prefixes: Vec<&'a str>,
    pub patterns: Vec<String>,
}

impl<'a> Pieces<'a> {
    /// `None`: everything is read.
    pub(super) fn of(scope: &'a ReadScope) -> Option<Self> {
        let ReadScope::Only { catalogs, repositories } = scope else { return None };
        let mut pieces = Self { whole: Vec::new(), repositories, globs: Globs::default() };
        for CatalogScope { catalog, only } in catalogs {
            match only {
                None => pieces.whole.push(text(catalog)),
                Some(globs) => {
                    for glob in globs {
                        pieces.globs.catalogs.push(text(catalog));
                        pieces.globs.prefixes.push(glob.prefix());
                        pieces.globs.patterns.push(format!("^{}$", expression(glob)));
                    }
                }
            }
        }
        Some(pieces)
    }
}

/// The regular expression of what is read of a catalog. `None`: all of it.
pub(super) fn pattern(scope: &CatalogScope) -> Option<String> {
    let globs = scope.only.as_ref()?;
    let any: Vec<String> = globs.iter().map(expression).collect();
    // No repository has an empty name: without any glob nothing is read.
    Some(if any.is_empty() { "^$".into() } else { format!("^(?:{})$", any.join("|")) })
}

/// The regular expression of a glob: `*` inside of a component, `**` for any number of components.
fn expression(glob: &RepositoryGlob) -> String {
    let mut expression = String::new();
    for (place, component) in glob.as_str().split('/').enumerate() {
        if component == "**" {
            expression.push_str("(?:/[^/]+)*");
            continue;
        }
        if place > 0 {
            expression.push('/');
        }
        for character in component.chars() {
            match character {
                '*' => expression.push_str("[^/]*"),
                '.' => expression.push_str("\\."),
                other => expression.push(other),
            }
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_regular_expressions() {
        for (glob, expected) in [
            ("acme/com.acme.*", "acme/com\\.acme\\.[^/]*"),
            ("acme/**", "acme(?:/[^/]+)*"),
            ("acme/**/x", "acme(?:/[^/]+)*/x"),
        ] {
            assert_eq!(expression(&glob.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_scope_without_globs_matches_nothing() {
        let none = CatalogScope { catalog: "a".into(), only: Some(Vec::new()) };
        assert_eq!(pattern(&none).as_deref(), Some("^$"));
        assert_eq!(pattern(&CatalogScope::whole("a")), None);
    }
}
