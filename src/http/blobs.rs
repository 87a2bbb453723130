//! Blobs and immutable URLs.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION, VARY};

use super::delivery::{CONTENT_DIGEST, Conditions, deliver};
use super::error::ApiError;
use super::reply::{Audience, Freshness, Reply};
use crate::access::{Caller, Requester};
use crate::digest::{Digest, Sha256};
use crate::name::RepositoryName;
use crate::registry::{Elsewhere, Found, Registry};

/// Stored bytes are never served as anything that a browser would show.
const OCTETS: &str = "application/octet-stream";
/// With the value 1: the bytes come from here.
const NO_REDIRECT: &str = "quire-no-redirect";

pub async fn get(
    registry: &Registry,
    conditions: &Conditions<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Reply, ApiError> {
    let found = registry.blob(repository, digest).await?.ok_or(ApiError::BlobUnknown)?;
    let audience = Audience::of(registry.policy().is_public(repository));
    if registry.redirects() {
        // Boxed: where nobody is sent away, a pull does not carry the room for it.
        return Box::pin(get_here_or_there(registry, conditions, &found, audience)).await;
    }
    deliver(conditions, &found, OCTETS, Freshness::ByDigest(audience), registry.content(&found)).await
}

async fn get_here_or_there(
    registry: &Registry,
    conditions: &Conditions<'_>,
    found: &Found,
    audience: Audience,
) -> Result<Reply, ApiError> {
    let mut reply = match away(registry, conditions, found, audience).await {
        Some(reply) => reply,
        None => {
            let freshness = Freshness::ByDigest(audience);
            deliver(conditions, found, OCTETS, freshness, registry.content(found)).await?
        }
    };
    reply.header(VARY, HeaderValue::from_static(NO_REDIRECT));
    Ok(reply)
}

/// The way to where the bytes are as well. A HEAD has none, as its signature would be that of a GET; and who has the
/// bytes already, or wants them from here, stays here.
async fn away(
    registry: &Registry,
    conditions: &Conditions<'_>,
    found: &Found,
    audience: Audience,
) -> Option<Reply> {
    let digest = found.digest.to_string();
    let stays = conditions.head
        || conditions.headers.get(NO_REDIRECT).is_some_and(|value| value == "1")
        || conditions.has(&["\"", &digest, "\""].concat());
    if stays {
        return None;
    }
    let Elsewhere { url, life } = registry.elsewhere(found).await?;
    let freshness = Freshness::Redirect(audience, life.as_secs());
    let mut reply = Reply::empty(StatusCode::TEMPORARY_REDIRECT, freshness);
    reply.header(LOCATION, HeaderValue::try_from(url).ok()?);
    reply.header(&CONTENT_DIGEST, digest);
    Some(reply)
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
