//! A blob store in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Blob, BlobError, BlobStore, Content};
use crate::digest::Sha256;
use crate::staging::Staged;

/// Durable for as long as the process lives.
#[derive(Default, Debug)]
pub struct MemoryStore {
    blobs: Mutex<BTreeMap<Sha256, Bytes>>,
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        let bytes = tokio::fs::read(staged.path()).await?;
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.insert(staged.digests().sha256, bytes.into());
        Ok(())
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(blobs
            .get(digest)
            .map(|bytes| Blob { size: bytes.len() as u64, content: Content::Memory(bytes.clone()) }))
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(blobs.get(digest).map(|bytes| bytes.len() as u64))
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = blobs.range((from, Bound::Unbounded));
        Ok(behind.take(limit).map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect())
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(blobs.remove(digest).is_some())
    }
}
