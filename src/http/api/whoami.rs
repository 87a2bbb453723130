//! `/api/whoami` and `/api/can-i`: what a credential is worth.

use serde::Serialize;

use super::{shown, time};
use crate::access::{Action, Caller, Grant, Principal, RepositoryGlob, Rule, Verdict};
use crate::http::error::ApiError;
use crate::http::reply::Reply;
use crate::name::RepositoryName;
use crate::registry::Registry;

#[derive(Serialize)]
struct WhoAmI<'a> {
    subject: &'a str,
    grants: Vec<ShownGrant<'a>>,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct ShownGrant<'a> {
    catalog: &'a str,
    name: &'a str,
    permissions: Vec<&'static str>,
    repositories: Option<Vec<&'a str>>,
    moves_tags: bool,
}

impl<'a> ShownGrant<'a> {
    fn of(grant: &'a Grant) -> Self {
        let globs = grant.only.as_ref();
        Self {
            catalog: if grant.everywhere { "*" } else { &grant.catalog },
            name: &grant.name,
            permissions: grant.permissions.iter().map(|permission| permission.as_str()).collect(),
            repositories: globs.map(|globs| globs.iter().map(RepositoryGlob::as_str).collect()),
            moves_tags: grant.moves_tags,
        }
    }
}

pub fn who_am_i(principal: &Principal) -> Reply {
    shown(&WhoAmI {
        subject: &principal.subject,
        grants: principal.grants.iter().map(ShownGrant::of).collect(),
        expires_at: principal.expires.map(time),
    })
}

#[derive(Serialize)]
struct CanI {
    allowed: bool,
    /// The grant that allows it, or the code of the refusal.
    rule: String,
}

pub async fn can_i(
    registry: &Registry,
    caller: &Caller,
    action: Action,
    repository: &RepositoryName,
) -> Result<Reply, ApiError> {
    let policy = registry.policy();
    let mut answer = CanI {
        allowed: policy.may(caller, action, repository) == Verdict::Allowed,
        rule: policy.explain(caller, action, repository),
    };
    // As the guard decides: who may write everywhere still cannot write to a catalog that is not there.
    let writes = action != Action::Pull;
    if answer.allowed && writes && registry.catalog(repository.catalog()).await?.is_none() {
        answer = CanI { allowed: false, rule: Rule::NotAMember.code().to_owned() };
    }
    Ok(shown(&answer))
}
