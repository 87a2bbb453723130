//! The list of findings: bounded, and never silent about what it left out.

use super::{Finding, Rule, Severity};

/// Collects findings. What is beyond the limit is counted and not kept, because a hostile archive could
/// otherwise make a megabyte of answers out of every kilobyte.
#[derive(Debug)]
pub struct Findings {
    kept: Vec<Finding>,
    left_out: usize,
    limit: usize,
    refused: bool,
}

impl Findings {
    pub fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), left_out: 0, limit, refused: false }
    }

    pub fn push(&mut self, finding: Finding) {
        self.refused |= finding.severity == Severity::Error;
        if self.is_full() {
            self.left_out += 1;
        } else {
            self.kept.push(finding);
        }
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.limit
    }

    /// An error about the whole archive.
    pub(super) fn refuse(&mut self, rule: Rule, message: impl Into<String>) {
        self.error(rule, None, message.into());
    }

    /// An error about one entry, named as the archive names it.
    pub(super) fn refuse_entry(&mut self, rule: Rule, name: &[u8], message: impl Into<String>) {
        // To write a name out takes longer than to find what is wrong with it.
        let path = (!self.is_full()).then(|| shown(name));
        self.error(rule, path, message.into());
    }

    fn error(&mut self, rule: Rule, path: Option<String>, message: String) {
        let hint = Some(rule.hint().to_owned());
        self.push(Finding { rule: rule.id(), path, message, hint, severity: Severity::Error });
    }

    /// Whether anything that was found keeps the package out.
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// The findings in the order in which they were made, and how many were left out.
    pub fn into_vec(mut self) -> Vec<Finding> {
        if self.left_out > 0 {
            self.kept.push(Finding {
                rule: Rule::Findings.id(),
                path: None,
                message: format!("{} more findings are not shown", self.left_out),
                hint: Some(Rule::Findings.hint().to_owned()),
                severity: if self.refused { Severity::Error } else { Severity::Warning },
            });
        }
        self.kept
    }
}

/// Longest name that is shown whole. Longer ones are refused, and only have to be recognised.
const SHOWN: usize = 1_024;

/// A name as a terminal, a log and a JSON text can carry it. A name that is accepted stays as it is.
pub(in crate::package) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    let clipped = &name[..name.len().min(SHOWN)];
    for chunk in clipped.utf8_chunks() {
        for character in chunk.valid().chars() {
            if super::entry_name::is_visible(character) {
                text.push(character);
            } else {
                text.extend(character.escape_unicode());
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if text.len() > SHOWN || name.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding { rule: "x", path: None, message: String::new(), hint: None, severity }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut findings = Findings::new(2);
        for _ in 0..2 {
            findings.push(finding(Severity::Warning));
        }
        assert!(!findings.refused());
        for _ in 0..3 {
            findings.push(finding(Severity::Error));
        }
        assert!(findings.refused());
        let told = findings.into_vec();
        assert_eq!(told.len(), 3);
        assert_eq!(told[2].rule, "limit.findings");
        assert_eq!(told[2].message, "3 more findings are not shown");
        assert_eq!(told[2].severity, Severity::Error);
    }

    #[test]
    fn the_shape_of_a_finding_in_json() {
        let mut findings = Findings::new(2);
        findings.refuse_entry(Rule::Crc, b"a\x1b[2J\xff", "wrong");
        findings.push(finding(Severity::Warning));
        let told = serde_json::to_value(findings.into_vec()).unwrap();
        let hint = Rule::Crc.hint();
        assert_eq!(
            told,
            serde_json::json!([
                {"rule": "zip.crc", "path": "a\\u{1b}[2J\\xff", "message": "wrong", "hint": hint, "severity": "error"},
                {"rule": "x", "path": null, "message": "", "hint": null, "severity": "warning"},
            ])
        );
    }

    #[test]
    fn a_name_is_shown_as_it_is_when_nothing_speaks_against_it() {
        assert_eq!(shown("süß/日本/👍.txt".as_bytes()), "süß/日本/👍.txt");
        assert_eq!(shown("a\u{202e}b\u{2028}c".as_bytes()), "a\\u{202e}b\\u{2028}c");
        assert_eq!(shown(&[b'a'; 1_024]).len(), 1_024);
        assert_eq!(shown(&[b'a'; 1_025]), format!("{}…", "a".repeat(1_024)));
        assert!(shown(&[1; 65_535]).len() < 1_100);
    }
}
