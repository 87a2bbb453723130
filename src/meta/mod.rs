//! The metadata store: which digests, manifests and tags a repository has. One method is one transaction.

mod access_changes;
mod api_tokens;
mod audit;
pub mod faulty;
pub mod feed;
pub mod migrate;
mod organisations;
mod plugin_store;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
mod tag_writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use thiserror::Error;
use uuid::Uuid;

use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Digests, Sha256};
use crate::manifest::Manifest;
use crate::name::{RepositoryName, Tag};
use crate::staging::Checkpoint;
use crate::version::Version;

/// Manifests of this type make their repository a plugin, and its version tags immutable.
pub use crate::package::ARTIFACT_TYPE as PLUGIN_ARTIFACT_TYPE;

use self::feed::{Feed, Nudge};

pub use self::access_changes::AccessChanges;
pub use self::api_tokens::{CreateToken, TokenRecord};
pub use self::audit::{AuditEntry, AuditRecord, Outcome};
pub use self::organisations::{
    CatalogRefusal, DeleteOrganisation, Organisation, OrganisationChange, Quota, Usage, WriteOrganisation,
};
pub use self::plugin_store::{
    BLOCKED, Block, Choice, Deprecation, ENABLEMENT_BYTES, ENABLEMENTS, Enabled, Enablement, Facets,
    Findable, LATEST, NewEnablement, NewPlugin, PAGE_BYTES, PLAN_BYTES, PackageFile, PluginChange,
    PluginQuery, PluginRecord, PluginStore, SetBlock, SetEnablement, Which,
};
pub use self::tag_writes::{
    ImmutableTags, TagCondition, TagRefusal, TagRule, TagWrite, TagWriteRefusal, WriteTags,
};

/// Metadata, at the level of whole operations.
///
/// Every implementation keeps these laws; `tests/suite/meta_laws.rs` runs them:
///
/// 1. When a write returns, it is durable; when it fails, nothing of it is there.
/// 2. Existence is per repository: a digest linked in one is unknown in every other.
/// 3. A manifest is stored only if everything it refers to is linked in its repository with the size it says;
///    what it refers to, its referrer entry and its tags appear with it or not at all.
///    A condition on its tags is decided in the transaction that writes them: of writers that expect the same,
///    one succeeds.
/// 4. A read that begins after a write returned sees it.
/// 5. Deleting a manifest removes its tags and its referrer entry with it; deleting a tag removes nothing else.
/// 6. Every change of a manifest or a tag is one event; the sequence of a catalog has no gaps and no repeats,
///    and repeating a write that changes nothing adds no event.
/// 7. Lists are in byte order, and `after` is exclusive and need not exist.
/// 8. An upload session is there until it is dropped or its blob is linked.
/// 9. Nothing is written to a catalog that does not exist, nor beyond its quota. A digest counts in a catalog once as a blob and
///    once as a manifest, in however many repositories.
/// 10. A version of a plugin, and a tag that a rule of its catalog makes immutable, points to one manifest for
///     ever: a deleted one may come back with the same manifest only. Several tags are written together or not
///     at all.
/// 11. A revoked token is gone for every read that begins later, and so are the grants on a deleted organisation.
///     Every such change, and every other of an organisation that is there, raises the access version.
/// 12. Every change tells the audit log about itself in its own transaction; the log only grows.
/// 18. (13 to 17 are those of [`PluginStore`].) A digest that some repository has, as a blob or as a manifest, is
///     listed once. Hot are those that a tag points to, and what these manifests refer to, over indexes too;
///     what no repository has any more is in no list. What was there before a list began and is there after it
///     ended is in it.
/// 19. A session tells the node that has its bytes, as that node announced itself last; a node with a session is never
///     forgotten.
/// 14. A feed tells every event of every catalog soon after it is committed, as [`Feed`] says.
#[async_trait]
pub trait MetaStore: PluginStore {
    /// Answers when the store can answer.
    async fn probe(&self) -> Result<(), MetaError>;

    /// The blob's link in this repository.
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobRecord>, MetaError>;

    /// Links a blob whose bytes are durable, makes the repository if need be, and ends the upload session
    /// that brought it.
    async fn link_blob(
        &self,
        repository: &RepositoryName,
        blob: BlobRecord,
        upload: Option<Uuid>,
        actor: &Actor,
    ) -> Result<Result<(), CatalogRefusal>, MetaError>;

    /// Links a blob from a repository that has it: the one named, or any in the scope.
    async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        source: MountSource,
        actor: &Actor,
    ) -> Result<MountBlob, MetaError>;

    /// Removes the link of a blob. `false`: there was none.
    async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// A manifest of this repository.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<ManifestRecord>, MetaError>;

    /// The manifest that a tag points to.
    async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<ManifestRecord>, MetaError>;

    /// Some repository in the scope that has these bytes, as a blob or as a manifest.
    async fn holder(&self, sha256: &Sha256, scope: &ReadScope) -> Result<Option<Holder>, MetaError>;

    /// Digests that some repository has, with their sizes, at most `limit` of them; fewer only at the end.
    async fn digests(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, MetaError>;

    /// Those of them that a tag leads to: what a node has to have to serve every tag. It takes its time, as it
    /// looks at all digests in between, a bounded number of them at once.
    async fn hot_digests(&self, after: Option<Sha256>, limit: usize)
    -> Result<Vec<(Sha256, u64)>, MetaError>;

    /// What [`MetaStore::put_manifest`] would answer now. That answer is the one that counts; this one is for
    /// refusing before any bytes are stored.
    async fn check_manifest(&self, new: &NewManifest) -> Result<PutManifest, MetaError>;

    /// Stores a manifest whose bytes are durable, with its references, its referrer entry and its tags.
    async fn put_manifest(&self, new: NewManifest) -> Result<PutManifest, MetaError>;

    /// Deletes a manifest and all its tags. `false`: there was none.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// Deletes a tag and nothing else. `false`: there was none.
    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// At most `limit` tags. `None`: the repository is unknown.
    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>, MetaError>;

    /// Manifests of this repository that refer to the subject, by digest, at most [`REFERRERS_PAGE_BYTES`].
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Sha256>,
    ) -> Result<Page<Referrer>, MetaError>;

    /// Repositories in the scope.
    async fn repositories(
        &self,
        scope: &ReadScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, MetaError>;

    /// Tells where a node is from now on, and by which process. Forgets nodes that have no session and were started
    /// long ago.
    async fn announce_node(&self, node: &Node) -> Result<(), MetaError>;

    /// Starts an upload session. If its node was forgotten meanwhile, it is known again.
    async fn create_upload(&self, upload: Upload) -> Result<(), MetaError>;

    async fn upload(&self, id: Uuid) -> Result<Option<Upload>, MetaError>;

    /// Records how far a session has come. `false`: the session is gone.
    async fn checkpoint_upload(&self, id: Uuid, checkpoint: Checkpoint) -> Result<bool, MetaError>;

    /// Ends a session without a blob. `false`: there was none.
    async fn drop_upload(&self, id: Uuid) -> Result<bool, MetaError>;

    /// Ends a session if nobody has written to it for as long as given.
    async fn expire_upload(&self, id: Uuid, idle: Duration) -> Result<bool, MetaError>;

    /// Sessions that nobody has written to for as long as given, oldest first: those of one node and those that name
    /// none, or those of all nodes.
    async fn stale_uploads(
        &self,
        node: Option<Uuid>,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Uuid>, MetaError>;

    /// How many bytes wait in upload sessions of a catalog's repositories.
    async fn staged_bytes(&self, catalog: &str) -> Result<u64, MetaError>;

    /// Begins to follow the events of all catalogs. `nudge` has the feed look at once.
    async fn follow(&self, nudge: Nudge) -> Result<Box<dyn Feed>, MetaError>;

    /// The sequence number of the last event of a catalog; 0 without one.
    async fn sequence(&self, catalog: &str) -> Result<u64, MetaError>;

    /// The events of a catalog behind a sequence number, in order.
    async fn events(&self, catalog: &str, after: u64, limit: usize) -> Result<Vec<Event>, MetaError>;

    /// What happened to a tag, newest first, before a sequence number if one is given.
    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Event>, MetaError>;

    /// Points tags, each named once, to manifests that their repositories have, all or none.
    async fn write_tags(&self, tags: Vec<TagWrite>, actor: &Actor) -> Result<WriteTags, MetaError>;

    /// The rules that make tags of a catalog immutable, in their order.
    async fn tag_rules(&self, catalog: &str) -> Result<Vec<ImmutableTags>, MetaError>;

    /// Replaces the rules of a catalog. `false`: there is no such catalog.
    async fn set_tag_rules(
        &self,
        catalog: &str,
        rules: Vec<ImmutableTags>,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// Makes an organisation, and with it its catalog.
    async fn create_organisation(
        &self,
        id: &str,
        name: &str,
        domain: Option<&str>,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError>;

    async fn update_organisation(
        &self,
        id: &str,
        change: OrganisationChange,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError>;

    /// Deletes an empty organisation, with the grants on it, its rules and what it enables.
    async fn delete_organisation(&self, id: &str, actor: &Actor) -> Result<DeleteOrganisation, MetaError>;

    /// A catalog as it is now; `system` is one too.
    async fn organisation(&self, id: &str) -> Result<Option<Organisation>, MetaError>;

    /// Organisations by id, of those named or all; `system` is none.
    async fn organisations(
        &self,
        among: Option<&[String]>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Organisation>, MetaError>;

    async fn create_token(&self, token: TokenRecord, actor: &Actor) -> Result<CreateToken, MetaError>;

    /// The token with this secret, unless it was revoked. An expired one is still there.
    async fn token_by_secret(&self, sha256: &Sha256) -> Result<Option<TokenRecord>, MetaError>;

    /// The token of this id, unless it was revoked.
    async fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, MetaError>;

    /// Tokens that were not revoked, by id: those with a grant on one of the catalogs, or all.
    async fn tokens(
        &self,
        catalogs: Option<&[String]>,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<TokenRecord>, MetaError>;

    /// Takes the grants on some catalogs from a token, or all; one without grants is revoked. `false`: there was
    /// no such token, or it had no such grant.
    async fn revoke_token(
        &self,
        id: Uuid,
        catalogs: Option<&[String]>,
        actor: &Actor,
    ) -> Result<bool, MetaError>;

    /// A number that every change raises which takes something away from callers, or changes an organisation.
    async fn access_version(&self) -> Result<u64, MetaError>;

    /// Tells the audit log about something that changed nothing, such as a refusal.
    async fn record(&self, entry: AuditEntry) -> Result<(), MetaError>;

    /// Lines of the audit log behind an id, in order: those about one of the catalogs, or all.
    async fn audit(
        &self,
        catalogs: Option<&[String]>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, MetaError>;

    /// Makes sure that a purpose has a current key, and returns all its keys, the current one first.
    /// `replace`: the candidate becomes the current one; otherwise only if none with a private half is kept.
    async fn ensure_key(
        &self,
        purpose: &str,
        candidate: KeyRecord,
        replace: bool,
    ) -> Result<Vec<KeyRecord>, MetaError>;
}

/// Most bytes of annotations in one page of referrers; one referrer alone may be larger.
pub const REFERRERS_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Most referrers in one page.
pub const REFERRERS_PAGE: usize = 1000;

/// The store could not do its work; never used for "not there".
#[derive(Debug, Clone, Error)]
pub enum MetaError {
    /// Something is wrong that will still be so in a moment.
    #[error("metadata store: {0}")]
    Broken(String),
    /// It cannot be reached, or has no time: the same may succeed later.
    #[error("the metadata store is not available: {0}")]
    Unavailable(String),
}

/// A blob as a repository has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRecord {
    pub digests: Digests,
    pub size: u64,
}

/// A manifest as a repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    pub digests: Digests,
    pub size: u64,
    /// The Content-Type it was pushed with.
    pub media_type: String,
}

impl ManifestRecord {
    /// The digest to answer with when none was asked for: in the algorithm that the manifest was pushed by.
    pub fn digest(&self) -> Digest {
        self.digests.sha512.map_or(Digest::Sha256(self.digests.sha256), Digest::Sha512)
    }
}

/// A repository that has some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub repository: RepositoryName,
    pub size: u64,
}

/// Where a mounted blob may come from.
#[derive(Debug, Clone)]
pub enum MountSource {
    Repository(RepositoryName),
    /// Any repository that the caller may read.
    Scope(ReadScope),
}

/// A manifest to be stored.
#[derive(Debug, Clone)]
pub struct NewManifest {
    pub repository: RepositoryName,
    pub digests: Digests,
    pub size: u64,
    pub manifest: Manifest,
    /// Blobs to be linked in the same transaction, of those that it refers to.
    pub blobs: Vec<BlobRecord>,
    /// The plugin that it is. Its version becomes a tag, too, whether it is among them or not.
    pub plugin: Option<Arc<NewPlugin>>,
    pub tags: Vec<Tag>,
    /// What has to hold for each of these tags before any is written.
    pub condition: TagCondition,
    /// Whether the caller may move tags, and not only create them.
    pub may_move: bool,
    pub actor: Actor,
}

/// What came of mounting a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountBlob {
    Mounted(BlobRecord),
    /// No source has it.
    Absent,
    Refused(CatalogRefusal),
}

/// What came of storing a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutManifest {
    Stored,
    /// The version of the plugin is there with this very manifest, and so are the tags. Nothing was written.
    Present,
    /// The version of the plugin is there with another package, under another manifest, or in another spelling.
    VersionTaken {
        version: Version,
        package: Sha256,
        manifest: Sha256,
    },
    /// It is blocked, or something in it is.
    Blocked {
        digest: Sha256,
        reason: String,
    },
    /// These are not in the repository.
    Missing(Vec<Digest>),
    /// A descriptor says another size than the bytes have.
    WrongSize {
        digest: Digest,
        declared: u64,
        actual: u64,
    },
    /// One of the tags is not written, and so nothing is.
    Tag {
        tag: Tag,
        refusal: TagRefusal,
    },
    Catalog(CatalogRefusal),
}

/// One entry of a list of referrers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub record: ManifestRecord,
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// An upload session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: Uuid,
    pub repository: RepositoryName,
    /// Whose session it is.
    pub subject: String,
    pub checkpoint: Checkpoint,
    /// The node that has its bytes. `None`: it was opened before nodes had ids.
    pub home: Option<Node>,
}

/// How long a node that has no session is remembered after its start.
pub const NODE_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// One of the processes that serve a registry together, as it announced itself last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Stays with the data folder.
    pub id: Uuid,
    /// The process: another after each start.
    pub run: Uuid,
    /// How other nodes reach it, without a slash at the end. `None`: they do not.
    pub url: Option<String>,
}

/// One change of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub sequence: u64,
    pub change: Change,
    pub repository: RepositoryName,
    pub actor: String,
    pub at: SystemTime,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The state of a plugin's version.
    VersionChanged {
        tag: Tag,
        digest: Sha256,
    },
    ManifestPushed {
        digest: Sha256,
    },
    ManifestDeleted {
        digest: Sha256,
    },
    TagSet {
        tag: Tag,
        digest: Sha256,
        previous: Option<Sha256>,
    },
    TagDeleted {
        tag: Tag,
        digest: Sha256,
    },
    BlobDeleted {
        digest: Sha256,
    },
}

/// A key that replicas share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    pub id: String,
    pub public: Vec<u8>,
    /// Kept only for keys that Quire made itself.
    pub private: Option<Vec<u8>>,
    /// When another key took its place.
    pub retired: Option<SystemTime>,
}
