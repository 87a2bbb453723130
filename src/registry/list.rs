//! Lists: tags, referrers, repositories, always in pages.

use super::{Registry, RegistryError};
use crate::access::Caller;
use crate::digest::{Digest, Sha256};
use crate::meta::{Event, Page, Referrer};
use crate::name::{RepositoryName, Tag};

/// Most entries in one page, and how many a client gets that doesn't say.
pub const PAGE_LIMIT: usize = 1000;

impl Registry {
    /// `None`: the repository is unknown.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>, RegistryError> {
        Ok(self.meta.tags(repository, after, limit.min(PAGE_LIMIT)).await?)
    }

    /// What happened to a tag, newest first.
    pub async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Event>, RegistryError> {
        Ok(self.meta.tag_history(repository, tag, before, limit.min(PAGE_LIMIT)).await?)
    }

    /// Repositories that the caller may list.
    pub async fn repositories(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, RegistryError> {
        let scope = self.policy.listable(caller);
        Ok(self.meta.repositories(&scope, after, limit.min(PAGE_LIMIT)).await?)
    }

    /// Manifests that refer to a digest, whether or not it exists.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Sha256>,
    ) -> Result<Page<Referrer>, RegistryError> {
        Ok(self.meta.referrers(repository, subject, artifact_type, after).await?)
    }
}
