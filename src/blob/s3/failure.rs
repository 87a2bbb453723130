//! What goes wrong with a call, in the kinds that callers decide by.

use std::error::Error;
use std::fmt::Write;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::counters::{Operation, Outcome};
use crate::blob::BlobError;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such object (or upload).
    Absent,
    /// A condition did not hold, or somebody else writes the same object right now.
    Conflict,
    /// The server does not know what it was asked for, such as a condition or a checksum.
    Unsupported(String),
    /// No answer, or one that says to come again.
    Unavailable(String),
    /// Not sent: the breaker is open.
    NotSent,
    /// The credentials are wrong, or may not do this.
    Denied(String),
    NoBucket(String),
    /// Anything else; to try again does not help.
    Other(String),
}

impl Failure {
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Absent => Outcome::Absent,
            Self::Conflict => Outcome::Conflict,
            Self::Unavailable(_) => Outcome::Unavailable,
            Self::NotSent => Outcome::NotSent,
            Self::Denied(_) => Outcome::Denied,
            Self::Unsupported(_) | Self::NoBucket(_) | Self::Other(_) => Outcome::Failed,
        }
    }

    /// Sorts an error of the SDK.
    pub fn of<E>(operation: Operation, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().unwrap_or_default();
        let text = match error {
            SdkError::ServiceError(_) => {
                let message = error.message().unwrap_or("no message");
                format!("{}: {code} {} ({message})", operation.label(), status.unwrap_or_default())
            }
            _ => format!("{}: {}", operation.label(), with_causes(error)),
        };
        match error {
            SdkError::ConstructionFailure(_) => Self::Other(text),
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
                by_status(status.unwrap_or_default(), code, text)
            }
            // Time-outs, connections that were refused or broke, names that were not found, credentials that could not
            // be fetched at this moment.
            _ => Self::Unavailable(text),
        }
    }
}

fn by_status(status: u16, code: &str, text: String) -> Failure {
    match (status, code) {
        (_, "NoSuchBucket") => Failure::NoBucket(text),
        (
            _,
            "AccessDenied"
            | "AllAccessDisabled"
            | "AccountProblem"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired",
        ) => Failure::Denied(text),
        // Said of clocks only after the SDK has tried to go by the server's.
        (
            _,
            "RequestTimeout" | "RequestTimeTooSkewed" | "SlowDown" | "InternalError" | "ServiceUnavailable",
        ) => Failure::Unavailable(text),
        // The wrong region: nothing that other credentials would help with.
        (_, "AuthorizationHeaderMalformed") => Failure::Other(text),
        (404, "" | "NotFound" | "NoSuchKey" | "NoSuchUpload") => Failure::Absent,
        (409 | 412, _) => Failure::Conflict,
        (401 | 403, _) => Failure::Denied(text),
        (501, _) | (400, "NotImplemented" | "InvalidArgument" | "InvalidRequest" | "NotSupported" | "") => {
            Failure::Unsupported(text)
        }
        (408 | 429 | 500.., _) => Failure::Unavailable(text),
        // A success that could not be read to its end.
        (200..300, _) => Failure::Unavailable(text),
        _ => Failure::Other(text),
    }
}

impl From<Failure> for BlobError {
    fn from(failure: Failure) -> Self {
        let text = match failure {
            Failure::Unavailable(text) => return Self::Unavailable(format!("S3 {text}")),
            Failure::NotSent => return Self::Unavailable("S3 did not answer lately".to_owned()),
            Failure::Conflict => {
                return Self::Unavailable("S3: somebody else is writing the same object".to_owned());
            }
            Failure::Absent => "S3: an object went away".to_owned(),
            Failure::Denied(text) => format!("S3 refuses: {text}"),
            Failure::NoBucket(text) => format!("S3 has no such bucket: {text}"),
            Failure::Unsupported(text) | Failure::Other(text) => format!("S3 {text}"),
        };
        Self::Io(io::Error::other(text))
    }
}

/// An error with all that stands behind it: the SDK says only "dispatch failure" by itself.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_code_before_status() {
        let sort = |status, code| by_status(status, code, String::new());
        let text = String::new;
        assert_eq!(sort(404, "NoSuchBucket"), Failure::NoBucket(text()));
        assert_eq!(sort(404, "NoSuchKey"), Failure::Absent);
        assert_eq!(sort(404, ""), Failure::Absent, "an answer to HEAD has no code");
        assert_eq!(sort(412, "PreconditionFailed"), Failure::Conflict);
        assert_eq!(sort(409, "ConditionalRequestConflict"), Failure::Conflict);
        assert_eq!(sort(403, ""), Failure::Denied(text()));
        assert_eq!(sort(400, "ExpiredToken"), Failure::Denied(text()));
        assert_eq!(sort(400, "RequestTimeout"), Failure::Unavailable(text()));
        assert_eq!(sort(503, "SlowDown"), Failure::Unavailable(text()));
        assert_eq!(sort(403, "RequestTimeTooSkewed"), Failure::Unavailable(text()));
        assert_eq!(sort(400, "AuthorizationHeaderMalformed"), Failure::Other(text()));
        assert_eq!(sort(501, "NotImplemented"), Failure::Unsupported(text()));
        assert_eq!(sort(400, "BadDigest"), Failure::Other(text()));
        assert_eq!(sort(301, "PermanentRedirect"), Failure::Other(text()));
    }
}
