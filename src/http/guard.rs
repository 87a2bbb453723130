//! Authenticate, authorise, and only then run: no route gets past this, and no refused write goes untold.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Server;
use super::access_log::may_be_a_secret;
use super::authenticate::{MoreThanOne, challenge, credential, single};
use super::error::ApiError;
use super::origin::{Connection, Origin};
use super::reply::Reply;
use super::request_body::RequestBody;
use super::route::{Attempt, Need, Route, RouteKind};
use super::sequence;
use crate::access::{
    Action, Caller, Grant, Permission, Principal, ReadScope, Requester, Rule, SYSTEM_CATALOG, Verdict,
};
use crate::callers::CallerError;
use crate::meta::{AuditEntry, Outcome};
use crate::name::is_catalog;

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
        if route.kind() == RouteKind::Operation {
            // Whoever asks these is to ask often, and gets an answer whatever else is down.
            return self.run(route, &requester(Caller::Anonymous, String::new(), origin), parts, body).await;
        }
        let within_rate = self.rates.address(origin.address());
        let caller = self.recognize(&route, parts, &origin.connection, &within_rate).await?;
        let Some(attempt) = attempt else {
            self.authorise(&route, &caller, parts).await?;
            within_rate.and(self.rates.caller(caller.subject()))?;
            if let Some(sequence) = sequence::after(&parts.headers)?
                && let Some(catalog) = route.reads()
            {
                sequence::wait(&self.registry, catalog, sequence).await?;
            }
            let requester = requester(caller, String::new(), origin);
            return self.run(route, &requester, parts, body).await;
        };
        let written = attempt.catalog.clone().filter(|_| route.kind().has_events());
        // A server that is read-only writes nothing at all.
        let entry = refusal(&caller, attempt, &origin).filter(|_| !self.read_only);
        let outcome = async {
            self.authorise(&route, &caller, parts).await?;
            within_rate.and(self.rates.caller(caller.subject()))?;
            if self.read_only {
                return Err(ApiError::ReadOnly);
            }
            let rule = allowed_by(&route, &caller);
            let mut reply = self.run(route, &requester(caller, rule, origin), parts, body).await?;
            if let Some(catalog) = written {
                sequence::tell(&self.registry, &catalog, &mut reply).await;
            }
            Ok(reply)
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
        connection: &Connection,
        within_rate: &Result<(), ApiError>,
    ) -> Result<Caller, ApiError> {
        let header = match single(&parts.headers) {
            Ok(None) => return Ok(Caller::Anonymous),
            Ok(Some(header)) => Some(header),
            Err(MoreThanOne) => None,
        };
        if let Some(recognized) = header.and_then(|header| connection.recent(header))
            && self.callers.is_current(&recognized)
        {
            return Ok(recognized.caller);
        }
        let recognized = match header.and_then(credential) {
            // Over the rate nobody is looked up; those who are known get the answer that the guard has for them.
            Some(credential) if within_rate.is_err() => match self.callers.remembered(&credential) {
                Some(recognized) => Ok(recognized),
                None => Err(CallerError::TooManyFailures),
            },
            Some(credential) => self.callers.recognize(&credential, connection.address()).await,
            None => Err(self.callers.unreadable(connection.address()).await),
        };
        match recognized {
            Ok(recognized) => {
                let caller = recognized.caller.clone();
                if let Some(header) = header {
                    connection.remember(header.clone(), recognized);
                }
                Ok(caller)
            }
            Err(CallerError::Unknown) => {
                let address = connection.address().map(|address| address.to_string());
                tracing::info!(target: "quire::access", address, "a credential was refused");
                Err(self.unauthorized(parts, route.need(), "this credential is not known here, or no longer"))
            }
            Err(CallerError::TooManyFailures) => Err(ApiError::TooManyRequests { retry_after: 1 }),
            Err(CallerError::IssuerSilent) => {
                Err(ApiError::NotReady("the keys of this token's issuer are not here yet"))
            }
            Err(CallerError::Broken(error)) => Err(ApiError::Broken(error.into())),
        }
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
    Requester { caller, rule, address: origin.address(), request_id: origin.request_id }
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

/// Longest object that the audit log is told of a refused write, in characters: it is as the caller wrote it.
const OBJECT_LIMIT: usize = 300;

/// What the audit log is told if the write is refused. Callers without any grant are in the server's log only, as
/// are those whom nobody knows: there is no end of them, and they could fill the audit log without end.
fn refusal(caller: &Caller, attempt: Attempt, origin: &Origin) -> Option<AuditEntry> {
    let Attempt { action, catalog, object } = attempt;
    let principal = caller.principal().filter(|principal| !principal.grants.is_empty())?;
    Some(AuditEntry {
        actor: principal.subject.clone(),
        action: action.to_owned(),
        catalog: catalog.filter(|catalog| is_catalog(catalog) && !may_be_a_secret(catalog)),
        object: match may_be_a_secret(&object) {
            true => "(withheld)".to_owned(),
            false => object.chars().take(OBJECT_LIMIT).collect(),
        },
        outcome: Outcome::Refused,
        rule: String::new(),
        address: origin.address(),
        request_id: origin.request_id.clone(),
    })
}
