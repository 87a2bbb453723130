//! A wrapper that makes a blob store fail on purpose, for tests.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{Blob, BlobError, BlobStore};
use crate::digest::Sha256;
use crate::fault::Fault;
use crate::staging::Staged;

/// Passes calls through, except those for which a fault was planned.
pub struct FaultyStore<S> {
    inner: S,
    puts: Mutex<VecDeque<Fault>>,
    opens: Mutex<VecDeque<Fault>>,
}

impl<S> FaultyStore<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, puts: Mutex::default(), opens: Mutex::default() }
    }

    /// The next `put` that has no fault yet goes wrong like this.
    pub fn fail_put(&self, fault: Fault) {
        self.puts.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// The next `open` that has no fault yet goes wrong like this.
    pub fn fail_open(&self, fault: Fault) {
        self.opens.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }
}

fn next(plan: &Mutex<VecDeque<Fault>>) -> Option<Fault> {
    plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn broken<T>() -> Result<T, BlobError> {
    Err(io::Error::other("a planned fault").into())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for FaultyStore<S> {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        match next(&self.puts) {
            None => self.inner.put(staged).await,
            Some(Fault::Before) => broken(),
            Some(Fault::Unavailable) => Err(BlobError::Unavailable("a planned fault".into())),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::After) => {
                self.inner.put(staged).await?;
                broken()
            }
        }
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        match next(&self.opens) {
            None => self.inner.open(digest).await,
            Some(Fault::Before | Fault::After) => broken(),
            Some(Fault::Unavailable) => Err(BlobError::Unavailable("a planned fault".into())),
            Some(Fault::Hangs) => std::future::pending().await,
        }
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.inner.size(digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.inner.list(after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.inner.remove(digest).await
    }
}
