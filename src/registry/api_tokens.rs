//! API tokens: made once, shown once, gone at once.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{Fault, PAGE_LIMIT, Registry, RegistryError};
use crate::access::{RepositoryGlob, Requester, Role};
use crate::digest::Sha256;
use crate::meta::{CreateToken, Page, TokenRecord};
use crate::token::api;

/// A token that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub grants: Vec<(String, Role)>,
    pub repositories: Option<Vec<RepositoryGlob>>,
    pub life: Option<Duration>,
}

/// A token that was made, or why it was not.
pub enum MadeToken {
    /// The secret is shown to its maker now, and to nobody later.
    Made {
        secret: String,
        record: TokenRecord,
    },
    CatalogUnknown(String),
}

impl Registry {
    pub async fn create_token(
        &self,
        requester: &Requester,
        new: NewToken,
    ) -> Result<MadeToken, RegistryError> {
        let secret = api::generate().map_err(Fault::Token)?;
        let now = SystemTime::now();
        let record = TokenRecord {
            id: Uuid::now_v7(),
            name: new.name,
            sha256: Sha256::of(secret.as_bytes()),
            grants: new.grants,
            repositories: new.repositories,
            created_by: requester.caller.subject().to_owned(),
            created: now,
            expires: new.life.and_then(|life| now.checked_add(life)),
        };
        match self.meta.create_token(record.clone(), &requester.actor()).await? {
            CreateToken::Created => Ok(MadeToken::Made { secret, record }),
            CreateToken::CatalogUnknown(catalog) => Ok(MadeToken::CatalogUnknown(catalog)),
        }
    }

    /// The token of this id, unless it was revoked.
    pub async fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, RegistryError> {
        Ok(self.meta.token(id).await?)
    }

    /// Tokens with a grant on one of the catalogs, or all.
    pub async fn tokens(
        &self,
        catalogs: Option<&[String]>,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<TokenRecord>, RegistryError> {
        Ok(self.meta.tokens(catalogs, after, limit.min(PAGE_LIMIT)).await?)
    }

    /// Revokes a token, or what it may on some catalogs, for every request of this node that begins after this
    /// returned. `false`: there was nothing to take away.
    pub async fn revoke_token(
        &self,
        requester: &Requester,
        id: Uuid,
        catalogs: Option<&[String]>,
    ) -> Result<bool, RegistryError> {
        let revoked = self.meta.revoke_token(id, catalogs, &requester.actor()).await?;
        // An answer that was lost may stand for a change that was made; the poll sees that one.
        self.changes.raise();
        Ok(revoked)
    }
}
