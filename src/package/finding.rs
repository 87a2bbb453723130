//! What is to be said about a package: one finding for each broken rule.

use std::fmt;

use serde::Serialize;

/// Most findings that are kept of one package's metadata. What goes beyond is counted.
const FINDING_LIMIT: usize = 200;

/// Whether a finding refuses the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The package is refused.
    Error,
    /// The package is accepted, and its author told.
    Warning,
}

/// One thing that is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: programs may depend on it. From the tables in `spec/plugin.md`.
    pub rule: &'static str,
    /// The file of the package that it is about.
    pub path: Option<String>,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    pub severity: Severity,
}

impl Finding {
    pub fn error(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> Self {
        let path = path.map(str::to_owned);
        Self { rule, path, message: message.into(), hint: None, severity: Severity::Error }
    }

    pub fn warning(rule: &'static str, path: Option<&str>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, path, message) }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// `plugin.py`, and the line and column in it when the place is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Path of the file in the package.
    pub path: String,
    pub position: Option<Position>,
}

/// Line and column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub fn of(path: &str) -> Self {
        Self { path: path.to_owned(), position: None }
    }

    pub fn error(&self, rule: &'static str, message: impl fmt::Display) -> Finding {
        let message = match self.position {
            Some(Position { line, column }) => {
                let file = self.path.rsplit('/').next().unwrap_or_default();
                format!("{file}:{line}:{column}: {message}")
            }
            None => message.to_string(),
        };
        Finding::error(rule, Some(&self.path), message)
    }

    pub fn warning(&self, rule: &'static str, message: impl fmt::Display) -> Finding {
        Finding { severity: Severity::Warning, ..self.error(rule, message) }
    }
}

/// Findings as they are made, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    more: usize,
    /// Whether any finding, also one that was not kept, refuses the package.
    refused: bool,
}

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        self.refused |= finding.severity == Severity::Error;
        if self.kept.len() < FINDING_LIMIT {
            self.kept.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Takes over what was found in a file that another one stands in for: nothing of it refuses.
    pub fn push_as_warnings(&mut self, others: Self) {
        for finding in others.kept {
            self.push(Finding { severity: Severity::Warning, ..finding });
        }
        self.more += others.more;
    }

    pub fn append(&mut self, others: Self) {
        self.refused |= others.refused;
        for finding in others.kept {
            self.push(finding);
        }
        self.more += others.more;
    }

    pub fn refused(&self) -> bool {
        self.refused
    }

    pub fn into_vec(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let severity = if self.refused { Severity::Error } else { Severity::Warning };
            let message = format!("and {} more findings", self.more);
            self.kept.push(Finding { severity, ..Finding::error("plugin.more", None, message) });
        }
        self.kept
    }
}

/// Text of an author, made fit for a message: one line, without control characters, at most `limit` characters.
pub(super) fn quoted(text: &str, limit: usize) -> String {
    let mut short = String::new();
    let mut characters = 0;
    let mut blank = false;
    for character in text.trim().chars() {
        if characters == limit {
            short.push('…');
            break;
        }
        if character.is_whitespace() {
            if !blank {
                short.push(' ');
                characters += 1;
            }
            blank = true;
            continue;
        }
        blank = false;
        characters += 1;
        short.push(if is_hidden(character) { '\u{fffd}' } else { character });
    }
    short
}

/// Characters that don't show or that turn the text around them: control characters and marks of direction.
/// Joiners stay, as emoji and several scripts are written with them.
pub(super) fn is_hidden(character: char) -> bool {
    let mark = matches!(
        character,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    character.is_control() || mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_fits_on_a_line() {
        assert_eq!(quoted("  a\n\t b\u{0}\u{202e}c ", 80), "a b\u{fffd}\u{fffd}c");
        assert_eq!(quoted("abcdef", 3), "abc…");
        assert_eq!(quoted("abc", 3), "abc");
        assert_eq!(quoted("", 3), "");
    }

    #[test]
    fn findings_are_bounded_and_the_rest_counted() {
        let mut findings = Findings::default();
        for _ in 0..FINDING_LIMIT {
            findings.push(Finding::warning("plugin.name", None, "x"));
        }
        assert!(!findings.refused());
        findings.push(Finding::error("plugin.name", None, "x"));
        assert!(findings.refused());
        let kept = findings.into_vec();
        assert_eq!(kept.len(), FINDING_LIMIT + 1);
        assert_eq!(kept.last().unwrap().severity, Severity::Error);
        assert_eq!(kept.last().unwrap().message, "and 1 more findings");
    }

    #[test]
    fn a_place_is_said_as_editors_read_it() {
        let place = Place { path: "my/plugin.py".into(), position: Some(Position { line: 3, column: 9 }) };
        let finding = place.error("plugin.pid", "no");
        assert_eq!(finding.message, "plugin.py:3:9: no");
        assert_eq!(finding.path.as_deref(), Some("my/plugin.py"));
    }
}
