//! Lists of tags, referrers and repositories.

use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::reply::{Audience, Freshness, Reply};
use super::route::{ListQuery, ReferrersQuery};
use crate::access::Caller;
use crate::media_type::OCI_INDEX;
use crate::meta::Referrer;
use crate::name::{RepositoryName, Tag};
use crate::registry::Registry;

/// What stands unescaped in a query value of ours.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/');

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
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
