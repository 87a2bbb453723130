//! `/api/tokens`: API tokens are made, listed and revoked.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::LOCATION;
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Findings, Object, json, managed, page, read, time};
use crate::access::{Principal, RepositoryGlob, Requester, Role, Rule, SYSTEM_CATALOG};
use crate::http::error::ApiError;
use crate::http::lists::QUERY;
use crate::http::query::PageQuery;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::meta::TokenRecord;
use crate::registry::{MadeToken, NewToken, Registry};

/// Most grants, and most globs, of one token.
const LIST_LIMIT: usize = 64;
/// Longest life of a token that has one.
const LIFE_LIMIT: u64 = 10 * 366 * 24 * 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    grants: Vec<Object<NewGrant>>,
    /// Seconds.
    expires_in: Option<u64>,
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    catalog: String,
    role: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    name: &'a str,
    grants: Vec<ShownGrant<'a>>,
    repositories: Option<Vec<&'a str>>,
    created_by: &'a str,
    created_at: String,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct ShownGrant<'a> {
    catalog: &'a str,
    role: &'static str,
}

impl<'a> Shown<'a> {
    fn of(record: &'a TokenRecord, secret: Option<&'a str>) -> Self {
        let globs = record.repositories.as_ref();
        let grants = record.grants.iter();
        Self {
            id: record.id.to_string(),
            token: secret,
            name: &record.name,
            grants: grants.map(|(catalog, role)| ShownGrant { catalog, role: role.as_str() }).collect(),
            repositories: globs.map(|globs| globs.iter().map(RepositoryGlob::as_str).collect()),
            created_by: &record.created_by,
            created_at: time(record.created),
            expires_at: record.expires.map(time),
        }
    }
}

pub async fn create(
    registry: &Registry,
    requester: &Requester,
    principal: &Principal,
    body: RequestBody,
) -> Result<Reply, ApiError> {
    let Object(new): Object<New> = read(body).await?;
    // Who may not hand out tokens there learns that before what else is wrong.
    let mut rule = String::new();
    for Object(grant) in &new.grants {
        rule = principal.manages(Some(&grant.catalog)).map_err(ApiError::Denied)?.told();
    }
    let mut new = check(new)?;
    // A token makes none that outlives it. Somebody whom an issuer vouched for may: that is how people who log in
    // for an hour get the tokens of their machines.
    if !principal.is_vouched_for()
        && let Some(ends) = principal.expires
    {
        let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
        new.life = Some(new.life.map_or(left, |life| life.min(left)));
    }
    let requester = Requester { rule, ..requester.clone() };
    match registry.create_token(&requester, new).await? {
        MadeToken::Made { secret, record } => {
            let mut reply = json(StatusCode::CREATED, &Shown::of(&record, Some(&secret)), Freshness::Secret);
            reply.header(LOCATION, format!("/api/tokens/{}", record.id));
            Ok(reply)
        }
        // Who manages the system may know which organisations there are; for others it is a foreign one.
        MadeToken::CatalogUnknown(catalog) => match principal.managed() {
            None => {
                let mut findings = Findings::default();
                findings.add("catalog", "/grants", format!("there is no catalog {catalog}"));
                Err(ApiError::Invalid(findings.0))
            }
            Some(_) => Err(ApiError::Denied(Rule::NotAMember)),
        },
    }
}

fn check(new: New) -> Result<NewToken, ApiError> {
    let mut findings = Findings::default();
    findings.check_name("/name", &new.name);
    if new.grants.is_empty() || new.grants.len() > LIST_LIMIT {
        findings.add("grants", "/grants", format!("a token has 1 to {LIST_LIMIT} grants"));
    }
    let mut grants: Vec<(String, Role)> = Vec::new();
    for (place, Object(grant)) in new.grants.into_iter().enumerate().take(LIST_LIMIT) {
        let pointer = format!("/grants/{place}/role");
        let Some(role) = Role::parse(&grant.role) else {
            let known: Vec<&str> = Role::ALL.into_iter().map(Role::as_str).collect();
            findings.add("role", pointer, format!("the roles are {}", known.join(", ")));
            continue;
        };
        if role.permissions_on(&grant.catalog).is_none() {
            let where_else = if grant.catalog == SYSTEM_CATALOG { "organisations" } else { "system" };
            findings.add("role", pointer, format!("{} is a role on {where_else}", grant.role));
        } else if grants.iter().any(|known| *known == (grant.catalog.clone(), role)) {
            findings.add("role", pointer, "stands there twice");
        } else {
            grants.push((grant.catalog, role));
        }
    }
    if new.expires_in.is_some_and(|seconds| !(1..=LIFE_LIMIT).contains(&seconds)) {
        findings.add("expires_in", "/expires_in", format!("is 1 to {LIFE_LIMIT} seconds"));
    }
    let repositories = new.repositories.map(|globs| check_globs(&mut findings, &grants, &globs));
    findings.done()?;
    let life = new.expires_in.map(Duration::from_secs);
    Ok(NewToken { name: new.name, grants, repositories, life })
}

fn check_globs(findings: &mut Findings, grants: &[(String, Role)], globs: &[String]) -> Vec<RepositoryGlob> {
    if globs.is_empty() || globs.len() > LIST_LIMIT {
        findings.add("repositories", "/repositories", format!("are 1 to {LIST_LIMIT} globs, or left out"));
    }
    let mut parsed = Vec::new();
    for (place, text) in globs.iter().enumerate().take(LIST_LIMIT) {
        let pointer = format!("/repositories/{place}");
        match text.parse::<RepositoryGlob>() {
            Err(error) => findings.add("repositories", pointer, error),
            Ok(glob) => {
                let reached = glob.catalog() == SYSTEM_CATALOG
                    || grants.iter().any(|(on, role)| on == glob.catalog() || *role == Role::SysAdmin);
                if !reached {
                    findings.add("repositories", pointer, "no grant of the token is on this catalog");
                }
                parsed.push(glob);
            }
        }
    }
    parsed
}

/// The tokens with a grant on a catalog that the caller manages.
pub async fn list(
    registry: &Registry,
    principal: &Principal,
    catalog: Option<&str>,
    query: &PageQuery,
) -> Result<Reply, ApiError> {
    let catalogs = match catalog {
        Some(catalog) => Some(vec![catalog.to_owned()]),
        None => managed(registry, principal).await?,
    };
    // What is no id stands behind none.
    let after = query.after.as_deref().and_then(|after| Uuid::try_parse(after).ok());
    let mut found = registry.tokens(catalogs.as_deref(), after, query.limit).await?;
    // What a token may elsewhere is not for those who manage this catalog.
    let managed = principal.managed();
    let seen = |catalog: &String| managed.as_ref().is_none_or(|managed| managed.contains(catalog));
    for record in &mut found.items {
        record.grants.retain(|(catalog, _)| seen(catalog));
        if let Some(globs) = &mut record.repositories {
            globs.retain(|glob| seen(&glob.catalog().to_owned()) || glob.catalog() == SYSTEM_CATALOG);
        }
    }
    let next = found.items.last().filter(|_| found.more).map(|last| last.id.to_string());
    let items: Vec<Shown<'_>> = found.items.iter().map(|record| Shown::of(record, None)).collect();
    let path = match catalog {
        Some(catalog) => format!("/api/tokens?catalog={}", utf8_percent_encode(catalog, QUERY)),
        None => "/api/tokens".to_owned(),
    };
    Ok(page(&items, &path, query.limit, next.as_deref()))
}

/// Who manages a catalog takes away what a token may there; a token may revoke itself.
pub async fn revoke(
    registry: &Registry,
    requester: &Requester,
    principal: &Principal,
    id: Option<Uuid>,
) -> Result<Reply, ApiError> {
    let own = id.is_some_and(|id| principal.subject == format!("token:{id}"));
    let (catalogs, rule) = if own {
        (None, "own token".to_owned())
    } else {
        let grant = principal.manages(None).map_err(ApiError::Denied)?;
        (managed(registry, principal).await?, grant.told())
    };
    let requester = Requester { rule, ..requester.clone() };
    let revoked = match id {
        Some(id) => registry.revoke_token(&requester, id, catalogs.as_deref()).await?,
        None => false,
    };
    // A foreign token is told like one that does not exist.
    if revoked {
        Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write))
    } else {
        Err(ApiError::Unknown("token"))
    }
}
