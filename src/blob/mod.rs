//! The blob store: bytes under their SHA-256, and the promises that every implementation keeps.

pub mod far;
pub mod faulty;
pub mod file_body;
pub mod filling;
pub mod local;
pub mod memory;
#[cfg(feature = "s3")]
pub mod s3;
pub mod tiered;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use self::filling::Filling;
use crate::digest::Sha256;
use crate::staging::Staged;

/// Bytes under their digest. It knows nothing of repositories and grants nothing (promise P3).
///
/// Every implementation keeps these laws; `tests/suite/blob_laws.rs` runs them against all:
///
/// 1. What was put is opened with the same bytes and size.
/// 2. A digest that was never put is `None`, not an error.
/// 3. When `put` returns, the bytes are durable; when it fails or is cut short, the blob is absent or whole.
/// 4. Putting the same bytes again, at the same time too, succeeds and changes nothing.
/// 5. An open blob stays readable whatever happens to the store; one that is still arriving, unless that ends early.
/// 6. `put` leaves the staged file where it is.
/// 7. `size` is that of the bytes under the digest, and reads none of them.
/// 8. Lists are in the order of digests, `after` is exclusive and need not exist, and what was there before the list began
///    and is there after it ended is in it. What `put` has not finished is in no list.
/// 9. A removal is durable when it returns, and removes nothing else. What comes again after it is there again.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Makes staged bytes durable under their SHA-256.
    async fn put(&self, staged: &Staged) -> Result<(), BlobError>;

    /// Opens a blob for reading.
    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError>;

    /// How many bytes stand under a digest. `None`: it is not there.
    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError>;

    /// At most `limit` blobs with their sizes; fewer only at the end.
    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError>;

    /// Removes a blob to which no row points any more. `false`: it was not there.
    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore + ?Sized> BlobStore for Arc<S> {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        S::put(self, staged).await
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        S::open(self, digest).await
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        S::size(self, digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        S::list(self, after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        S::remove(self, digest).await
    }
}

/// The store could not do its work; never used for "not there".
#[derive(Debug, Error)]
pub enum BlobError {
    #[error("blob store: {0}")]
    Io(#[from] io::Error),
    /// It cannot be reached, or has no time: the same may succeed later.
    #[error("the blob store is not available: {0}")]
    Unavailable(String),
}

/// An open blob.
#[derive(Clone, Debug)]
pub struct Blob {
    pub size: u64,
    pub content: Content,
}

/// How an open blob can be read.
#[derive(Clone, Debug)]
pub enum Content {
    /// Already in memory.
    Memory(Bytes),
    /// An open file of exactly the blob's bytes, to be read at offsets.
    File(Arc<File>),
    /// A file that the bytes are still coming to.
    Filling(Filling),
}

/// Content that is all there.
#[derive(Clone, Debug)]
pub enum Whole {
    Memory(Bytes),
    File(Arc<File>),
}

impl Content {
    /// Waits until all bytes are there, and are what the digest names.
    pub async fn whole(self) -> Result<Whole, BlobError> {
        match self {
            Self::Memory(bytes) => Ok(Whole::Memory(bytes)),
            Self::File(file) => Ok(Whole::File(file)),
            Self::Filling(filling) => Ok(Whole::File(filling.whole().await?)),
        }
    }
}

impl From<Whole> for Content {
    fn from(whole: Whole) -> Self {
        match whole {
            Whole::Memory(bytes) => Self::Memory(bytes),
            Whole::File(file) => Self::File(file),
        }
    }
}

impl Blob {
    /// All bytes at once, for small blobs; `None` when they do not have this digest.
    pub async fn read_checked(self, digest: Sha256) -> Result<Option<Bytes>, BlobError> {
        let (size, content) = (self.size, self.content.whole().await?);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = match content {
                Whole::Memory(bytes) => bytes,
                Whole::File(file) => {
                    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
                    file.read_exact_at(&mut bytes, 0)?;
                    bytes.into()
                }
            };
            Ok::<_, io::Error>((Sha256::of(&bytes) == digest).then_some(bytes))
        });
        Ok(read.await.map_err(io::Error::other)??)
    }
}
