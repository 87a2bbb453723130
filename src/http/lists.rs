//! Lists of tags, of what happened to a tag, of referrers and repositories.

use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::query::{HistoryQuery, ListQuery};
use super::reply::{Audience, Freshness, Reply};
use super::route::ReferrersQuery;
use crate::access::Caller;
use crate::media_type::OCI_INDEX;
use crate::meta::{Change, Event, Referrer};
use crate::name::{RepositoryName, Tag};
use crate::registry::Registry;

/// What stands unescaped in a query value of ours.
pub const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
struct TagHistory<'a> {
    name: &'a str,
    tag: &'a str,
    history: Vec<TagChange>,
}

#[derive(Serialize)]
struct TagChange {
    sequence: u64,
    change: &'static str,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// RFC 3339, UTC.
    at: String,
}

#[derive(Serialize)]
struct RepositoryList<'a> {
    repositories: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Value>,
}

pub async fn tags(
    registry: &Registry,
    repository: &RepositoryName,
    query: &ListQuery,
) -> Result<Reply, ApiError> {
    let page = registry.tags(repository, query.last.as_deref(), query.limit).await?;
    let page = page.ok_or(ApiError::NameUnknown)?;
    let tags: Vec<&str> = page.items.iter().map(Tag::as_str).collect();
    let next = tags.last().filter(|_| page.more).map(|last| {
        let last = utf8_percent_encode(last, QUERY);
        format!("/v2/{repository}/tags/list?n={}&last={last}", query.limit)
    });
    let audience = Audience::of(registry.policy().is_public(repository));
    Ok(list(&TagList { name: repository.as_str(), tags }, "application/json", audience, next))
}

/// What a tag pointed to, newest first. Who moved it is for the audit, and not for every reader.
pub async fn tag_history(
    registry: &Registry,
    repository: &RepositoryName,
    tag: &Tag,
    query: &HistoryQuery,
) -> Result<Reply, ApiError> {
    let page = registry.tag_history(repository, tag, query.before, query.limit).await?;
    if page.items.is_empty() && !page.more && query.before.is_none() {
        return Err(ApiError::ManifestUnknown);
    }
    let next = page.items.last().filter(|_| page.more).map(|last| {
        format!("/v2/{repository}/_quire/tags/{tag}/history?n={}&before={}", query.limit, last.sequence)
    });
    let body = TagHistory {
        name: repository.as_str(),
        tag: tag.as_str(),
        history: page.items.iter().filter_map(tag_change).collect(),
    };
    let audience = Audience::of(registry.policy().is_public(repository));
    Ok(list(&body, "application/json", audience, next))
}

fn tag_change(event: &Event) -> Option<TagChange> {
    let (change, digest, previous) = match &event.change {
        Change::TagSet { digest, previous, .. } => ("set", digest, previous.as_ref()),
        Change::TagDeleted { digest, .. } => ("deleted", digest, None),
        Change::VersionChanged { .. }
        | Change::ManifestPushed { .. }
        | Change::ManifestDeleted { .. }
        | Change::BlobDeleted { .. } => return None,
    };
    Some(TagChange {
        sequence: event.sequence,
        change,
        digest: digest.to_string(),
        previous: previous.map(ToString::to_string),
        at: jiff::Timestamp::try_from(event.at).unwrap_or_default().to_string(),
    })
}

pub async fn repositories(
    registry: &Registry,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Reply, ApiError> {
    let page = registry.repositories(caller, query.last.as_deref(), query.limit).await?;
    let repositories: Vec<&str> = page.items.iter().map(RepositoryName::as_str).collect();
    let next = repositories.last().filter(|_| page.more).map(|last| {
        let last = utf8_percent_encode(last, QUERY);
        format!("/v2/_catalog?n={}&last={last}", query.limit)
    });
    // Two callers see two lists at the same path.
    Ok(list(&RepositoryList { repositories }, "application/json", Audience::Private, next))
}

pub async fn referrers(
    registry: &Registry,
    repository: &RepositoryName,
    query: &ReferrersQuery,
) -> Result<Reply, ApiError> {
    let ReferrersQuery { subject, artifact_type, after } = query;
    let page = registry.referrers(repository, subject, artifact_type.as_deref(), *after).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| {
        let filter = artifact_type
            .as_ref()
            .map(|filter| format!("&artifactType={}", utf8_percent_encode(filter, QUERY)));
        let filter = filter.unwrap_or_default();
        let after = last.record.digests.sha256.hex();
        format!("/v2/{repository}/referrers/{subject}?after={after}{filter}")
    });
    let manifests = page.items.iter().map(descriptor).collect();
    let index = Index { schema_version: 2, media_type: OCI_INDEX, manifests };
    let audience = Audience::of(registry.policy().is_public(repository));
    let mut reply = list(&index, OCI_INDEX, audience, next);
    if artifact_type.is_some() {
        reply.header("oci-filters-applied", "artifactType");
    }
    Ok(reply)
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut descriptor = serde_json::json!({
        "mediaType": referrer.record.media_type,
        "digest": referrer.record.digest().to_string(),
        "size": referrer.record.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor["artifactType"] = artifact_type.as_str().into();
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = serde_json::json!(referrer.annotations);
    }
    descriptor
}

fn list(body: &impl Serialize, content_type: &str, audience: Audience, next: Option<String>) -> Reply {
    // Names, numbers and texts: serialising them cannot fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = Reply::bytes(StatusCode::OK, body.into(), Freshness::List(audience));
    reply.header(CONTENT_TYPE, content_type);
    if let Some(next) = next {
        reply.header(LINK, format!("<{next}>; rel=\"next\""));
    }
    reply
}
