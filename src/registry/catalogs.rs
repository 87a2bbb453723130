//! Catalogs: which there are, whether something fits into them, and organisations as their owners.

use std::time::Duration;

use moka::sync::Cache;

use super::{PAGE_LIMIT, Refusal, Registry, RegistryError};
use crate::access::{ReadScope, Requester, SYSTEM_CATALOG};
use crate::digest::{Digest, Sha256};
use crate::meta::{
    CatalogRefusal, DeleteOrganisation, Organisation, OrganisationChange, Page, WriteOrganisation,
};
use crate::name::RepositoryName;

/// How old a catalog's numbers may be where they only save work. What counts is decided by the store.
const LIFE: Duration = Duration::from_secs(2);

/// Catalogs as they were a moment ago, each with the generation that it was read in. One that is not there is
/// not remembered.
pub(super) struct Catalogs(Cache<String, (Organisation, u64)>);

impl Default for Catalogs {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(10_000).time_to_live(LIFE).build())
    }
}

/// How many bytes may come in, and whose limit that is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    /// The quota, where it may be what ends the room.
    quota: Option<u64>,
}

impl Room {
    fn of(max_blob_bytes: u64, quota: Option<u64>) -> Self {
        let quota = quota.filter(|quota| *quota < max_blob_bytes);
        Self { bytes: quota.unwrap_or(max_blob_bytes), quota }
    }

    /// Names the quota in a refusal that it is the cause of.
    pub(super) fn told(&self, error: RegistryError) -> RegistryError {
        match (error, self.quota) {
            (RegistryError::Refused(Refusal::BlobTooLarge { .. }), Some(limit)) => {
                Refusal::Catalog(CatalogRefusal::Bytes { limit }).into()
            }
            (error, _) => error,
        }
    }
}

impl Registry {
    /// A catalog as it was at most a moment ago; changes by this node and those of others that it saw are in it.
    pub async fn catalog(&self, id: &str) -> Result<Option<Organisation>, RegistryError> {
        let generation = self.changes.generation();
        if let Some((catalog, kept)) = self.catalogs.0.get(id)
            && kept == generation
        {
            return Ok(Some(catalog));
        }
        let found = self.meta.organisation(id).await?;
        if let Some(catalog) = &found {
            self.catalogs.0.insert(id.to_owned(), (catalog.clone(), generation));
        }
        Ok(found)
    }

    /// Refuses early what the store would refuse late: bytes for which their catalog has no room. `sha256` is
    /// their digest, once that is known: what the catalog holds already needs no more room.
    pub async fn check_room(
        &self,
        repository: &RepositoryName,
        bytes: u64,
        sha256: Option<&Sha256>,
    ) -> Result<(), RegistryError> {
        let name = repository.catalog();
        let Some(known) = self.catalog(name).await? else {
            return Err(Refusal::Catalog(CatalogRefusal::Unknown).into());
        };
        let Some(limit) = known.quota.bytes else { return Ok(()) };
        let fits = match sha256 {
            None => bytes <= limit,
            Some(sha256) => {
                let now = self.meta.organisation(name).await?.map_or(known.usage, |now| now.usage);
                now.bytes.saturating_add(bytes) <= limit || self.holds(name, sha256).await?
            }
        };
        if fits { Ok(()) } else { Err(Refusal::Catalog(CatalogRefusal::Bytes { limit }).into()) }
    }

    async fn holds(&self, catalog: &str, sha256: &Sha256) -> Result<bool, RegistryError> {
        Ok(self.meta.holder(sha256, &ReadScope::catalog(catalog)).await?.is_some())
    }

    async fn quota(&self, repository: &RepositoryName) -> Result<Option<u64>, RegistryError> {
        Ok(self.catalog(repository.catalog()).await?.and_then(|catalog| catalog.quota.bytes))
    }

    /// How large a blob may be: never larger than its catalog's quota, but for one that is there already.
    pub(super) async fn room_for(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Room, RegistryError> {
        let room = Room::of(self.limits.max_blob_bytes, self.quota(repository).await?);
        match digest {
            Digest::Sha256(sha256)
                if room.quota.is_some() && self.holds(repository.catalog(), sha256).await? =>
            {
                Ok(Room::of(self.limits.max_blob_bytes, None))
            }
            Digest::Sha256(_) | Digest::Sha512(_) => Ok(room),
        }
    }

    /// How many bytes a session may have after one more request. While it goes on, all sessions of a catalog
    /// together stay within its quota; the last request of one needs no more room than its blob.
    pub(super) async fn room_in_session(
        &self,
        repository: &RepositoryName,
        received: u64,
        ends: bool,
    ) -> Result<Room, RegistryError> {
        let Some(limit) = self.quota(repository).await? else {
            return Ok(Room::of(self.limits.max_blob_bytes, None));
        };
        let staged = if ends { 0 } else { self.meta.staged_bytes(repository.catalog()).await? };
        let left = limit.saturating_sub(staged.saturating_sub(received));
        if left <= received && !ends {
            return Err(Refusal::Catalog(CatalogRefusal::Bytes { limit }).into());
        }
        Ok(Room { bytes: left.min(self.limits.max_blob_bytes), quota: Some(limit) })
    }

    /// Organisations by id: those named, or all.
    pub async fn organisations(
        &self,
        among: Option<&[String]>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Organisation>, RegistryError> {
        Ok(self.meta.organisations(among, after, limit.min(PAGE_LIMIT)).await?)
    }

    /// An organisation with its numbers of now; `system` is none.
    pub async fn organisation(&self, id: &str) -> Result<Option<Organisation>, RegistryError> {
        let found = self.meta.organisation(id).await?;
        Ok(found.filter(|found| found.id != SYSTEM_CATALOG))
    }

    pub async fn create_organisation(
        &self,
        requester: &Requester,
        id: &str,
        name: &str,
        domain: Option<&str>,
    ) -> Result<WriteOrganisation, RegistryError> {
        // What is not there is remembered nowhere, so nothing has to be forgotten.
        Ok(self.meta.create_organisation(id, name, domain, &requester.actor()).await?)
    }

    pub async fn update_organisation(
        &self,
        requester: &Requester,
        id: &str,
        change: OrganisationChange,
    ) -> Result<WriteOrganisation, RegistryError> {
        let written = self.meta.update_organisation(id, change, &requester.actor()).await?;
        // An answer that was lost may stand for a change that was made; the poll sees that one.
        self.changes.raise();
        Ok(written)
    }

    pub async fn delete_organisation(
        &self,
        requester: &Requester,
        id: &str,
    ) -> Result<DeleteOrganisation, RegistryError> {
        let deleted = self.meta.delete_organisation(id, &requester.actor()).await?;
        // An answer that was lost may stand for a change that was made; the poll sees that one.
        self.changes.raise();
        Ok(deleted)
    }
}
