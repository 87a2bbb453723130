//! [`PluginStore`] in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::attempts::{attempted, poll, read, read_snapshot, write};
use super::{PgMeta, blocks, enablements, packages, plugin_lists, plugin_versions};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{
    Block, Enabled, Facets, MetaError, NewEnablement, PackageFile, Page, PluginChange, PluginQuery,
    PluginRecord, PluginStore, SetBlock, SetEnablement, Which,
};
use crate::name::RepositoryName;
use crate::version::Version;

#[async_trait]
impl PluginStore for PgMeta {
    async fn plugins(&self, query: &PluginQuery) -> Result<Page<PluginRecord>, MetaError> {
        read!(self, |db| plugin_lists::list(db, query))
    }

    async fn plugin_facets(&self, query: &PluginQuery) -> Result<Facets, MetaError> {
        read!(self, |db| plugin_lists::facets(db, query))
    }

    async fn plugin_versions(
        &self,
        repository: &RepositoryName,
        below: Option<&Version>,
        limit: usize,
    ) -> Result<Page<PluginRecord>, MetaError> {
        read!(self, |db| plugin_versions::list(db, repository, below, limit))
    }

    async fn plugin(
        &self,
        repository: &RepositoryName,
        which: &Which,
    ) -> Result<Option<PluginRecord>, MetaError> {
        read!(self, |db| plugin_versions::find(db, repository, which))
    }

    async fn plugin_by_id(&self, id: Uuid) -> Result<Option<PluginRecord>, MetaError> {
        read!(self, |db| plugin_versions::find_by_id(db, id))
    }

    async fn package_files(&self, package: &Sha256) -> Result<Vec<PackageFile>, MetaError> {
        read!(self, |db| packages::files(db, package))
    }

    async fn package_file(&self, package: &Sha256, path: &str) -> Result<Option<PackageFile>, MetaError> {
        read!(self, |db| packages::find_file(db, package, path))
    }

    async fn change_plugin(
        &self,
        id: Uuid,
        change: PluginChange,
        actor: &Actor,
    ) -> Result<Option<PluginRecord>, MetaError> {
        write!(self, |work| plugin_versions::change(work, id, &change, actor))
    }

    async fn set_enablement(
        &self,
        organisation: &str,
        new: NewEnablement,
        actor: &Actor,
    ) -> Result<SetEnablement, MetaError> {
        write!(self, |work| enablements::set(work, organisation, &new, actor))
    }

    async fn delete_enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| enablements::delete(work, organisation, plugin, actor))
    }

    async fn enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<Option<Enabled>, MetaError> {
        read_snapshot!(self, |db| enablements::find_enabled(db, organisation, plugin))
    }

    async fn enablements(&self, organisation: &str) -> Result<Vec<Enabled>, MetaError> {
        read_snapshot!(self, |db| enablements::list(db, organisation))
    }

    async fn block(&self, digest: Sha256, reason: &str, actor: &Actor) -> Result<SetBlock, MetaError> {
        write!(self, |work| blocks::set(work, &digest, reason, actor))
    }

    async fn unblock(&self, digest: &Sha256, actor: &Actor) -> Result<bool, MetaError> {
        write!(self, |work| blocks::delete(work, digest, actor))
    }

    async fn blocks(&self, after: Option<Sha256>, limit: usize) -> Result<Page<Block>, MetaError> {
        read!(self, |db| blocks::list(db, after, limit))
    }

    async fn blocked_digests(&self) -> Result<Vec<(Sha256, Arc<str>)>, MetaError> {
        poll!(self, |db| blocks::all(db))
    }
}
