//! The paths below `/v2/`.

use http::Method;
use uuid::Uuid;

use super::super::query::{HistoryQuery, Query};
use super::{ReferrersQuery, Route, RouteError, is_read, read_only};
use crate::digest::DigestError;
use crate::name::{ReferenceError, RepositoryName};

/// Splits `<name>/<rest>` from the right, as a name may hold the words of the routes.
pub(super) fn parse(method: &Method, segments: &[&str], query: &Query<'_>) -> Result<Route, RouteError> {
    match segments {
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            if method != Method::POST {
                return Err(RouteError::Method { allow: "POST" });
            }
            Ok(Route::StartUpload { repository: repository(name)?, start: query.upload_start()? })
        }
        [name @ .., "blobs", "uploads", id] => upload(method, repository(name)?, id, query),
        [name @ .., "blobs", digest] => {
            let repository = repository(name)?;
            let digest = digest.parse().map_err(RouteError::Digest)?;
            match method {
                &Method::DELETE => Ok(Route::DeleteBlob { repository, digest }),
                method if is_read(method) => Ok(Route::GetBlob { repository, digest }),
                _ => Err(RouteError::Method { allow: "GET, HEAD, DELETE" }),
            }
        }
        [name @ .., "manifests", reference] => manifest(method, repository(name)?, reference, query),
        [name @ .., "tags", "list"] => {
            let route = Route::ListTags { repository: repository(name)?, query: query.list()? };
            read_only(method, route)
        }
        // No component of a name begins with an underscore, so this is never part of one.
        [name @ .., "_quire", "tags", tag, "history"] => {
            let tag = tag.parse().map_err(RouteError::Tag)?;
            let query = HistoryQuery { limit: query.limit()?, before: query.number("before")? };
            read_only(method, Route::TagHistory { repository: repository(name)?, tag, query })
        }
        [name @ .., "referrers", subject] => {
            let repository = repository(name)?;
            let query = ReferrersQuery {
                subject: subject.parse().map_err(RouteError::Digest)?,
                artifact_type: query.single("artifactType")?,
                after: query.sha256("after")?,
            };
            read_only(method, Route::ListReferrers { repository, query })
        }
        _ => Err(RouteError::NotFound),
    }
}

fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    segments.join("/").parse().map_err(RouteError::Name)
}

fn manifest(
    method: &Method,
    repository: RepositoryName,
    reference: &str,
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    let reference = reference.parse().map_err(|error| match error {
        ReferenceError::Digest(error) => RouteError::Digest(error),
        ReferenceError::Tag(error) => RouteError::Tag(error),
    })?;
    match method {
        &Method::PUT => Ok(Route::PutManifest { repository, reference, tags: query.tags()? }),
        &Method::DELETE => Ok(Route::DeleteManifest { repository, reference }),
        method if is_read(method) => Ok(Route::GetManifest { repository, reference }),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

fn upload(
    method: &Method,
    repository: RepositoryName,
    id: &str,
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    let id = Uuid::try_parse(id).map_err(|_| RouteError::UploadUnknown)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Route::GetUpload { repository, id }),
        Method::PATCH => Ok(Route::AppendUpload { repository, id }),
        Method::DELETE => Ok(Route::CancelUpload { repository, id }),
        Method::PUT => {
            let digest = query.digest("digest")?;
            let digest = digest.ok_or(RouteError::Digest(DigestError::Shape))?;
            Ok(Route::FinishUpload { repository, id, digest })
        }
        _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, PUT, DELETE" }),
    }
}
