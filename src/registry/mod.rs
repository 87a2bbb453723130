//! The use cases: pull, push, tags, listing, clean-up. Nothing here knows HTTP, SQL or S3.

mod api_tokens;
mod audit;
mod blocked;
mod cache;
mod catalogs;
mod delete;
mod follow;
mod list;
mod manifests;
mod members;
mod mount;
mod packages;
mod plans;
mod plugins;
mod pull;
mod sessions;
mod sweep;
mod sync;
mod tags;
mod tiers;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::access::{Policy, Rule};
use crate::blob::tiered::TieredStore;
use crate::blob::{BlobError, BlobStore};
use crate::digest::{Digest, Sha256};
use crate::manifest::ManifestError;
use crate::meta::{AccessChanges, CatalogRefusal, MetaError, MetaStore, Node, TagRefusal, TagRule};
use crate::name::Tag;
use crate::package::{Finding, Severity};
use crate::staging::{SourceError, Staging, StagingError};
use crate::token::TokenError;
use crate::version::Version;

pub use self::api_tokens::{MadeToken, NewToken};
pub use self::list::PAGE_LIMIT;
pub use self::manifests::{ManifestPush, PushedManifest};
pub use self::plans::{Held, HeldReason, Planned, settings};
pub use self::plugins::{PluginUpload, UploadedPlugin};
pub use self::pull::{Found, FoundManifest, Immutable};
pub use self::sync::{Failing, Readiness, ReadyWhen, SyncCounters, SyncState};
pub use self::tiers::{Elsewhere, TierOptions};
pub use self::upload::{ChunkRange, SessionOf};

use self::blocked::Blocked;
use self::cache::Cache;
use self::catalogs::Catalogs;
use self::follow::Followed;
use self::sessions::Sessions;
use self::tiers::Tiers;

/// Numbers that the operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_blob_bytes: u64,
    /// Most bytes of a plugin's package.
    pub max_plugin_bytes: u64,
    /// Memory for manifests and small blobs, in bytes.
    pub cache_bytes: u64,
    /// How long an upload session may rest.
    pub upload_expiry: Duration,
}

/// This node: how others know it, and the folder where bytes come in.
pub struct Here {
    pub node: Node,
    pub staging: Staging,
}

/// How often the memory answered, for `/metrics`.
#[derive(Clone)]
pub struct CacheCounters {
    pub hits: Counter,
    pub misses: Counter,
}

impl CacheCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self { hits: Counter::noop(), misses: Counter::noop() }
    }
}

/// The registry: what the routes call.
pub struct Registry {
    blobs: Arc<dyn BlobStore>,
    /// What stands below `blobs` where there is a far store.
    tiers: Option<Tiers>,
    meta: Arc<dyn MetaStore>,
    staging: Staging,
    node: Node,
    policy: Policy,
    limits: Limits,
    cache: Cache,
    catalogs: Catalogs,
    changes: Arc<AccessChanges>,
    followed: Followed,
    sessions: Sessions,
    blocked: Blocked,
    /// Packages that may be read at the same time.
    readers: Arc<Semaphore>,
    /// Files of packages that may be unpacked at the same time, and READMEs rendered.
    unpackers: Arc<Semaphore>,
}

impl Registry {
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        meta: Arc<dyn MetaStore>,
        here: Here,
        policy: Policy,
        limits: Limits,
        changes: Arc<AccessChanges>,
        counters: CacheCounters,
    ) -> Self {
        let cache = Cache::new(limits.cache_bytes, counters);
        let Here { node, staging } = here;
        Self {
            blobs,
            tiers: None,
            meta,
            staging,
            node,
            policy,
            limits,
            cache,
            catalogs: Catalogs::default(),
            changes,
            followed: Followed::default(),
            sessions: Sessions::default(),
            blocked: Blocked::default(),
            readers: Arc::new(Semaphore::new(packages::READERS)),
            unpackers: Arc::new(Semaphore::new(members::UNPACKERS)),
        }
    }

    /// Uses what only a store with a far one can do.
    pub fn in_front_of(self, store: TieredStore, options: TierOptions, counters: SyncCounters) -> Self {
        Self { tiers: Some(Tiers::new(store, options, counters)), ..self }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers when the metadata store does.
    pub async fn probe(&self) -> Result<(), RegistryError> {
        Ok(self.meta.probe().await?)
    }
}

/// Why the registry did not do what was asked.
#[derive(Debug, Error)]
pub enum RegistryError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something is broken; the caller learns no more than that.
    #[error(transparent)]
    Broken(#[from] Fault),
}

/// A refusal that the caller can do something about.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("the bytes have the digest {computed}")]
    DigestMismatch { computed: Digest },
    #[error("a blob may have at most {limit} bytes here")]
    BlobTooLarge { limit: u64 },
    #[error("no such upload session")]
    UploadUnknown,
    /// Another node has the bytes of the session, and can go on with it.
    #[error("no such upload session")]
    UploadElsewhere(Box<Node>),
    #[error("another request is writing to this upload session")]
    UploadBusy,
    #[error("the session has {offset} bytes, so the next chunk starts there")]
    ChunkOutOfOrder { offset: u64 },
    #[error("the chunk was announced with {announced} bytes and has another number")]
    ChunkLength { announced: u64 },
    #[error(transparent)]
    Body(#[from] SourceError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{} of the digests it refers to are not in this repository", .0.len())]
    ManifestReferences(Vec<Digest>),
    #[error("the descriptor of {digest} says {declared} bytes, the repository has {actual}")]
    DescriptorSize { digest: Digest, declared: u64, actual: u64 },
    #[error("{}", tag_refusal(.tag, .refusal))]
    Tag { tag: Tag, refusal: TagRefusal },
    #[error("{}", told_catalog(.0))]
    Catalog(CatalogRefusal),
    #[error("this credential does not allow that here")]
    Denied(Rule),
    #[error("a plugin's package may have at most {limit} bytes here")]
    PackageTooLarge { limit: u64 },
    #[error("{}", told_package(.0))]
    Package(Vec<Finding>),
    #[error(
        "version {version} is published with the package {package} (manifest {manifest}), and this is {ours}; \
         publish the change as another version"
    )]
    VersionTaken { version: Version, package: Sha256, manifest: Sha256, ours: Sha256 },
    #[error("the version was deleted in this moment")]
    Withdrawn,
    #[error("{digest} is blocked: {reason}")]
    Blocked { digest: Sha256, reason: String },
}

fn told_package(findings: &[Finding]) -> String {
    let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    match (errors.next(), errors.count()) {
        (None, _) => "the package is refused".to_owned(),
        (Some(first), 0) => format!("the package is refused: {}", first.message),
        (Some(first), more) => format!("the package is refused: {}; and {more} more", first.message),
    }
}

/// Why a tag was not written, for people.
pub fn tag_refusal(tag: &Tag, refusal: &TagRefusal) -> String {
    match refusal {
        TagRefusal::Moved { now: None } => format!("the tag {tag} does not exist"),
        TagRefusal::Moved { now: Some(now) } => format!("the tag {tag} points to {now}"),
        TagRefusal::Kept { rule: TagRule::Version, now } => {
            format!("{tag} is a version of a plugin and stays {now}; publish the change as another version")
        }
        TagRefusal::Kept { rule: TagRule::Immutable, now } => {
            format!("a rule of the catalog makes the tag {tag} immutable, and it is {now}")
        }
        TagRefusal::NotThisVersion => {
            format!("{tag} is a version, and the manifest is not the plugin of that version")
        }
        TagRefusal::Follows => {
            format!("{tag} follows the versions of the plugin; disable or yank one to move it")
        }
        TagRefusal::Kept { rule: TagRule::CreateOnly, now } => {
            format!("this credential may create tags and not move them, and {tag} points to {now}")
        }
    }
}

fn told_catalog(refusal: &CatalogRefusal) -> String {
    match refusal {
        CatalogRefusal::Unknown => "this credential does not allow that here".to_owned(),
        CatalogRefusal::Bytes { limit } => format!("the organisation may hold at most {limit} bytes"),
        CatalogRefusal::Repositories { limit } => {
            format!("the organisation may have at most {limit} repositories")
        }
    }
}

/// Something of ours is broken.
#[derive(Debug, Error)]
pub enum Fault {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("staging: {0}")]
    Staging(std::io::Error),
    #[error("a repository links {0}, but its bytes are not in the blob store")]
    BytesMissing(Sha256),
    #[error("the stored bytes of {0} do not match their digest or size")]
    Damaged(Sha256),
    #[error(transparent)]
    Token(TokenError),
    #[error("loading failed for another request: {0}")]
    Shared(Arc<Fault>),
}

impl Fault {
    /// Whether the same request may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Meta(MetaError::Unavailable(_)) | Self::Blob(BlobError::Unavailable(_)) => true,
            Self::Shared(fault) => fault.is_passing(),
            Self::Meta(_)
            | Self::Blob(_)
            | Self::Staging(_)
            | Self::BytesMissing(_)
            | Self::Damaged(_)
            | Self::Token(_) => false,
        }
    }
}

impl From<MetaError> for RegistryError {
    fn from(error: MetaError) -> Self {
        Self::Broken(Fault::Meta(error))
    }
}

impl From<BlobError> for RegistryError {
    fn from(error: BlobError) -> Self {
        Self::Broken(Fault::Blob(error))
    }
}

impl From<StagingError> for RegistryError {
    fn from(error: StagingError) -> Self {
        match error {
            StagingError::TooLarge { limit } => Self::Refused(Refusal::BlobTooLarge { limit }),
            StagingError::Source(error) => Self::Refused(Refusal::Body(error)),
            StagingError::Io(error) => Self::Broken(Fault::Staging(error)),
        }
    }
}
