//! [`PluginStore`] in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{SqliteMeta, blocks, enablements, look, plugin_lists, plugin_versions};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{
    Block, Enabled, Facets, MetaError, NewEnablement, PackageFile, Page, PluginChange, PluginQuery,
    PluginRecord, PluginStore, SetBlock, SetEnablement, Which,
};
use crate::name::RepositoryName;
use crate::version::Version;

#[async_trait]
impl PluginStore for SqliteMeta {
    async fn plugins(&self, query: &PluginQuery) -> Result<Page<PluginRecord>, MetaError> {
        let query = query.clone();
        self.read(move |db| plugin_lists::list(db, &query)).await
    }

    async fn plugin_facets(&self, query: &PluginQuery) -> Result<Facets, MetaError> {
        let query = query.clone();
        self.read(move |db| plugin_lists::facets(db, &query)).await
    }

    async fn plugin_versions(
        &self,
        repository: &RepositoryName,
        below: Option<&Version>,
        limit: usize,
    ) -> Result<Page<PluginRecord>, MetaError> {
        let (repository, below) = (repository.clone(), below.cloned());
        self.read(move |db| plugin_versions::list(db, &repository, below.as_ref(), limit)).await
    }

    async fn plugin(
        &self,
        repository: &RepositoryName,
        which: &Which,
    ) -> Result<Option<PluginRecord>, MetaError> {
        let (repository, which) = (repository.clone(), which.clone());
        self.read(move |db| plugin_versions::find(db, &repository, &which)).await
    }

    async fn plugin_by_id(&self, id: Uuid) -> Result<Option<PluginRecord>, MetaError> {
        self.read(move |db| plugin_versions::find_by_id(db, id)).await
    }

    async fn package_files(&self, package: &Sha256) -> Result<Vec<PackageFile>, MetaError> {
        let package = *package;
        self.read(move |db| plugin_versions::files(db, &package)).await
    }

    async fn package_file(&self, package: &Sha256, path: &str) -> Result<Option<PackageFile>, MetaError> {
        let (package, path) = (*package, path.to_owned());
        self.read(move |db| plugin_versions::find_file(db, &package, &path)).await
    }

    async fn change_plugin(
        &self,
        id: Uuid,
        change: PluginChange,
        actor: &Actor,
    ) -> Result<Option<PluginRecord>, MetaError> {
        let actor = actor.clone();
        self.write(move |db| plugin_versions::change(db, id, &change, &actor)).await
    }

    async fn set_enablement(
        &self,
        organisation: &str,
        new: NewEnablement,
        actor: &Actor,
    ) -> Result<SetEnablement, MetaError> {
        let (organisation, actor) = (organisation.to_owned(), actor.clone());
        self.write(move |db| enablements::set(db, &organisation, &new, &actor)).await
    }

    async fn delete_enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (organisation, plugin, actor) = (organisation.to_owned(), plugin.clone(), actor.clone());
        self.write(move |db| enablements::delete(db, &organisation, &plugin, &actor)).await
    }

    async fn enablement(
        &self,
        organisation: &str,
        plugin: &RepositoryName,
    ) -> Result<Option<Enabled>, MetaError> {
        let (organisation, plugin) = (organisation.to_owned(), plugin.clone());
        self.read(move |db| enablements::find_enabled(db, &organisation, &plugin)).await
    }

    async fn enablements(&self, organisation: &str) -> Result<Vec<Enabled>, MetaError> {
        let organisation = organisation.to_owned();
        self.read(move |db| enablements::list(db, &organisation)).await
    }

    async fn block(&self, digest: Sha256, reason: &str, actor: &Actor) -> Result<SetBlock, MetaError> {
        let (reason, actor) = (reason.to_owned(), actor.clone());
        self.write(move |db| blocks::set(db, &digest, &reason, &actor)).await
    }

    async fn unblock(&self, digest: &Sha256, actor: &Actor) -> Result<bool, MetaError> {
        let (digest, actor) = (*digest, actor.clone());
        self.write(move |db| blocks::delete(db, &digest, &actor)).await
    }

    async fn blocks(&self, after: Option<Sha256>, limit: usize) -> Result<Page<Block>, MetaError> {
        self.read(move |db| blocks::list(db, after, limit)).await
    }

    async fn blocked_digests(&self) -> Result<Vec<(Sha256, Arc<str>)>, MetaError> {
        self.counters.polls.increment(1);
        look(&self.poller, blocks::all).await
    }
}
