//! The use cases: pull, push, tags, listing, clean-up. Nothing here knows HTTP, SQL or S3.

mod cache;
mod delete;
mod list;
mod manifests;
mod mount;
mod pull;
mod sessions;
mod sweep;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use thiserror::Error;

use crate::access::{Caller, Policy};
use crate::blob::{BlobError, BlobStore};
use crate::digest::{Digest, Sha256};
use crate::manifest::ManifestError;
use crate::meta::{MetaError, MetaStore};
use crate::name::Tag;
use crate::staging::{SourceError, Staging, StagingError};

pub use self::list::PAGE_LIMIT;
pub use self::manifests::{ManifestPush, PushedManifest};
pub use self::pull::{Found, FoundManifest, Immutable};
pub use self::upload::{ChunkRange, SessionOf};

use self::cache::Cache;
use self::sessions::Sessions;

/// Numbers that the operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_blob_bytes: u64,
    /// Memory for manifests and small blobs, in bytes.
    pub cache_bytes: u64,
    /// How long an upload session may rest.
    pub upload_expiry: Duration,
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
    meta: Arc<dyn MetaStore>,
    staging: Staging,
    policy: Policy,
    limits: Limits,
    cache: Cache,
    sessions: Sessions,
}

impl Registry {
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        meta: Arc<dyn MetaStore>,
        staging: Staging,
        policy: Policy,
        limits: Limits,
        counters: CacheCounters,
    ) -> Self {
        let cache = Cache::new(limits.cache_bytes, counters);
        Self { blobs, meta, staging, policy, limits, cache, sessions: Sessions::default() }
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

/// Who a write is recorded for.
fn actor(caller: &Caller) -> &str {
    caller.subject()
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
    #[error("the tag {tag} {}", .now.map_or_else(|| "does not exist".to_owned(), |now| format!("points to {now}")))]
    TagMoved { tag: Tag, now: Option<Digest> },
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
    #[error("loading failed for another request: {0}")]
    Shared(Arc<Fault>),
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
