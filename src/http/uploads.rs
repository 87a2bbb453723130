//! Upload sessions, and pushes of a whole blob in one request.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use super::error::ApiError;
use super::query::UploadStart;
use super::range;
use super::reply::{Freshness, Reply};
use super::request_body::RequestBody;
use crate::access::Requester;
use crate::digest::{Algorithm, Digest};
use crate::name::RepositoryName;
use crate::registry::{ChunkRange, Refusal, Registry, SessionOf};

pub async fn start(
    registry: &Registry,
    requester: &Requester,
    repository: &RepositoryName,
    start: UploadStart,
    headers: &HeaderMap,
    mut body: RequestBody,
) -> Result<Reply, ApiError> {
    let algorithm = match start {
        UploadStart::Session { algorithm } => algorithm,
        UploadStart::MountFromNowhere => Algorithm::Sha256,
        UploadStart::Mount { digest, from } => {
            if registry.mount(requester, repository, &digest, from.as_ref()).await? {
                return Ok(created(repository, &digest));
            }
            digest.algorithm()
        }
        UploadStart::Whole { digest } => {
            let length = announced_length(registry, headers)?;
            let sha256 = match &digest {
                Digest::Sha256(sha256) => Some(sha256),
                Digest::Sha512(_) => None,
            };
            registry.check_room(repository, length.unwrap_or(0), sha256).await?;
            registry.push_blob(requester, repository, &digest, &mut body).await?;
            return Ok(created(repository, &digest));
        }
    };
    let id = registry.start_upload(requester, repository, algorithm).await?;
    let mut reply = progress(StatusCode::ACCEPTED, repository, id, 0);
    reply.header("docker-upload-uuid", id.to_string());
    Ok(reply)
}

pub async fn get(registry: &Registry, session: &SessionOf<'_>) -> Result<Reply, ApiError> {
    let offset = registry.upload_offset(session).await?;
    Ok(progress(StatusCode::NO_CONTENT, session.repository, session.id, offset))
}

pub async fn append(
    registry: &Registry,
    session: &SessionOf<'_>,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Reply, ApiError> {
    let range = chunk_range(registry, session.repository, headers).await?;
    let offset = registry.append(session, range, body).await?;
    Ok(progress(StatusCode::ACCEPTED, session.repository, session.id, offset))
}

pub async fn finish(
    registry: &Registry,
    session: &SessionOf<'_>,
    digest: &Digest,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Reply, ApiError> {
    let range = chunk_range(registry, session.repository, headers).await?;
    registry.finish_upload(session, range, digest, body).await?;
    Ok(created(session.repository, digest))
}

pub async fn cancel(registry: &Registry, session: &SessionOf<'_>) -> Result<Reply, ApiError> {
    registry.cancel_upload(session).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write))
}

/// Reads Content-Range and Content-Length together, before a byte of the body is taken.
async fn chunk_range(
    registry: &Registry,
    repository: &RepositoryName,
    headers: &HeaderMap,
) -> Result<Option<ChunkRange>, ApiError> {
    let range = match headers.get(CONTENT_RANGE) {
        None => None,
        Some(value) => {
            let parsed = value.to_str().ok().and_then(range::parse_chunk);
            let reason = "is not <first>-<last>";
            Some(parsed.ok_or(ApiError::BadHeader { name: "Content-Range", reason })?)
        }
    };
    let announced = announced_length(registry, headers)?;
    registry.check_room(repository, announced.unwrap_or(0), None).await?;
    match (range, announced) {
        (Some(range), Some(length)) if range.length() != length => Err(ApiError::LengthMismatch),
        _ => Ok(range),
    }
}

/// Refuses what will be too large while nothing has been sent yet.
fn announced_length(registry: &Registry, headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = registry.limits().max_blob_bytes;
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::Refused(Refusal::BlobTooLarge { limit }));
    }
    Ok(announced)
}

fn created(repository: &RepositoryName, digest: &Digest) -> Reply {
    let mut reply = Reply::empty(StatusCode::CREATED, Freshness::Write);
    reply.header(LOCATION, format!("/v2/{repository}/blobs/{digest}"));
    reply.header("docker-content-digest", digest.to_string());
    reply
}

/// Where the session is and how far it has come. With nothing received the range is `0-0`, as clients expect.
fn progress(status: StatusCode, repository: &RepositoryName, id: Uuid, received: u64) -> Reply {
    let mut reply = Reply::empty(status, Freshness::Write);
    reply.header(LOCATION, location(repository, id));
    reply.header(RANGE, format!("0-{}", received.saturating_sub(1)));
    reply
}

fn location(repository: &RepositoryName, id: Uuid) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}
