//! Manifests by tag and by digest.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};

use super::delivery::{Conditions, deliver};
use super::error::ApiError;
use super::reply::{Audience, Freshness, Reply};
use super::request_body::RequestBody;
use crate::access::Requester;
use crate::blob::{Blob, Content};
use crate::digest::Digest;
use crate::manifest::{ManifestError, SIZE_LIMIT};
use crate::meta::TagCondition;
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
    requester: &Requester,
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
    let condition = tag_condition(headers, &reference, &tags)?;
    let bytes = body.collect(SIZE_LIMIT).await?.ok_or(ApiError::ManifestTooLarge)?;
    let push = ManifestPush {
        repository: repository.clone(),
        reference,
        tags: tags.clone(),
        condition,
        content_type,
        bytes,
    };
    let pushed = registry.push_manifest(requester, push).await?;

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

/// `If-Match` and `If-None-Match: *`, which are about the tags that a push writes.
fn tag_condition(headers: &HeaderMap, reference: &Reference, tags: &[Tag]) -> Result<TagCondition, ApiError> {
    let bad = |name, reason| Err(ApiError::BadHeader { name, reason });
    let condition = match (list(headers, IF_MATCH), list(headers, IF_NONE_MATCH)) {
        (None, None) => return Ok(TagCondition::Any),
        (Some(_), Some(_)) => return bad("If-Match", "stands beside If-None-Match"),
        (None, Some(absent)) if absent == "*" => TagCondition::Absent,
        (None, Some(_)) => return bad("If-None-Match", "takes * and nothing else here"),
        (Some(expected), None) if expected == "*" => TagCondition::Present,
        (Some(expected), None) => {
            let digest = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
            let digests: Option<Vec<Digest>> = expected.split(',').map(digest).collect();
            match digests {
                Some(digests) => TagCondition::PointsTo(digests),
                None => return bad("If-Match", "is not a list of digests in double quotes"),
            }
        }
    };
    match reference {
        Reference::Digest(_) if tags.is_empty() => {
            bad("If-Match", "is about tags, and the request names none")
        }
        Reference::Digest(_) | Reference::Tag(_) => Ok(condition),
    }
}

/// A header that may be given in several lines, as one list. A line that is not text matches nothing.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("invalid").trim()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

pub async fn delete(
    registry: &Registry,
    requester: &Requester,
    repository: &RepositoryName,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Reply, ApiError> {
    // A condition that nobody decides must not pass for one that holds.
    for (name, header) in [("If-Match", IF_MATCH), ("If-None-Match", IF_NONE_MATCH)] {
        if headers.contains_key(header) {
            return Err(ApiError::BadHeader { name, reason: "is not supported for DELETE" });
        }
    }
    match registry.delete_manifest(requester, repository, reference).await? {
        true => Ok(Reply::empty(StatusCode::ACCEPTED, Freshness::Write)),
        false => Err(ApiError::ManifestUnknown),
    }
}
