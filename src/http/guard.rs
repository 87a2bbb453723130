//! Authenticate, authorise, and only then run: no route gets past this, and no refused write goes untold.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Server;
use super::authenticate::{Shown, challenge, shown};
use super::error::ApiError;
use super::reply::Reply;
use super::request_body::RequestBody;
use super::route::{Attempt, Need, Route};
use crate::access::{
    Action, Actor, Caller, Grant, Permission, Principal, ReadScope, Requester, Rule, SYSTEM_CATALOG, Verdict,
};
use crate::callers::CallerError;
use crate::meta::{AuditEntry, Outcome};

/// Where a request came from.
#[derive(Clone)]
pub(super) struct Origin {
    pub address: Option<IpAddr>,
    pub request_id: String,
}

impl Server {
    /// Authenticates and authorises, and only then runs the route. What a known caller tried to change and may
    /// not is told to the audit log.
    pub(super) async fn guard(
        self: &Arc<Self>,
        route: Route,
        attempt: Option<Attempt>,
        parts: &Parts,
        body: RequestBody,
        origin: Origin,
    ) -> Result<Reply, ApiError> {
        let within_rate = self.rates.address(origin.address);
        let caller = self.recognize(&route, parts, origin.address).await?;
        let Some(attempt) = attempt else {
            self.authorise(&route, &caller, parts).await?;
            within_rate.and(self.rates.caller(caller.subject()))?;
            let requester = requester(caller, String::new(), origin);
            return self.run(route, &requester, parts, body).await;
        };
        let entry = refusal(&caller, attempt, &origin);
        let outcome = async {
            self.authorise(&route, &caller, parts).await?;
            within_rate.and(self.rates.caller(caller.subject()))?;
            if self.read_only {
                return Err(ApiError::ReadOnly);
            }
            let rule = allowed_by(&route, &caller);
            self.run(route, &requester(caller, rule, origin), parts, body).await
        };
        let outcome = outcome.await;
        if let (Err(error), Some(entry)) = (&outcome, entry)
            && let Some(rule) = error.audited()
            && let Err(error) = self.registry.tell_audit(AuditEntry { rule, ..entry }).await
        {
            tracing::error!(%error, "a refusal could not be told to the audit log");
        }
        outcome
    }

    async fn recognize(
        &self,
        route: &Route,
        parts: &Parts,
        address: Option<IpAddr>,
    ) -> Result<Caller, ApiError> {
        let recognized = match shown(&parts.headers) {
            Shown::Nothing => return Ok(Caller::Anonymous),
            Shown::Credential(credential) => self.callers.recognize(&credential, address).await,
            Shown::Unreadable => Err(self.callers.unreadable(address).await),
        };
        recognized.map_err(|error| match error {
            CallerError::Unknown => {
                self.unauthorized(parts, route.need(), "this credential is not known here, or no longer")
            }
            CallerError::TooManyFailures => ApiError::TooManyRequests { retry_after: 1 },
            CallerError::Broken(error) => ApiError::Broken(error.into()),
        })
    }

    /// Decides before the route runs, from names and grants alone.
    async fn authorise(&self, route: &Route, caller: &Caller, parts: &Parts) -> Result<(), ApiError> {
        let need = route.need();
        let policy = self.registry.policy();
        let verdict = match need {
            Need::Nothing => Verdict::Allowed,
            Need::Credential | Need::Listing if parts.headers.contains_key(AUTHORIZATION) => Verdict::Allowed,
            Need::Credential | Need::Listing => Verdict::Unauthenticated,
            Need::Repository(action, repository) => policy.may(caller, action, repository),
            Need::Known => self.own(caller, parts).map(|_| Verdict::Allowed)?,
            Need::Permission(permission, catalog) => {
                verdict(self.own(caller, parts)?.decide(permission, catalog, None))
            }
            Need::Members(catalog) => verdict(self.own(caller, parts)?.manages(catalog)),
        };
        match verdict {
            Verdict::Allowed => self.catalog_exists(need, caller).await,
            Verdict::Unauthenticated => Err(self.unauthorized(parts, need, "this needs a credential")),
            Verdict::NarrowToken => {
                Err(self.unauthorized(parts, need, "the token was not made for this scope"))
            }
            Verdict::Denied(rule) => Err(ApiError::Denied(rule)),
        }
    }

    /// A catalog that does not exist is refused as a foreign one is, also to those who may write everywhere.
    /// Only the routes that manage organisations tell those who manage them more.
    async fn catalog_exists(&self, need: Need<'_>, caller: &Caller) -> Result<(), ApiError> {
        let sys_admin = || {
            caller.principal().is_some_and(|principal| {
                principal.decide(Permission::SystemAdmin, SYSTEM_CATALOG, None).is_ok()
            })
        };
        let catalog = match need {
            Need::Nothing
            | Need::Credential
            | Need::Listing
            | Need::Known
            | Need::Members(None)
            | Need::Repository(Action::Pull, _) => return Ok(()),
            Need::Repository(Action::Push | Action::Delete, repository) => repository.catalog(),
            Need::Permission(_, _) | Need::Members(Some(_)) if sys_admin() => return Ok(()),
            Need::Permission(_, catalog) | Need::Members(Some(catalog)) => catalog,
        };
        match self.registry.catalog(catalog).await? {
            Some(_) => Ok(()),
            None => Err(ApiError::Denied(Rule::NotAMember)),
        }
    }

    /// A caller with a credential of their own.
    pub(super) fn own<'a>(&self, caller: &'a Caller, parts: &Parts) -> Result<&'a Arc<Principal>, ApiError> {
        match caller {
            Caller::Known(principal) => Ok(principal),
            Caller::Anonymous => Err(self.unauthorized(parts, Need::Known, "this needs a credential")),
            // A short token carries scopes of repositories and nothing else.
            Caller::Scoped(_) => {
                let message = "a short token is good for /v2/ and /blobs/ only";
                Err(self.unauthorized(parts, Need::Known, message))
            }
        }
    }

    fn unauthorized(&self, parts: &Parts, need: Need<'_>, message: &'static str) -> ApiError {
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let challenge = challenge(self.public_url.as_deref(), &parts.headers, authority, need);
        ApiError::Unauthorized { challenge, message }
    }

    /// The answer for bytes that the caller can't reach, whether or not they exist. Who may read everything
    /// learns what is not there; a stranger gets the same answer either way (P3).
    pub(super) fn absent(&self, caller: &Caller, parts: &Parts) -> ApiError {
        match self.registry.policy().readable(caller) {
            ReadScope::Everything => ApiError::BlobUnknown,
            ReadScope::Only { .. } if caller.is_anonymous() => {
                let message = "nothing by this digest can be read without a credential";
                self.unauthorized(parts, Need::Nothing, message)
            }
            ReadScope::Only { .. } => ApiError::Denied(Rule::PermissionMissing),
        }
    }
}

fn verdict(decided: Result<&Grant, Rule>) -> Verdict {
    decided.map_or_else(Verdict::Denied, |_| Verdict::Allowed)
}

fn requester(caller: Caller, rule: String, origin: Origin) -> Requester {
    let subject = caller.subject().to_owned();
    let Origin { address, request_id } = origin;
    Requester { caller, actor: Actor { subject, rule, address, request_id } }
}

/// The grant that allows a write, in words. Empty where the route itself decides.
fn allowed_by(route: &Route, caller: &Caller) -> String {
    let Some(principal) = caller.principal() else { return String::new() };
    let grant = match route.need() {
        Need::Repository(action, repository) => principal.may(action, repository),
        Need::Permission(permission, catalog) => principal.decide(permission, catalog, None),
        Need::Members(catalog) => principal.manages(catalog),
        Need::Known | Need::Nothing | Need::Credential | Need::Listing => principal.manages(None),
    };
    grant.map(Grant::told).unwrap_or_default()
}

/// What the audit log is told if the write is refused. Callers that nobody knows are in the server's log only:
/// they could fill the audit log without end.
fn refusal(caller: &Caller, attempt: Attempt, origin: &Origin) -> Option<AuditEntry> {
    let Attempt { action, catalog, object } = attempt;
    (!caller.is_anonymous()).then(|| AuditEntry {
        actor: caller.subject().to_owned(),
        action: action.to_owned(),
        catalog,
        object,
        outcome: Outcome::Refused,
        rule: String::new(),
        address: origin.address,
        request_id: origin.request_id.clone(),
    })
}
