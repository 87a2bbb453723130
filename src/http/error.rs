//! Every refusal and every fault as an answer: one table, with a stable code for each.

use http::StatusCode;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use super::reply::{Freshness, Reply};
use super::route::RouteError;
use crate::registry::{Fault, Refusal, RegistryError};
use crate::staging::SourceError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum ApiError {
    Route(RouteError),
    /// No credential; the header says how to get one.
    Unauthorized {
        challenge: String,
        message: &'static str,
    },
    Denied,
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
    NotReady(String),
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

/// A line of the table.
struct Row {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
}

fn row(status: StatusCode, code: &'static str, message: impl ToString) -> Row {
    Row { status, code, message: message.to_string(), detail: Value::Null }
}

impl ApiError {
    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Route(error) => route_row(error),
            Self::Unauthorized { message, .. } => row(S::UNAUTHORIZED, "UNAUTHORIZED", message),
            Self::Denied => row(S::FORBIDDEN, "DENIED", "this credential does not allow that here"),
            Self::ReadOnly => row(S::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this server is read-only"),
            Self::BlobUnknown => row(S::NOT_FOUND, "BLOB_UNKNOWN", "no such blob here"),
            Self::ManifestUnknown => row(S::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest here"),
            Self::NameUnknown => row(S::NOT_FOUND, "NAME_UNKNOWN", "no such repository"),
            Self::ManifestTooLarge => {
                row(S::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "a manifest may have at most 4 MiB")
            }
            Self::LengthMismatch => row(
                S::BAD_REQUEST,
                "SIZE_INVALID",
                "Content-Length is not the length that Content-Range announces",
            ),
            Self::BadHeader { name, reason } => {
                row(S::BAD_REQUEST, "UNSUPPORTED", format!("the header {name} {reason}"))
            }
            Self::RangeNotSatisfiable { size } => {
                let message = format!("the range is outside of the {size} bytes");
                row(S::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", message)
            }
            Self::Refused(refusal) => refusal_row(refusal),
            Self::Broken(_) => row(S::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "something is broken here"),
            Self::NotReady(reason) => row(S::SERVICE_UNAVAILABLE, "UNAVAILABLE", reason),
        }
    }

    /// The answer, in the body format of the distribution specification.
    pub fn reply(&self, request_id: &str) -> Reply {
        let Row { status, code, message, mut detail } = self.row();
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
        match self {
            Self::Unauthorized { challenge, .. } => reply.header("www-authenticate", challenge),
            Self::Route(RouteError::Method { allow }) => reply.header(ALLOW, *allow),
            Self::ReadOnly => reply.header(ALLOW, "GET, HEAD"),
            Self::RangeNotSatisfiable { size } => reply.header("content-range", format!("bytes */{size}")),
            Self::Refused(Refusal::UploadBusy) | Self::NotReady(_) => reply.header(RETRY_AFTER, "1"),
            _ => {}
        }
        reply
    }

    /// What the operator should read about it, if anything.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Broken(fault) => Some(fault),
            _ => None,
        }
    }
}

fn route_row(error: &RouteError) -> Row {
    use StatusCode as S;
    match error {
        RouteError::NotFound => row(S::NOT_FOUND, "NAME_UNKNOWN", "there is nothing at this path"),
        RouteError::Method { allow } => {
            row(S::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("this path takes {allow}"))
        }
        RouteError::UriTooLong => row(S::URI_TOO_LONG, "UNSUPPORTED", "path and query are too long"),
        RouteError::Path(reason) => row(S::BAD_REQUEST, "NAME_INVALID", reason),
        RouteError::Name(error) => row(S::BAD_REQUEST, "NAME_INVALID", error),
        RouteError::Digest(error) => row(S::BAD_REQUEST, "DIGEST_INVALID", error),
        // A tag that cannot exist does not exist when it is asked for; pushing to it is a mistake. Both
        // are told as what they are.
        RouteError::Tag(error) => row(S::BAD_REQUEST, "MANIFEST_INVALID", error),
        RouteError::UploadUnknown => row(S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload session"),
        RouteError::TooManyTags => row(S::URI_TOO_LONG, "UNSUPPORTED", "too many tag parameters"),
        RouteError::Query { name, reason } => {
            row(S::BAD_REQUEST, "UNSUPPORTED", format!("the parameter {name} {reason}"))
        }
    }
}

fn refusal_row(refusal: &Refusal) -> Row {
    use StatusCode as S;
    let (status, code) = match refusal {
        Refusal::DigestMismatch { .. } => (S::BAD_REQUEST, "DIGEST_INVALID"),
        Refusal::BlobTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
        Refusal::UploadUnknown => (S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        Refusal::UploadBusy => (S::CONFLICT, "BLOB_UPLOAD_INVALID"),
        Refusal::ChunkOutOfOrder { .. } => (S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        Refusal::ChunkLength { .. } => (S::BAD_REQUEST, "SIZE_INVALID"),
        Refusal::Body(SourceError::Stalled) => (S::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
        Refusal::Body(SourceError::Broken) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        Refusal::Manifest(_) => (S::BAD_REQUEST, "MANIFEST_INVALID"),
        Refusal::ManifestReferences(_) => (S::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
        Refusal::DescriptorSize { .. } => (S::BAD_REQUEST, "SIZE_INVALID"),
    };
    let mut row = row(status, code, refusal);
    row.detail = match refusal {
        Refusal::ManifestReferences(digests) => {
            let shown: Vec<String> = digests.iter().take(100).map(ToString::to_string).collect();
            json!({ "digests": shown })
        }
        Refusal::DigestMismatch { computed } => json!({ "computed": computed.to_string() }),
        Refusal::ChunkOutOfOrder { offset } => json!({ "offset": offset }),
        _ => Value::Null,
    };
    row
}
