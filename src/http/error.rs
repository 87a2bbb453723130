//! Every refusal and every fault as an answer: one table, with a stable code for each.

use std::fmt;

use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::problem::{self, Finding, Row};
use super::query::QueryError;
use super::reply::{Freshness, Reply};
use super::route::RouteError;
use crate::access::Rule;
use crate::digest::Digest;
use crate::meta::{CatalogRefusal, TagRefusal};
use crate::registry::{Fault, Refusal, RegistryError};
use crate::staging::SourceError;
use crate::token::TokenError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum ApiError {
    Route(RouteError),
    /// No credential; the header says how to get one.
    Unauthorized {
        challenge: String,
        message: &'static str,
    },
    Denied(Rule),
    /// More requests than this caller or address may make.
    TooManyRequests {
        retry_after: u64,
    },
    ReadOnly,
    BlobUnknown,
    ManifestUnknown,
    NameUnknown,
    ManifestTooLarge,
    LengthMismatch,
    BadHeader {
        name: &'static str,
        reason: &'static str,
    },
    RangeNotSatisfiable {
        size: u64,
    },
    Refused(Refusal),
    Broken(Fault),
    /// A short token could not be signed.
    Unsigned(TokenError),
    /// The request ended in a panic.
    Panicked(String),
    NotReady(&'static str),
    /// This node has not seen the sequence that the read has to be behind.
    NotSeenYet,
    /// The body of a request below `/api/` does not say what it has to; everything at once.
    Invalid(Vec<Finding>),
    BodyTooLarge {
        limit: usize,
    },
    /// Nothing of this kind and name, for a caller who may know.
    Unknown(&'static str),
    /// The state of things does not allow it.
    Conflict {
        code: &'static str,
        message: String,
    },
    /// Some of several tags stood in the way of all.
    TagsRefused(Vec<Finding>),
}

/// In which form a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The body of the distribution specification.
    Distribution,
    /// RFC 9457, below `/api/`.
    Problem,
}

impl Dialect {
    pub fn of(path: &str) -> Self {
        if path.starts_with("/api/") { Self::Problem } else { Self::Distribution }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => Self::Refused(refusal),
            RegistryError::Broken(fault) => Self::Broken(fault),
        }
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        Self::Route(error)
    }
}

/// Longest message: what a client sent may be quoted in it.
const MESSAGE_LIMIT: usize = 500;
/// Most findings that a refusal lists.
const LISTED_FINDINGS: usize = 1000;
/// Most digests that a refusal lists.
const LISTED_DIGESTS: usize = 100;

fn row(status: StatusCode, code: &'static str, message: impl ToString) -> Row {
    Row { status, code, rule: None, message: message.to_string(), detail: Value::Null, header: None }
}

impl Row {
    /// Names the rule that refuses, for those who read codes of problems, and for the audit log.
    fn rule(self, rule: &'static str) -> Self {
        Self { rule: Some(rule), ..self }
    }

    fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    fn header(self, name: HeaderName, value: impl ToString) -> Self {
        Self { header: Some((name, value.to_string())), ..self }
    }
}

impl ApiError {
    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Route(error) => route_row(error),
            Self::Unauthorized { message, challenge } => {
                row(S::UNAUTHORIZED, "UNAUTHORIZED", message).header(WWW_AUTHENTICATE, challenge)
            }
            Self::Denied(rule) => {
                let denied = row(S::FORBIDDEN, "DENIED", "this credential does not allow that here");
                denied.rule(rule.code()).detail(json!({ "rule": rule.code() }))
            }
            Self::TooManyRequests { retry_after } => {
                row(S::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests; come back later")
                    .rule("too_many_requests")
                    .header(RETRY_AFTER, retry_after)
            }
            Self::ReadOnly => row(S::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this server is read-only")
                .header(ALLOW, "GET, HEAD"),
            Self::BlobUnknown => row(S::NOT_FOUND, "BLOB_UNKNOWN", "no such blob here"),
            Self::ManifestUnknown => row(S::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest here"),
            Self::NameUnknown => row(S::NOT_FOUND, "NAME_UNKNOWN", "no such repository"),
            Self::ManifestTooLarge => {
                row(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "a manifest may have at most 4 MiB")
            }
            Self::LengthMismatch => {
                let message = "Content-Length is not the length that Content-Range announces";
                row(S::BAD_REQUEST, "SIZE_INVALID", message)
            }
            Self::BadHeader { name, reason } => {
                row(S::BAD_REQUEST, "UNSUPPORTED", format!("the header {name} {reason}"))
            }
            Self::RangeNotSatisfiable { size } => {
                let message = format!("the range is outside of the {size} bytes");
                row(S::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", message)
                    .header(CONTENT_RANGE, format!("bytes */{size}"))
            }
            Self::Refused(refusal) => refusal_row(refusal),
            Self::Broken(fault) if fault.is_passing() => row(
                S::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "a part of this server does not answer; come back soon",
            )
            .header(RETRY_AFTER, 1),
            Self::Broken(_) | Self::Unsigned(_) | Self::Panicked(_) => {
                row(S::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "something is broken here")
            }
            Self::NotReady(reason) => {
                row(S::SERVICE_UNAVAILABLE, "UNAVAILABLE", reason).header(RETRY_AFTER, 1)
            }
            Self::NotSeenYet => {
                let message = "this server has not seen that sequence of the catalog yet";
                row(S::SERVICE_UNAVAILABLE, "NOT_SEEN_YET", message)
                    .rule("not_seen_yet")
                    .header(RETRY_AFTER, 1)
            }
            Self::Invalid(_) => {
                let message = "the request does not say what it has to; errors has every finding";
                row(S::BAD_REQUEST, "UNSUPPORTED", message).rule("invalid")
            }
            Self::BodyTooLarge { limit } => {
                row(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID", format!("the body may have at most {limit} bytes"))
                    .rule("body_too_large")
            }
            Self::Unknown(kind) => {
                row(S::NOT_FOUND, "NAME_UNKNOWN", format!("there is no such {kind}")).rule("not_found")
            }
            Self::Conflict { code, message } => row(S::CONFLICT, "DENIED", message).rule(code),
            Self::TagsRefused(findings) => tags_row(findings),
        }
    }

    /// The code that the audit log tells of a refused write. `None`: no rule refused it. What was malformed, or
    /// about something that is not there, is no more than a line in the server's log.
    pub fn audited(&self) -> Option<String> {
        use StatusCode as S;
        if let Self::Refused(Refusal::UploadBusy) = self {
            return None;
        }
        let row = self.row();
        let by_rule = [S::FORBIDDEN, S::CONFLICT, S::PRECONDITION_FAILED, S::PAYLOAD_TOO_LARGE];
        by_rule.contains(&row.status).then(|| row.problem_code())
    }

    /// The answer.
    pub fn reply(&self, request_id: &str, dialect: Dialect) -> Reply {
        let mut row = self.row();
        row.message = row.message.chars().take(MESSAGE_LIMIT).collect();
        match (dialect, self) {
            (Dialect::Distribution, _) => row.reply(request_id),
            (Dialect::Problem, Self::Refused(Refusal::Package(findings))) => {
                problem::reply_about_package(row, findings, request_id)
            }
            (Dialect::Problem, Self::Refused(Refusal::VersionTaken { .. } | Refusal::Tag { .. })) => {
                row.status = StatusCode::CONFLICT;
                row.rule = match row.rule {
                    Some("version_immutable") => Some("version_taken"),
                    rule => rule,
                };
                problem::reply(row, &[], request_id)
            }
            (Dialect::Problem, Self::Invalid(findings) | Self::TagsRefused(findings)) => {
                problem::reply(row, findings, request_id)
            }
            (Dialect::Problem, _) => problem::reply(row, &[], request_id),
        }
    }

    /// What the operator should read about it, if anything.
    pub fn fault(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::Broken(fault) => Some(fault),
            Self::Unsigned(error) => Some(error),
            Self::Panicked(error) => Some(error),
            Self::Route(_)
            | Self::Unauthorized { .. }
            | Self::Denied(_)
            | Self::TooManyRequests { .. }
            | Self::ReadOnly
            | Self::BlobUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::ManifestTooLarge
            | Self::LengthMismatch
            | Self::BadHeader { .. }
            | Self::RangeNotSatisfiable { .. }
            | Self::Refused(_)
            | Self::NotReady(_)
            | Self::NotSeenYet
            | Self::Invalid(_)
            | Self::BodyTooLarge { .. }
            | Self::Unknown(_)
            | Self::Conflict { .. }
            | Self::TagsRefused(_) => None,
        }
    }
}

impl Row {
    /// The answer in the body format of the distribution specification.
    fn reply(self, request_id: &str) -> Reply {
        let Self { status, code, message, mut detail, header, rule: _ } = self;
        if status.is_server_error() {
            detail = json!({ "requestId": request_id });
        }
        let mut error = json!({ "code": code, "message": message });
        if !detail.is_null() {
            error["detail"] = detail;
        }
        let body = json!({ "errors": [error] }).to_string();
        let mut reply = Reply::bytes(status, body.into(), Freshness::Error);
        reply.header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = header {
            reply.header(name, value);
        }
        reply
    }
}

/// The status of several tags is that of the first that stood in the way; its code is one of `api/tags.rs`.
fn tags_row(findings: &[Finding]) -> Row {
    use StatusCode as S;
    let (status, code) = match findings.first().map(|finding| finding.code) {
        Some("manifest_unknown") => (S::NOT_FOUND, "manifest_unknown"),
        Some("tag_moved") => (S::PRECONDITION_FAILED, "tag_moved"),
        Some(code) => (S::CONFLICT, code),
        None => (S::CONFLICT, "tag_moved"),
    };
    row(status, "DENIED", "no tag was written; errors has every one that stood in the way").rule(code)
}

fn route_row(error: &RouteError) -> Row {
    use StatusCode as S;
    match error {
        RouteError::NotFound => row(S::NOT_FOUND, "NAME_UNKNOWN", "there is nothing at this path"),
        RouteError::Method { allow } => {
            row(S::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("this path takes {allow}")).header(ALLOW, allow)
        }
        RouteError::UriTooLong => row(S::URI_TOO_LONG, "UNSUPPORTED", "path and query are too long"),
        RouteError::Path(reason) => row(S::BAD_REQUEST, "NAME_INVALID", reason),
        RouteError::Name(error) => row(S::BAD_REQUEST, "NAME_INVALID", error),
        RouteError::Digest(error) => row(S::BAD_REQUEST, "DIGEST_INVALID", error),
        // The protocol has no code for a tag by itself.
        RouteError::Tag(error) => row(S::BAD_REQUEST, "MANIFEST_INVALID", error),
        RouteError::UploadUnknown => row(S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload session"),
        RouteError::Query(error) => query_row(error),
    }
}

fn query_row(error: &QueryError) -> Row {
    use StatusCode as S;
    match error {
        QueryError::Digest(error) => row(S::BAD_REQUEST, "DIGEST_INVALID", error),
        QueryError::Tag(error) => row(S::BAD_REQUEST, "MANIFEST_INVALID", error),
        QueryError::TooManyTags => row(S::URI_TOO_LONG, "UNSUPPORTED", "too many tag parameters"),
        QueryError::Parameter { name, reason } => {
            row(S::BAD_REQUEST, "UNSUPPORTED", format!("the parameter {name} {reason}"))
        }
    }
}

fn refusal_row(refusal: &Refusal) -> Row {
    use StatusCode as S;
    let told = |status, code| row(status, code, refusal);
    match refusal {
        Refusal::DigestMismatch { computed } => {
            told(S::BAD_REQUEST, "DIGEST_INVALID").detail(json!({ "computed": computed.to_string() }))
        }
        Refusal::BlobTooLarge { .. } => told(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
        Refusal::UploadUnknown | Refusal::UploadElsewhere(_) => told(S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        Refusal::UploadBusy => told(S::CONFLICT, "BLOB_UPLOAD_INVALID").header(RETRY_AFTER, 1),
        Refusal::ChunkOutOfOrder { offset } => {
            told(S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").detail(json!({ "offset": offset }))
        }
        Refusal::ChunkLength { .. } => told(S::BAD_REQUEST, "SIZE_INVALID"),
        Refusal::Body(SourceError::Stalled) => told(S::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
        Refusal::Body(SourceError::Broken) => told(S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        Refusal::Manifest(_) => told(S::BAD_REQUEST, "MANIFEST_INVALID"),
        Refusal::ManifestReferences(digests) => {
            let listed: Vec<String> = digests.iter().take(LISTED_DIGESTS).map(ToString::to_string).collect();
            told(S::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN").detail(json!({ "digests": listed }))
        }
        Refusal::DescriptorSize { .. } => told(S::BAD_REQUEST, "SIZE_INVALID"),
        Refusal::Tag { tag, refusal: TagRefusal::Moved { now } } => {
            let now = now.map(|now| now.to_string());
            let told = told(S::PRECONDITION_FAILED, "DENIED").rule("tag_moved");
            let told = told.detail(json!({ "tag": tag.as_str(), "digest": now }));
            match now {
                Some(now) => told.header(ETAG, format!("\"{now}\"")),
                None => told,
            }
        }
        Refusal::Tag { tag, refusal: TagRefusal::Kept { rule, now } } => {
            let detail = json!({ "rule": rule.code(), "tag": tag.as_str(), "digest": now.to_string() });
            told(S::FORBIDDEN, "DENIED").rule(rule.code()).detail(detail)
        }
        Refusal::Tag { tag, refusal } => {
            let detail = json!({ "rule": refusal.code(), "tag": tag.as_str() });
            told(S::FORBIDDEN, "DENIED").rule(refusal.code()).detail(detail)
        }
        Refusal::Denied(rule) => ApiError::Denied(*rule).row(),
        Refusal::PackageTooLarge { .. } => {
            told(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID").rule("package_too_large")
        }
        Refusal::Package(findings) => {
            let listed = &findings[..findings.len().min(LISTED_FINDINGS)];
            let told = told(S::BAD_REQUEST, "MANIFEST_INVALID").rule("package_invalid");
            told.detail(json!({ "findings": listed }))
        }
        Refusal::VersionTaken { version, package, manifest, ours } => {
            let detail = json!({
                "rule": "version_immutable",
                "tag": version.as_str(),
                "digest": Digest::from(*manifest).to_string(),
                "package": Digest::from(*package).to_string(),
                "refused": Digest::from(*ours).to_string(),
            });
            told(S::FORBIDDEN, "DENIED").rule("version_immutable").detail(detail)
        }
        Refusal::Withdrawn => told(S::CONFLICT, "DENIED").rule("version_withdrawn"),
        Refusal::Blocked { digest, reason } => {
            let digest = Digest::from(*digest).to_string();
            let detail = json!({ "rule": "blocked", "digest": digest, "reason": reason });
            told(S::FORBIDDEN, "DENIED").rule("blocked").detail(detail)
        }
        Refusal::Catalog(CatalogRefusal::Unknown) => ApiError::Denied(Rule::NotAMember).row(),
        Refusal::Catalog(CatalogRefusal::Bytes { limit }) => {
            let detail = json!({ "rule": "quota_bytes", "limit": limit });
            told(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID").rule("quota_bytes").detail(detail)
        }
        Refusal::Catalog(CatalogRefusal::Repositories { limit }) => {
            let detail = json!({ "rule": "quota_repositories", "limit": limit });
            told(S::FORBIDDEN, "DENIED").rule("quota_repositories").detail(detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobError;
    use crate::meta::MetaError;
    use std::sync::Arc;

    /// P10: who may come back is told so, who need not is not, and neither learns what is broken.
    #[test]
    fn p10_what_passes_is_told_apart_from_what_is_broken() {
        let shared = Fault::Shared(Arc::new(BlobError::Unavailable("bucket".into()).into()));
        for passing in [MetaError::Unavailable("10.0.0.7".into()).into(), shared] {
            let row = ApiError::Broken(passing).row();
            assert_eq!((row.status, row.code), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
            assert_eq!(row.header, Some((RETRY_AFTER, "1".to_owned())));
            assert!(!row.message.contains("10.0.0.7"));
        }
        let row = ApiError::Broken(MetaError::Broken("a row".into()).into()).row();
        assert_eq!((row.status, row.code), (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"));
    }
}
