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
    /// What is to be sent could not be read.
    #[error("the package could not be read: {0}")]
    Source(std::io::Error),
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
            Self::Source(_) => "io",
            Self::Config(_) => "config",
        }
    }
}

/// A refusal of the registry (RFC 9457), or one that `/v2` words in its own way.
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
    /// What `/v2` says beside the words of its first error.
    pub fn more(&self) -> &Value {
        &self.document["errors"][0]["more"]
    }

    /// A version is there with another manifest than the one that it was to get.
    pub(super) fn version_taken(reference: &str, there: &str, ours: &str) -> Self {
        let detail = format!(
            "{reference} is there with other bytes: its manifest is {there}, that of this file is {ours}; \
             a version never changes, so give this one another"
        );
        let code = "version_immutable".to_owned();
        let document = json!({ "type": "about:blank", "title": "Forbidden", "status": 403, "code": code,
            "detail": detail, "digest": there, "pushed": ours });
        Self { status: 403, code, detail, parts: Vec::new(), document }
    }

    /// A version has no file of this name in its list.
    pub(super) fn file_unknown(path: &str) -> Self {
        let (code, detail) = ("not_found".to_owned(), format!("this version has no file {path:?}"));
        let document = json!({ "type": "about:blank", "title": "Not Found", "status": 404, "code": code,
            "detail": detail });
        Self { status: 404, code, detail, parts: Vec::new(), document }
    }

    /// Reads the body of a refusal. Something between us and the registry may have answered in its place, so
    /// a body that is no problem document is a problem without words.
    pub(super) fn of(status: reqwest::StatusCode, body: &[u8]) -> Self {
        let document: Option<Value> = serde_json::from_slice(body).ok();
        let document = document.map(|document| of_distribution(status, &document).unwrap_or(document));
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

/// The first error of the distribution specification's form as a problem document. The rule says more than the code, and is
/// what the code would be below `/api`. All errors stay as they came, below `errors`, with their message as `detail`.
fn of_distribution(status: reqwest::StatusCode, document: &Value) -> Option<Value> {
    let errors = document.get("errors").filter(|_| document.get("code").is_none())?.as_array()?;
    let first = errors.first()?;
    let (code, message) = (first.get("code")?.as_str()?, first.get("message")?.as_str()?);
    let code = first.pointer("/detail/rule").and_then(Value::as_str).unwrap_or(code);
    let part = |error: &Value| {
        let mut part =
            json!({ "code": error["code"], "detail": error["message"].as_str().unwrap_or_default() });
        if !error["detail"].is_null() {
            part["more"] = error["detail"].clone();
        }
        part
    };
    let errors: Vec<Value> = errors.iter().map(part).collect();
    Some(json!({ "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "code": code, "detail": message, "errors": errors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_distribution_protocol_becomes_a_problem() {
        let body = json!({ "errors": [
            { "code": "DENIED", "message": "it stays", "detail": { "rule": "version_immutable", "tag": "1.0" } },
            { "code": "OTHER", "message": "and more" },
        ] });
        let problem = Problem::of(reqwest::StatusCode::FORBIDDEN, body.to_string().as_bytes());
        assert_eq!((problem.status, problem.code.as_str()), (403, "version_immutable"));
        assert_eq!(problem.detail, "it stays");
        assert_eq!(problem.parts, [(None, "it stays".into()), (None, "and more".into())]);
        assert_eq!(problem.document["errors"][0]["more"]["tag"], "1.0");
        let body = json!({ "errors": [{ "code": "UNKNOWN", "message": "x" }] });
        let problem = Problem::of(reqwest::StatusCode::NOT_FOUND, body.to_string().as_bytes());
        assert_eq!((problem.code.as_str(), &problem.document["title"]), ("UNKNOWN", &json!("Not Found")));
    }

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
