//! What a refusal tells, and its form below `/api/`: problem bodies (RFC 9457).

use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::reply::{Freshness, Reply};
use crate::package;

/// A line of the table of errors.
pub(super) struct Row {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// The code of a problem, where it says more than the other in small letters.
    pub(super) rule: Option<&'static str>,
    pub(super) message: String,
    pub(super) detail: Value,
    pub(super) header: Option<(HeaderName, String)>,
}

impl Row {
    pub(super) fn problem_code(&self) -> String {
        self.rule.map_or_else(|| self.code.to_ascii_lowercase(), str::to_owned)
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: &'static str,
    pub detail: String,
    /// A JSON pointer into the body of the request.
    pub pointer: Option<String>,
}

impl Finding {
    pub fn new(code: &'static str, pointer: impl ToString, detail: impl ToString) -> Self {
        Self { code, detail: detail.to_string(), pointer: Some(pointer.to_string()) }
    }
}

/// Most findings that are listed.
const FINDINGS: usize = 100;

/// Most findings of a package that are listed.
const PACKAGE_FINDINGS: usize = 1000;

/// Answers with a row of the table of errors.
pub(super) fn reply(row: Row, findings: &[Finding], request_id: &str) -> Reply {
    let errors: Vec<Value> = findings
        .iter()
        .take(FINDINGS)
        .map(|finding| match &finding.pointer {
            Some(pointer) => {
                json!({ "code": finding.code, "detail": finding.detail, "pointer": pointer })
            }
            None => json!({ "code": finding.code, "detail": finding.detail }),
        })
        .collect();
    reply_with(row, errors, request_id)
}

/// Answers to an upload with everything that was found in its package.
pub(super) fn reply_about_package(row: Row, findings: &[package::Finding], request_id: &str) -> Reply {
    let error = |finding: &package::Finding| {
        json!({
            "code": finding.rule,
            "detail": finding.message,
            "rule": finding.rule,
            "path": finding.path,
            "message": finding.message,
            "hint": finding.hint,
            "severity": finding.severity,
        })
    };
    // They are told once, and not as the context, too.
    let row = Row { detail: Value::Null, ..row };
    reply_with(row, findings.iter().take(PACKAGE_FINDINGS).map(error).collect(), request_id)
}

fn reply_with(row: Row, mut errors: Vec<Value>, request_id: &str) -> Reply {
    let code = row.problem_code();
    let Row { status, message, detail, header, .. } = row;
    if errors.is_empty() {
        errors.push(json!({ "code": code, "detail": message }));
    }
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": code,
        "detail": message,
        "errors": errors,
        "requestId": request_id,
    });
    if !status.is_server_error() && !detail.is_null() {
        body["context"] = detail;
    }
    let mut reply = Reply::bytes(status, body.to_string().into(), Freshness::Error);
    reply.header(CONTENT_TYPE, "application/problem+json");
    if let Some((name, value)) = header {
        reply.header(name, value);
    }
    reply
}
