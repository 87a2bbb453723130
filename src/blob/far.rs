//! Far stores: blobs over a network, and what it takes to read one like any other blob.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::memory::MemoryStore;
use super::{Blob, BlobError, BlobStore, Content};
use crate::digest::{Algorithm, Hasher, Sha256};
use crate::staging::{Source, SourceError, Staged, Staging};

/// A far store: blobs over a network, that arrive piece by piece.
///
/// It keeps the laws of [`BlobStore`] as far as they are about the same calls. [`FarOnly`] makes the rest of it.
#[async_trait]
pub trait FarStore: Send + Sync + 'static {
    /// Makes staged bytes durable under their SHA-256 (laws 3, 4 and 6 of [`BlobStore`]).
    async fn put(&self, staged: &Staged) -> Result<(), BlobError>;

    /// Starts reading a blob. The bytes are as they come: who reads them hashes them.
    async fn fetch(&self, digest: &Sha256) -> Result<Option<Fetched>, BlobError>;

    /// How many bytes stand under a digest. `None`: it is not there.
    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError>;

    /// At most `limit` blobs with their sizes; fewer only at the end.
    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError>;

    /// Removes a blob to which no row points any more. `false`: it was not there.
    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError>;

    /// A URL that gives the bytes to who holds it, the same one for everybody within a window of time. `None`: this
    /// store has none. Whether the blob is there is not asked.
    async fn presigned_get(&self, digest: &Sha256) -> Result<Option<Presigned>, BlobError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<F: FarStore + ?Sized> FarStore for Arc<F> {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        F::put(self, staged).await
    }

    async fn fetch(&self, digest: &Sha256) -> Result<Option<Fetched>, BlobError> {
        F::fetch(self, digest).await
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        F::size(self, digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        F::list(self, after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        F::remove(self, digest).await
    }

    async fn presigned_get(&self, digest: &Sha256) -> Result<Option<Presigned>, BlobError> {
        F::presigned_get(self, digest).await
    }
}

/// A blob that is on its way.
pub struct Fetched {
    /// What the store says that it has; the source may end before it.
    pub size: u64,
    pub source: Box<dyn Source>,
}

/// A URL with a signature in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    pub url: String,
    /// When the store refuses it.
    pub expires: SystemTime,
}

/// A far store with no near one in front: every `open` fetches the whole blob into a file without a name.
///
/// For what reads every blob once, and for the laws.
pub struct FarOnly<F> {
    far: F,
    staging: Staging,
}

impl<F: FarStore> FarOnly<F> {
    pub fn new(far: F, staging: Staging) -> Self {
        Self { far, staging }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<F: FarStore> BlobStore for FarOnly<F> {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        self.far.put(staged).await
    }

    /// Bytes that do not have the digest are an error: they were damaged in the store or on their way.
    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        let Some(fetched) = self.far.fetch(digest).await? else { return Ok(None) };
        let size = fetched.size;
        let staging = self.staging.clone();
        let file = spawn_blocking(move || staging.scratch()).await.map_err(std::io::Error::other)??;
        let (file, found) = fill(file, fetched).await?;
        if found != *digest {
            return Err(BlobError::Io(std::io::Error::other(format!(
                "the far store has other bytes under {digest}"
            ))));
        }
        Ok(Some(Blob { size, content: Content::File(Arc::new(file)) }))
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.far.size(digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.far.list(after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.far.remove(digest).await
    }
}

/// Writes all that comes to a file, and says what digest it has.
async fn fill(mut file: File, mut fetched: Fetched) -> Result<(File, Sha256), BlobError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut offset = 0;
    loop {
        let piece = fetched.source.next().await.map_err(broke_off)?;
        let Some(piece) = piece else { return Ok((file, hasher.finish().sha256)) };
        let length = piece.len() as u64;
        let write = spawn_blocking(move || {
            hasher.update(&piece);
            file.write_all_at(&piece, offset)?;
            Ok::<_, std::io::Error>((file, hasher))
        });
        (file, hasher) = write.await.map_err(std::io::Error::other)??;
        offset += length;
    }
}

/// A fetch that broke off may succeed the next time.
fn broke_off(error: SourceError) -> BlobError {
    BlobError::Unavailable(format!("a fetch broke off: {error}"))
}

/// A far store in memory, for tests. Blobs come in pieces of 64 KiB.
#[derive(Default, Debug)]
pub struct MemoryFar {
    blobs: MemoryStore,
}

#[async_trait]
impl FarStore for MemoryFar {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        self.blobs.put(staged).await
    }

    async fn fetch(&self, digest: &Sha256) -> Result<Option<Fetched>, BlobError> {
        let Some(Blob { size, content: Content::Memory(bytes) }) = self.blobs.open(digest).await? else {
            return Ok(None);
        };
        Ok(Some(Fetched { size, source: Box::new(Pieces(bytes)) }))
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.blobs.size(digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.blobs.list(after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.blobs.remove(digest).await
    }

    async fn presigned_get(&self, _digest: &Sha256) -> Result<Option<Presigned>, BlobError> {
        Ok(None)
    }
}

struct Pieces(Bytes);

#[async_trait]
impl Source for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let length = self.0.len().min(64 * 1024);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}
