//! How findings about a package are told, whoever made them.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::text::plain;
use crate::package::{Finding, Severity};

/// Writes findings as text, each with its hint.
pub fn tell(out: &mut (impl Write + ?Sized), findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (path, hint) = (finding.path.as_deref(), finding.hint.as_deref());
        tell_one(out, severity, path, &finding.message, finding.rule, hint)?;
    }
    Ok(())
}

/// Writes findings that came from a registry.
pub fn tell_foreign(out: &mut (impl Write + ?Sized), findings: &[Value]) -> io::Result<()> {
    for finding in findings {
        let part = |name: &str| finding[name].as_str();
        let severity = part("severity").unwrap_or("error");
        let (message, rule) = (part("message").unwrap_or_default(), part("rule").unwrap_or("unknown"));
        tell_one(out, severity, part("path"), message, rule, part("hint"))?;
    }
    Ok(())
}

fn tell_one(
    out: &mut (impl Write + ?Sized),
    severity: &str,
    path: Option<&str>,
    message: &str,
    rule: &str,
    hint: Option<&str>,
) -> io::Result<()> {
    let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
    writeln!(out, "{}", plain(&format!("{severity}: {path}{message} [{rule}]")))?;
    match hint {
        Some(hint) => writeln!(out, "  hint: {}", plain(hint)),
        None => Ok(()),
    }
}

/// The report of a package that was refused.
pub fn refusal(findings: Value) -> Value {
    json!({ "accepted": false, "plugin": null, "findings": findings })
}
