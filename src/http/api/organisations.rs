//! `/api/orgs`: organisations, their names and quotas.

use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};

use super::{Findings, Object, json, page, present, read, shown, time};
use crate::access::{Principal, Requester};
use crate::http::error::ApiError;
use crate::http::query::PageQuery;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::meta::{DeleteOrganisation, Organisation, OrganisationChange, WriteOrganisation};
use crate::name::is_catalog;
use crate::registry::Registry;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    name: Option<String>,
    domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    /// Present with `null`: none any more.
    #[serde(default, deserialize_with = "present")]
    domain: Option<Option<String>>,
    #[serde(default)]
    quota: Object<QuotaChange>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct QuotaChange {
    #[serde(default, deserialize_with = "present")]
    bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present")]
    repositories: Option<Option<u64>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    domain: Option<&'a str>,
    created_at: String,
    quota: Numbers<Option<u64>>,
    usage: Numbers<u64>,
}

#[derive(Serialize)]
struct Numbers<T> {
    bytes: T,
    repositories: T,
}

impl<'a> Shown<'a> {
    fn of(organisation: &'a Organisation) -> Self {
        let Organisation { id, name, domain, quota, usage, created } = organisation;
        Self {
            id,
            name,
            domain: domain.as_deref(),
            created_at: time(*created),
            quota: Numbers { bytes: quota.bytes, repositories: quota.repositories },
            usage: Numbers { bytes: usage.bytes, repositories: usage.repositories },
        }
    }
}

/// The organisations that the caller's grants name.
pub async fn list(registry: &Registry, principal: &Principal, query: &PageQuery) -> Result<Reply, ApiError> {
    let among = principal.organisations();
    let found = registry.organisations(among.as_deref(), query.after.as_deref(), query.limit).await?;
    let next = found.items.last().filter(|_| found.more).map(|last| last.id.as_str());
    let items: Vec<Shown<'_>> = found.items.iter().map(Shown::of).collect();
    Ok(page(&items, "/api/orgs", query.limit, next))
}

pub async fn get(registry: &Registry, id: &str) -> Result<Reply, ApiError> {
    let found = registry.organisation(id).await?;
    Ok(shown(&Shown::of(&found.ok_or(UNKNOWN)?)))
}

pub async fn create(
    registry: &Registry,
    requester: &Requester,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let Object(New { id, name, domain }) = read(body).await?;
    let name = name.unwrap_or_else(|| id.clone());
    let mut findings = Findings::default();
    if !is_catalog(&id) {
        let detail = "an id is one component of a repository name: lower-case letters and digits with '.', '_' or \
                      '-' between them, at most 64";
        findings.add("id", "/id", detail);
    }
    findings.check_name("/name", &name);
    check_domain(&mut findings, domain.as_deref());
    findings.done()?;
    let written = registry.create_organisation(requester, &id, &name, domain.as_deref()).await?;
    let organisation = match written {
        WriteOrganisation::Written(organisation) => organisation,
        WriteOrganisation::Conflict => {
            let message = format!("there is a catalog {id} already, or there was: an id is given out once");
            return Err(ApiError::Conflict { code: "org_exists", message });
        }
        WriteOrganisation::DomainTaken => return Err(domain_taken()),
    };
    let mut reply = json(StatusCode::CREATED, &Shown::of(&organisation), Freshness::Write);
    reply.header(LOCATION, format!("/api/orgs/{id}"));
    Ok(reply)
}

pub async fn update(
    registry: &Registry,
    requester: &Requester,
    id: &str,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let Object(Change { name, domain, quota: Object(quota) }) = read(body).await?;
    let mut findings = Findings::default();
    if let Some(name) = &name {
        findings.check_name("/name", name);
    }
    check_domain(&mut findings, domain.as_ref().and_then(Option::as_deref));
    for (pointer, limit) in [("/quota/bytes", quota.bytes), ("/quota/repositories", quota.repositories)] {
        if limit.flatten().is_some_and(|limit| i64::try_from(limit).is_err()) {
            findings.add("quota", pointer, "is too large; null means no limit");
        }
    }
    findings.done()?;
    let change =
        OrganisationChange { name, domain, quota_bytes: quota.bytes, quota_repositories: quota.repositories };
    match registry.update_organisation(requester, id, change).await? {
        WriteOrganisation::Written(organisation) => {
            Ok(json(StatusCode::OK, &Shown::of(&organisation), Freshness::Write))
        }
        WriteOrganisation::Conflict => Err(UNKNOWN),
        WriteOrganisation::DomainTaken => Err(domain_taken()),
    }
}

pub async fn delete(registry: &Registry, requester: &Requester, id: &str) -> Result<Reply, ApiError> {
    match registry.delete_organisation(requester, id).await? {
        DeleteOrganisation::Deleted => Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write)),
        DeleteOrganisation::Unknown => Err(UNKNOWN),
        DeleteOrganisation::NotEmpty => {
            let message = format!("{id} still holds blobs or manifests; delete those first");
            Err(ApiError::Conflict { code: "org_not_empty", message })
        }
    }
}

const UNKNOWN: ApiError = ApiError::Unknown("organisation");

fn domain_taken() -> ApiError {
    let message = "another organisation has this domain".to_owned();
    ApiError::Conflict { code: "domain_taken", message }
}

/// A host name: labels of letters, digits and hyphens.
fn check_domain(findings: &mut Findings, domain: Option<&str>) {
    let Some(domain) = domain else { return };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.len() > 253 || !domain.contains('.') || !domain.split('.').all(label) {
        findings.add("domain", "/domain", "is no domain name in lower case");
    }
}
