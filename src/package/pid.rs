//! The plugin's id: a reverse domain that is also a name of a repository.

use thiserror::Error;

use super::finding::Finding;
use crate::name::is_component;

/// Longest id in bytes: with the longest catalog in front it is still a repository's name.
const PID_LIMIT: usize = 128;

/// Why a text is no plugin id.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum PidError {
    #[error("a pid has at most {PID_LIMIT} characters")]
    Length,
    #[error("a pid is written in lower case")]
    Case,
    #[error("a pid has at least two labels separated by dots")]
    Labels,
    #[error(
        "a pid is made of lower-case letters and digits, separated by one '.', one or two '_', or any number \
         of '-'"
    )]
    Grammar,
    #[error("a pid starts with a top-level domain, and so with a letter")]
    First,
}

/// Whether a text is a plugin id.
pub fn check_pid(pid: &str) -> Result<(), PidError> {
    if pid.len() > PID_LIMIT {
        return Err(PidError::Length);
    }
    if pid.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(PidError::Case);
    }
    if !is_component(pid) {
        return Err(PidError::Grammar);
    }
    if !pid.contains('.') {
        return Err(PidError::Labels);
    }
    if !pid.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(PidError::First);
    }
    Ok(())
}

/// Whether an id lies below a domain: `com.acme` and `com.acme.tool` below `acme.com`.
pub fn belongs_to_domain(pid: &str, domain: &str) -> bool {
    match pid.strip_prefix(&*reversed(domain)) {
        Some(rest) => rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

/// The finding about an id that is not the organisation's to give.
pub fn check_domain(pid: &str, domain: &str, path: Option<&str>) -> Option<Finding> {
    let prefix = reversed(domain);
    (!belongs_to_domain(pid, domain)).then(|| {
        Finding::error("plugin.domain", path, format!("{pid} does not belong to the domain {domain}"))
            .hint(format!("use {prefix} or a pid that starts with {prefix}."))
    })
}

fn reversed(domain: &str) -> String {
    let labels: Vec<&str> = domain.trim_end_matches('.').split('.').rev().collect();
    labels.join(".").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_a_reverse_domain() {
        for good in ["com.acme", "com.acme.tool", "io.x_y.a-b", "de.a1.2captcha", "org.a__b"] {
            assert_eq!(check_pid(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("acme", PidError::Labels),
            ("com.Acme", PidError::Case),
            ("com..acme", PidError::Grammar),
            ("com.acme.", PidError::Grammar),
            (".com.acme", PidError::Grammar),
            ("com.acme/tool", PidError::Grammar),
            ("com.a___b", PidError::Grammar),
            ("com.äcme", PidError::Grammar),
            ("", PidError::Grammar),
            ("com acme", PidError::Grammar),
            ("1.0", PidError::First),
            (&format!("com.{}", "a".repeat(PID_LIMIT)), PidError::Length),
        ] {
            assert_eq!(check_pid(bad), Err(why), "{bad}");
        }
    }

    /// The id stands behind the longest catalog in a repository's name.
    #[test]
    fn every_pid_names_a_repository() {
        let pid = format!("com.{}", "a".repeat(PID_LIMIT - 4));
        assert_eq!(check_pid(&pid), Ok(()));
        let name = format!("{}/{pid}", "c".repeat(64));
        assert!(name.parse::<crate::name::RepositoryName>().is_ok());
    }

    #[test]
    fn an_organisation_gives_the_ids_of_its_domain() {
        for pid in ["com.acme", "com.acme.tool", "com.acme.tool.more"] {
            assert!(belongs_to_domain(pid, "acme.com") && belongs_to_domain(pid, "ACME.com."), "{pid}");
        }
        for pid in ["com.acmes", "com.acme-tools.x", "com", "org.acme.tool", "acme.com"] {
            assert!(!belongs_to_domain(pid, "acme.com"), "{pid}");
        }
        let finding = check_domain("com.other.x", "acme.com", Some("plugin.json")).unwrap();
        assert_eq!(finding.rule, "plugin.domain");
        assert_eq!(finding.hint.as_deref(), Some("use com.acme or a pid that starts with com.acme."));
        assert_eq!(check_domain("com.acme", "acme.com", None), None);
    }
}
