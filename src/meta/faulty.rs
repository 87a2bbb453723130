//! A wrapper that makes a metadata store fail on purpose, for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::feed::{Feed, Look, Nudge};
use super::{
    AuditEntry, AuditRecord, BlobRecord, Block, CatalogRefusal, CreateToken, DeleteOrganisation, Enabled,
    Event, Facets, Holder, ImmutableTags, KeyRecord, ManifestRecord, MetaError, MetaStore, MountBlob,
    MountSource, NewEnablement, NewManifest, Node, Organisation, OrganisationChange, PackageFile, Page,
    PluginChange, PluginQuery, PluginRecord, PluginStore, PutManifest, Referrer, SetBlock, SetEnablement,
    TagWrite, TokenRecord, Upload, Which, WriteOrganisation, WriteTags,
};
use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Sha256};
use crate::fault::Fault;
use crate::name::{RepositoryName, Tag};
use crate::staging::Checkpoint;
use crate::version::Version;

/// Passes calls through, except while a fault is switched on.
pub struct FaultyMeta {
    inner: Arc<dyn MetaStore>,
    switch: Arc<Switch>,
}

#[derive(Default)]
struct Switch(Mutex<Option<Fault>>);

/// How often a call that hangs looks whether it still does.
const HANGS: Duration = Duration::from_millis(10);

impl Switch {
    fn get(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn before(&self) -> Result<(), MetaError> {
        while self.get() == Some(Fault::Hangs) {
            tokio::time::sleep(HANGS).await;
        }
        match self.get() {
            Some(Fault::Before) => Err(MetaError::Broken("a planned fault".into())),
            Some(Fault::Unavailable) => Err(MetaError::Unavailable("a planned fault".into())),
            Some(Fault::After | Fault::Hangs) | None => Ok(()),
        }
    }

    fn after(&self) -> Result<(), MetaError> {
        match self.get() {
            Some(Fault::After) => Err(MetaError::Broken("a planned fault".into())),
            Some(Fault::Before | Fault::Unavailable | Fault::Hangs) | None => Ok(()),
        }
    }
}

impl FaultyMeta {
    pub fn new(inner: Arc<dyn MetaStore>) -> Self {
        Self { inner, switch: Arc::default() }
    }

    /// From now on every call goes wrong like this, or none.
    pub fn set(&self, fault: Option<Fault>) {
        *self.switch.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// Every method of the trait in the same way; `missing_trait_methods` sees to it that none is left out.
macro_rules! pass_through {
    ($implemented:ident $({ $($other:item)* })?: $(fn $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)*) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl $implemented for FaultyMeta {
            $($($other)*)?

            $(async fn $name(&self, $($argument: $kind),*) -> Result<$output, MetaError> {
                self.switch.before().await?;
                let output = self.inner.$name($($argument),*).await?;
                self.switch.after()?;
                Ok(output)
            })*
        }
    };
}

pass_through! { PluginStore:
    fn plugins(query: &PluginQuery) -> Page<PluginRecord>;
    fn plugin_facets(query: &PluginQuery) -> Facets;
    fn plugin_versions(repository: &RepositoryName, below: Option<&Version>, limit: usize) -> Page<PluginRecord>;
    fn plugin(repository: &RepositoryName, which: &Which) -> Option<PluginRecord>;
    fn plugin_by_id(id: Uuid) -> Option<PluginRecord>;
    fn package_files(package: &Sha256) -> Vec<PackageFile>;
    fn package_file(package: &Sha256, path: &str) -> Option<PackageFile>;
    fn change_plugin(id: Uuid, change: PluginChange, actor: &Actor) -> Option<PluginRecord>;
    fn set_enablement(organisation: &str, new: NewEnablement, actor: &Actor) -> SetEnablement;
    fn delete_enablement(organisation: &str, plugin: &RepositoryName, actor: &Actor) -> bool;
    fn enablement(organisation: &str, plugin: &RepositoryName) -> Option<Enabled>;
    fn enablements(organisation: &str) -> Vec<Enabled>;
    fn block(digest: Sha256, reason: &str, actor: &Actor) -> SetBlock;
    fn unblock(digest: &Sha256, actor: &Actor) -> bool;
    fn blocks(after: Option<Sha256>, limit: usize) -> Page<Block>;
    fn blocked_digests() -> Vec<(Sha256, Arc<str>)>;
}

/// Goes wrong as the calls of its store do.
struct FaultyFeed {
    inner: Box<dyn Feed>,
    switch: Arc<Switch>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Feed for FaultyFeed {
    async fn next(&mut self) -> Result<Look, MetaError> {
        let look = self.inner.next().await?;
        self.switch.before().await?;
        self.switch.after()?;
        Ok(look)
    }
}

pass_through! { MetaStore {
    async fn follow(&self, nudge: Nudge) -> Result<Box<dyn Feed>, MetaError> {
        self.switch.before().await?;
        let inner = self.inner.follow(nudge).await?;
        self.switch.after()?;
        Ok(Box::new(FaultyFeed { inner, switch: Arc::clone(&self.switch) }))
    }
}:
    fn probe() -> ();
    fn blob(repository: &RepositoryName, digest: &Digest) -> Option<BlobRecord>;
    fn link_blob(repository: &RepositoryName, blob: BlobRecord, upload: Option<Uuid>, actor: &Actor) -> Result<(), CatalogRefusal>;
    fn mount_blob(repository: &RepositoryName, digest: &Digest, source: MountSource, actor: &Actor) -> MountBlob;
    fn unlink_blob(repository: &RepositoryName, digest: &Digest, actor: &Actor) -> bool;
    fn manifest(repository: &RepositoryName, digest: &Digest) -> Option<ManifestRecord>;
    fn tag(repository: &RepositoryName, tag: &Tag) -> Option<ManifestRecord>;
    fn holder(sha256: &Sha256, scope: &ReadScope) -> Option<Holder>;
    fn digests(after: Option<Sha256>, limit: usize) -> Vec<(Sha256, u64)>;
    fn hot_digests(after: Option<Sha256>, limit: usize) -> Vec<(Sha256, u64)>;
    fn check_manifest(new: &NewManifest) -> PutManifest;
    fn put_manifest(new: NewManifest) -> PutManifest;
    fn delete_manifest(repository: &RepositoryName, digest: &Digest, actor: &Actor) -> bool;
    fn delete_tag(repository: &RepositoryName, tag: &Tag, actor: &Actor) -> bool;
    fn tags(repository: &RepositoryName, after: Option<&str>, limit: usize) -> Option<Page<Tag>>;
    fn referrers(repository: &RepositoryName, subject: &Digest, artifact_type: Option<&str>, after: Option<Sha256>) -> Page<Referrer>;
    fn repositories(scope: &ReadScope, after: Option<&str>, limit: usize) -> Page<RepositoryName>;
    fn announce_node(node: &Node) -> ();
    fn create_upload(upload: Upload) -> ();
    fn upload(id: Uuid) -> Option<Upload>;
    fn checkpoint_upload(id: Uuid, checkpoint: Checkpoint) -> bool;
    fn drop_upload(id: Uuid) -> bool;
    fn expire_upload(id: Uuid, idle: Duration) -> bool;
    fn stale_uploads(node: Option<Uuid>, idle: Duration, limit: usize) -> Vec<Uuid>;
    fn staged_bytes(catalog: &str) -> u64;
    fn sequence(catalog: &str) -> u64;
    fn events(catalog: &str, after: u64, limit: usize) -> Vec<Event>;
    fn tag_history(repository: &RepositoryName, tag: &Tag, before: Option<u64>, limit: usize) -> Page<Event>;
    fn write_tags(tags: Vec<TagWrite>, actor: &Actor) -> WriteTags;
    fn tag_rules(catalog: &str) -> Vec<ImmutableTags>;
    fn set_tag_rules(catalog: &str, rules: Vec<ImmutableTags>, actor: &Actor) -> bool;
    fn create_organisation(id: &str, name: &str, domain: Option<&str>, actor: &Actor) -> WriteOrganisation;
    fn update_organisation(id: &str, change: OrganisationChange, actor: &Actor) -> WriteOrganisation;
    fn delete_organisation(id: &str, actor: &Actor) -> DeleteOrganisation;
    fn organisation(id: &str) -> Option<Organisation>;
    fn organisations(among: Option<&[String]>, after: Option<&str>, limit: usize) -> Page<Organisation>;
    fn create_token(token: TokenRecord, actor: &Actor) -> CreateToken;
    fn token_by_secret(sha256: &Sha256) -> Option<TokenRecord>;
    fn token(id: Uuid) -> Option<TokenRecord>;
    fn tokens(catalogs: Option<&[String]>, after: Option<Uuid>, limit: usize) -> Page<TokenRecord>;
    fn revoke_token(id: Uuid, catalogs: Option<&[String]>, actor: &Actor) -> bool;
    fn access_version() -> u64;
    fn record(entry: AuditEntry) -> ();
    fn audit(catalogs: Option<&[String]>, after: u64, limit: usize) -> Vec<AuditRecord>;
    fn ensure_key(purpose: &str, candidate: KeyRecord, replace: bool) -> Vec<KeyRecord>;
}
