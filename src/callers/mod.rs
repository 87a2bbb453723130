//! From a credential to a caller: the admin token, API tokens, short tokens, and JWTs of issuers.

mod failures;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use thiserror::Error;
use uuid::Uuid;

use crate::access::{Caller, ISSUER_CREDENTIAL, Policy, Principal, Scoped, TokenScope};
use crate::digest::Sha256;
use crate::issuers::{Issuers, JwtError, Refusal};
use crate::meta::{AccessChanges, MetaError, MetaStore, TokenRecord};
use crate::token::{AdminToken, Owner, ShortToken, TokenError, Tokens, api, is_same_digest};

pub use self::failures::network;

use self::failures::Failures;

/// Credentials that are remembered, or fewer where they have many grants and globs.
const REMEMBERED: u64 = 50_000;
/// Longest time for which one is remembered, used or not.
const LONGEST: Duration = Duration::from_secs(3600);
/// The same for somebody whom an issuer vouched for.
const VOUCHED: Duration = Duration::from_secs(300);
/// Longest credential that is looked at.
const CREDENTIAL_LIMIT: usize = 32 * 1024;

/// How API tokens name themselves as a subject and as the credential of short tokens.
const TOKEN_PREFIX: &str = "token:";

/// Why nobody is known by a credential.
#[derive(Debug, Error)]
pub enum CallerError {
    #[error("this credential is not known here, or no longer")]
    Unknown,
    #[error("too many credentials from this address were wrong")]
    TooManyFailures,
    #[error("the keys of this token's issuer could not be fetched yet")]
    IssuerSilent,
    #[error(transparent)]
    Broken(#[from] MetaError),
}

/// What this server accepts as a credential, and whom it knows by it.
pub struct Callers {
    admin: AdminToken,
    /// Who holds the admin token.
    sys_admin: Arc<Principal>,
    tokens: Tokens,
    issuers: Issuers,
    meta: Arc<dyn MetaStore>,
    /// By the SHA-256 of the credential, so that the secrets themselves are not kept.
    known: Cache<Sha256, Recognized>,
    /// Holders of API tokens, each with the generation that it was read in.
    owners: Cache<Uuid, (Arc<Principal>, u64)>,
    changes: Arc<AccessChanges>,
    /// How long what is remembered counts while the metadata store is silent.
    grace: Duration,
    failures: Failures,
}

/// Somebody who was recognized by a credential, for as long as [`Callers::is_current`] says so.
#[derive(Clone)]
pub struct Recognized {
    pub caller: Caller,
    /// What [`AccessChanges::generation`] was before the store was asked.
    generation: u64,
    expires: Option<SystemTime>,
}

impl Callers {
    /// `failed_logins`: how many wrong credentials of an address are answered at once in a minute.
    pub fn new(
        admin: AdminToken,
        tokens: Tokens,
        issuers: Issuers,
        meta: Arc<dyn MetaStore>,
        changes: Arc<AccessChanges>,
        grace: Duration,
        failed_logins: u32,
    ) -> Self {
        let sys_admin = Arc::new(Principal::admin(admin.credential()));
        let known = Cache::builder().weigher(|_: &Sha256, known: &Recognized| weight(&known.caller));
        let known = known.max_capacity(REMEMBERED).time_to_live(LONGEST).build();
        let owners = Cache::builder().weigher(|_: &Uuid, (owner, _): &(Arc<Principal>, u64)| size(owner));
        let owners = owners.max_capacity(REMEMBERED).time_to_live(LONGEST).build();
        let failures = Failures::new(failed_logins);
        Self { admin, sys_admin, tokens, issuers, meta, known, owners, changes, grace, failures }
    }

    /// Looks whether the store's access version changed; to be called every second.
    pub async fn poll(&self) -> Result<(), MetaError> {
        self.changes.saw(self.meta.access_version().await?);
        Ok(())
    }

    /// Who shows this credential. Warm, that is one hash and one look into memory.
    pub async fn recognize(
        &self,
        credential: &str,
        address: Option<IpAddr>,
    ) -> Result<Recognized, CallerError> {
        let key = Sha256::of(credential.as_bytes());
        if let Some(known) = self.current(&key) {
            return Ok(known);
        }
        if self.failures.are_too_many(address) {
            return Err(CallerError::TooManyFailures);
        }
        let generation = self.changes.generation();
        match self.look_up(credential, &key).await? {
            Some((caller, expires)) => {
                let recognized = Recognized { caller, generation, expires };
                self.known.insert(key, recognized.clone());
                Ok(recognized)
            }
            None => Err(self.unreadable(address).await),
        }
    }

    /// Who shows this credential, if that is known without asking anybody.
    pub fn remembered(&self, credential: &str) -> Option<Recognized> {
        self.current(&Sha256::of(credential.as_bytes()))
    }

    fn current(&self, key: &Sha256) -> Option<Recognized> {
        self.known.get(key).filter(|known| self.is_current(known))
    }

    /// The answer to a header that holds no credential that could be looked up; it counts as a failure.
    pub async fn unreadable(&self, address: Option<IpAddr>) -> CallerError {
        if self.failures.failed(address).await { CallerError::Unknown } else { CallerError::TooManyFailures }
    }

    /// Whether nothing has changed since somebody was recognized, as far as this node knows.
    pub fn is_current(&self, known: &Recognized) -> bool {
        known.generation == self.changes.generation()
            && known.expires.is_none_or(|expires| SystemTime::now() < expires)
            && self.changes.silence() < self.grace
    }

    async fn look_up(
        &self,
        credential: &str,
        key: &Sha256,
    ) -> Result<Option<(Caller, Option<SystemTime>)>, CallerError> {
        if credential.is_empty() || credential.len() > CREDENTIAL_LIMIT {
            return Ok(None);
        }
        if self.admin.matches(credential) {
            return Ok(Some((Caller::Known(Arc::clone(&self.sys_admin)), None)));
        }
        if api::is_well_formed(credential) {
            let generation = self.changes.generation();
            let record =
                self.meta.token_by_secret(key).await?.filter(|record| is_same_digest(&record.sha256, key));
            let Some(record) = record else { return Ok(None) };
            let id = record.id;
            let Some(owner) = live(record) else { return Ok(None) };
            self.owners.insert(id, (Arc::clone(&owner), generation));
            let expires = owner.expires;
            return Ok(Some((Caller::Known(owner), expires)));
        }
        if let Ok(short) = self.tokens.verify(credential) {
            return self.scoped(short).await;
        }
        match self.issuers.principal(credential, SystemTime::now()).await {
            None => Ok(None),
            Some(Ok(principal)) => {
                // Read again from time to time: its key may have been withdrawn.
                let soon = SystemTime::now() + VOUCHED;
                let expires = principal.expires.map_or(soon, |expires| expires.min(soon));
                Ok(Some((Caller::Known(Arc::new(principal)), Some(expires))))
            }
            Some(Err(JwtError { issuer, refusal: Refusal::NoKeys })) => {
                tracing::warn!(issuer, "the keys of an issuer are not here");
                Err(CallerError::IssuerSilent)
            }
            Some(Err(error)) => {
                tracing::info!(%error, "a token of an issuer was refused");
                Ok(None)
            }
        }
    }

    /// A short token is worth what its owner is worth now.
    async fn scoped(&self, short: ShortToken) -> Result<Option<(Caller, Option<SystemTime>)>, CallerError> {
        let ShortToken { owner, scopes, lists_catalog, expires } = short;
        let owner = match owner {
            // An anonymous token has no power of its own: what is public is decided now, not when it was made.
            Owner::Nobody => return Ok(Some((Caller::Anonymous, Some(expires)))),
            Owner::Carried(principal) => {
                let issuer = principal.credential.strip_prefix(ISSUER_CREDENTIAL);
                issuer.is_some_and(|name| self.issuers.is_configured(name)).then(|| Arc::new(principal))
            }
            Owner::Credential(credential) if credential == self.sys_admin.credential => {
                Some(Arc::clone(&self.sys_admin))
            }
            Owner::Credential(credential) => {
                let id = credential.strip_prefix(TOKEN_PREFIX).and_then(|id| Uuid::try_parse(id).ok());
                let Some(id) = id else { return Ok(None) };
                self.owner(id).await?
            }
        };
        let Some(owner) = owner else { return Ok(None) };
        let expires = owner.expires.map_or(expires, |ends| ends.min(expires));
        Ok(Some((Caller::Scoped(Arc::new(Scoped { owner, scopes, lists_catalog })), Some(expires))))
    }

    /// Who holds an API token, for the short tokens that were made from it.
    async fn owner(&self, id: Uuid) -> Result<Option<Arc<Principal>>, CallerError> {
        let generation = self.changes.generation();
        if let Some((owner, kept)) = self.owners.get(&id)
            && kept == generation
            && self.changes.silence() < self.grace
        {
            return Ok(Some(owner).filter(|owner| is_live(owner)));
        }
        let owner = self.meta.token(id).await?.and_then(live);
        if let Some(owner) = &owner {
            self.owners.insert(id, (Arc::clone(owner), generation));
        }
        Ok(owner)
    }

    /// A short token with what the caller may do of what was asked for.
    pub fn issue(
        &self,
        policy: &Policy,
        caller: &Caller,
        asked: &[TokenScope],
        lists_catalog: bool,
    ) -> Result<String, TokenError> {
        let mut scopes = Vec::new();
        for TokenScope { repository, actions } in asked {
            let actions = policy.granted(caller, repository, actions);
            if !actions.is_empty() {
                scopes.push(TokenScope { repository: repository.clone(), actions });
            }
        }
        let owner = caller.principal().map(AsRef::as_ref);
        self.tokens.sign(owner, &scopes, lists_catalog && owner.is_some(), SystemTime::now())
    }
}

/// How many ordinary callers somebody takes the room of.
fn weight(caller: &Caller) -> u32 {
    let scopes = match caller {
        Caller::Scoped(scoped) => u32::try_from(scoped.scopes.len()).unwrap_or(u32::MAX),
        Caller::Anonymous | Caller::Known(_) => 0,
    };
    caller.principal().map_or(1, |principal| size(principal)).saturating_add(scopes / 4)
}

fn size(principal: &Principal) -> u32 {
    let globs = principal.grants.iter().map(|grant| 1 + grant.only.as_ref().map_or(0, Vec::len));
    1 + u32::try_from(globs.sum::<usize>()).unwrap_or(u32::MAX) / 8
}

/// Who shows an API token, unless it expired.
fn live(record: TokenRecord) -> Option<Arc<Principal>> {
    let name = format!("{TOKEN_PREFIX}{}", record.id);
    let grants = record.grants.iter().filter_map(|(catalog, role)| role.on(catalog));
    let principal = Principal {
        grants: grants.map(|grant| grant.narrowed(record.repositories.clone())).collect(),
        credential: name.clone(),
        subject: name,
        expires: record.expires,
    };
    is_live(&principal).then(|| Arc::new(principal))
}

fn is_live(principal: &Principal) -> bool {
    principal.expires.is_none_or(|expires| SystemTime::now() < expires)
}
