//! Blobs and immutable URLs.

use http::StatusCode;

use super::delivery::{Conditions, deliver};
use super::error::ApiError;
use super::reply::{Audience, Freshness, Reply};
use crate::access::{Caller, Requester};
use crate::digest::{Digest, Sha256};
use crate::name::RepositoryName;
use crate::registry::Registry;

/// Stored bytes are never served as anything that a browser would show.
const OCTETS: &str = "application/octet-stream";

pub async fn get(
    registry: &Registry,
    conditions: &Conditions<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Reply, ApiError> {
    let found = registry.blob(repository, digest).await?.ok_or(ApiError::BlobUnknown)?;
    let audience = Audience::of(registry.policy().is_public(repository));
    deliver(conditions, &found, OCTETS, Freshness::ByDigest(audience), registry.content(&found)).await
}

/// `/blobs/sha256/<hex>`: through whichever repository the caller may read. `None`: through none.
pub async fn get_immutable(
    registry: &Registry,
    conditions: &Conditions<'_>,
    caller: &Caller,
    sha256: &Sha256,
) -> Result<Option<Reply>, ApiError> {
    let Some(immutable) = registry.immutable(caller, sha256).await? else { return Ok(None) };
    let freshness = Freshness::ByDigest(Audience::of(immutable.public));
    let load = registry.content(&immutable.found);
    deliver(conditions, &immutable.found, OCTETS, freshness, load).await.map(Some)
}

pub async fn delete(
    registry: &Registry,
    requester: &Requester,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Reply, ApiError> {
    match registry.delete_blob(requester, repository, digest).await? {
        true => Ok(Reply::empty(StatusCode::ACCEPTED, Freshness::Write)),
        false => Err(ApiError::BlobUnknown),
    }
}
