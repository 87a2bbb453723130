//! Why a registry could not be asked, or did not do what it was asked for.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::ConfigError;

/// Why there is no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(transparent)]
    Problem(Box<Problem>),
    /// No connection, no answer in time, or an answer that broke off.
    #[error("{url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// What answers there does not speak as a registry of ours does.
    #[error("{url}: {reason}")]
    Unexpected { url: String, reason: String },
    #[error("a registry is named as http(s)://host[:port], without user, password and path")]
    Url,
    #[error("{path}: {reason}")]
    AuthFile { path: PathBuf, reason: String },
    #[error("{program}: {reason}")]
    Helper { program: String, reason: String },
    #[error("no place for a login is known: set HOME, DOCKER_CONFIG or REGISTRY_AUTH_FILE")]
    NoAuthFile,
    #[error("the credential holds characters that no token has")]
    Credential,
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ClientError {
    /// A word for programs that read the message.
    pub fn code(&self) -> &str {
        match self {
            Self::Problem(problem) => &problem.code,
            Self::Unreachable { .. } => "unreachable",
            Self::Unexpected { .. } => "unexpected_answer",
            Self::Url => "url",
            Self::AuthFile { .. } | Self::NoAuthFile => "auth_file",
            Self::Helper { .. } => "credential_helper",
            Self::Credential => "credential",
            Self::Config(_) => "config",
        }
    }
}

/// A refusal of the registry (RFC 9457).
#[derive(Debug)]
pub struct Problem {
    pub status: u16,
    pub code: String,
    pub detail: String,
    /// What is wrong with which part of the request: a JSON pointer if there is one, and words.
    pub parts: Vec<(Option<String>, String)>,
    /// The document as it came, or one of the same shape.
    pub document: Value,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[derive(Deserialize)]
struct Document {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    detail: String,
    pointer: Option<String>,
}

impl Problem {
    /// Reads the body of a refusal. Something between us and the registry may have answered in its place, so
    /// a body that is no problem document is a problem without words.
    pub(super) fn of(status: reqwest::StatusCode, body: &[u8]) -> Self {
        let document: Option<Value> = serde_json::from_slice(body).ok();
        let read = document.and_then(|document| {
            let known = Document::deserialize(&document).ok()?;
            Some((known, document))
        });
        let (known, document) = read.unwrap_or_else(|| {
            let code = format!("http_{}", status.as_u16());
            let detail = format!("the server answered {status} and did not say why");
            let document = json!({ "type": "about:blank", "title": status.canonical_reason(),
                "status": status.as_u16(), "code": code, "detail": detail });
            (Document { code, detail, errors: Vec::new() }, document)
        });
        Self {
            status: status.as_u16(),
            code: known.code,
            detail: known.detail,
            parts: known.errors.into_iter().map(|part| (part.pointer, part.detail)).collect(),
            document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_is_kept_whole() {
        let body = json!({ "type": "about:blank", "title": "Bad Request", "status": 400, "code": "invalid",
            "detail": "2 parts are wrong", "requestId": "r",
            "errors": [{ "code": "id", "detail": "too long", "pointer": "/id" }, { "code": "x", "detail": "y" }] });
        let problem = Problem::of(reqwest::StatusCode::BAD_REQUEST, body.to_string().as_bytes());
        assert_eq!((problem.status, problem.code.as_str()), (400, "invalid"));
        assert_eq!(problem.parts, [(Some("/id".into()), "too long".into()), (None, "y".into())]);
        assert_eq!(problem.document, body);
    }

    #[test]
    fn other_refusals_have_the_same_shape() {
        for body in ["", "<html>", "{}", "[]", r#"{"code": 7}"#, r#"{"errors":[{"code":"DENIED"}]}"#] {
            let problem = Problem::of(reqwest::StatusCode::BAD_GATEWAY, body.as_bytes());
            assert_eq!(problem.code, "http_502");
            assert_eq!(problem.document["code"], "http_502");
            assert_eq!(problem.document["status"], 502);
        }
    }
}
