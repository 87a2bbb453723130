//! Manifests by tag and by digest.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};

use super::delivery::{Conditions, deliver};
use super::error::ApiError;
use super::reply::{Audience, Freshness, Reply};
use super::request_body::RequestBody;
use crate::access::Caller;
use crate::blob::{Blob, Content};
use crate::manifest::{ManifestError, SIZE_LIMIT};
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{ManifestPush, Refusal, Registry};

pub async fn get(
    registry: &Registry,
    conditions: &Conditions<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Reply, ApiError> {
    let manifest = registry.manifest(repository, reference).await?.ok_or(ApiError::ManifestUnknown)?;
    let audience = Audience::of(registry.policy().is_public(repository));
    let freshness = match reference {
        Reference::Digest(_) => Freshness::ByDigest(audience),
        Reference::Tag(_) => Freshness::ByTag(audience),
    };
    let load = async {
        let bytes = registry.manifest_bytes(&manifest.found).await?;
        Ok(Blob { size: manifest.found.size, content: Content::Memory(bytes) })
    };
    deliver(conditions, &manifest.found, &manifest.record.media_type, freshness, load).await
}

pub async fn put(
    registry: &Registry,
    caller: &Caller,
    repository: RepositoryName,
    reference: Reference,
    tags: Vec<Tag>,
    headers: &HeaderMap,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > SIZE_LIMIT as u64) {
        return Err(ApiError::ManifestTooLarge);
    }
    let content_type = match headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default()) {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            ApiError::Refused(Refusal::Manifest(ManifestError::BadMediaType(text.to_owned())))
        })?),
    };
    let bytes = body.collect(SIZE_LIMIT).await?.ok_or(ApiError::ManifestTooLarge)?;
    let push =
        ManifestPush { repository: repository.clone(), reference, tags: tags.clone(), content_type, bytes };
    let pushed = registry.push_manifest(caller, push).await?;

    let mut reply = Reply::empty(StatusCode::CREATED, Freshness::Write);
    reply.header(LOCATION, format!("/v2/{repository}/manifests/{}", pushed.digest));
    reply.header("docker-content-digest", pushed.digest.to_string());
    if let Some(subject) = pushed.subject {
        reply.header("oci-subject", subject.to_string());
    }
    for tag in &tags {
        reply.add_header("oci-tag", tag.as_str());
    }
    Ok(reply)
}

pub async fn delete(
    registry: &Registry,
    caller: &Caller,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Reply, ApiError> {
    match registry.delete_manifest(caller, repository, reference).await? {
        true => Ok(Reply::empty(StatusCode::ACCEPTED, Freshness::Write)),
        false => Err(ApiError::ManifestUnknown),
    }
}
