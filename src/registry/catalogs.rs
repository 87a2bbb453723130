//! Catalogs: which there are, whether something fits into them, and organisations as their owners.

use std::time::Duration;

use moka::sync::Cache;

use super::{PAGE_LIMIT, Refusal, Registry, RegistryError};
use crate::access::{ReadScope, Requester, SYSTEM_CATALOG};
use crate::digest::Sha256;
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
        let full = Refusal::Catalog(CatalogRefusal::Bytes { limit });
        if bytes > limit {
            return Err(full.into());
        }
        let Some(sha256) = sha256 else { return Ok(()) };
        let now = self.meta.organisation(name).await?.map_or(known.usage, |now| now.usage);
        let fits = now.bytes.saturating_add(bytes) <= limit;
        if fits || self.meta.holder(sha256, &ReadScope::catalog(name)).await?.is_some() {
            return Ok(());
        }
        Err(full.into())
    }

    /// Refuses bytes for upload sessions of a catalog whose sessions hold its whole quota already.
    pub(super) async fn check_staging(&self, repository: &RepositoryName) -> Result<(), RegistryError> {
        let name = repository.catalog();
        let Some(limit) = self.catalog(name).await?.and_then(|catalog| catalog.quota.bytes) else {
            return Ok(());
        };
        if self.meta.staged_bytes(name).await? > limit {
            return Err(Refusal::Catalog(CatalogRefusal::Bytes { limit }).into());
        }
        Ok(())
    }

    /// The largest blob that a catalog takes: never more than its whole quota.
    pub(super) async fn blob_limit(&self, repository: &RepositoryName) -> Result<u64, RegistryError> {
        let quota = self.catalog(repository.catalog()).await?.and_then(|catalog| catalog.quota.bytes);
        Ok(quota.map_or(self.limits.max_blob_bytes, |quota| quota.min(self.limits.max_blob_bytes)))
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
