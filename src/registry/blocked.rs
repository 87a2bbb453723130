//! Blocked digests: kept in memory on every node, asked for whenever bytes come in or go out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Refusal, Registry, RegistryError};
use crate::access::Requester;
use crate::digest::Sha256;
use crate::meta::{AccessChanges, Block, MetaError, MetaStore, Page, SetBlock};

type Reasons = HashMap<Sha256, Arc<str>>;

/// How long nobody asks again after the store did not answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is blocked, as of a generation of the changes that nodes tell each other of.
#[derive(Default)]
pub(super) struct Blocked {
    known: RwLock<Option<(u64, Arc<Reasons>)>>,
    /// One more than the generation in which nothing at all was blocked, so that most pulls ask no further.
    nothing: AtomicU64,
    /// Held while they are read; when that failed last.
    reading: tokio::sync::Mutex<Option<Instant>>,
}

impl Blocked {
    fn known(&self) -> Option<(u64, Arc<Reasons>)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them as of now, unless another request did meanwhile.
    async fn read(&self, meta: &dyn MetaStore, changes: &AccessChanges) -> Result<Arc<Reasons>, MetaError> {
        let mut failed = self.reading.lock().await;
        let generation = changes.generation();
        if let Some((read, reasons)) = self.known()
            && (read == generation || failed.is_some_and(|at| at.elapsed() < PATIENCE))
        {
            return Ok(reasons);
        }
        let read = meta.blocked_digests().await;
        *failed = read.is_err().then(Instant::now);
        let reasons: Arc<Reasons> = Arc::new(read?.into_iter().collect());
        if reasons.is_empty() {
            self.nothing.store(generation + 1, Ordering::SeqCst);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((generation, Arc::clone(&reasons)));
        Ok(reasons)
    }
}

impl Registry {
    /// Refuses what is blocked, as it was known last. Only the first request of a process waits for the store.
    pub(super) async fn check_blocked(&self, digest: &Sha256) -> Result<(), RegistryError> {
        let generation = self.changes.generation();
        if self.blocked.nothing.load(Ordering::SeqCst) == generation + 1 {
            return Ok(());
        }
        let reasons = match self.blocked.known() {
            Some((_, reasons)) => reasons,
            None => Box::pin(self.blocked.read(&*self.meta, &self.changes)).await?,
        };
        match reasons.get(digest) {
            None => Ok(()),
            Some(reason) => Err(Refusal::Blocked { digest: *digest, reason: reason.to_string() }.into()),
        }
    }

    /// To be called beside serving, again and again: reads them when anything changed, here or on another node.
    pub async fn keep_blocked_current(&self) -> Result<(), RegistryError> {
        self.blocked.read(&*self.meta, &self.changes).await?;
        Ok(())
    }

    /// Blocks a digest everywhere, and what has it in it.
    pub async fn block(
        &self,
        requester: &Requester,
        digest: Sha256,
        reason: &str,
    ) -> Result<SetBlock, RegistryError> {
        let set = self.meta.block(digest, reason, &requester.actor()).await;
        self.blocks_changed().await;
        Ok(set?)
    }

    /// `false`: it was not blocked.
    pub async fn unblock(&self, requester: &Requester, digest: &Sha256) -> Result<bool, RegistryError> {
        let deleted = self.meta.unblock(digest, &requester.actor()).await;
        self.blocks_changed().await;
        Ok(deleted?)
    }

    pub async fn blocks(&self, after: Option<Sha256>, limit: usize) -> Result<Page<Block>, RegistryError> {
        Ok(self.meta.blocks(after, limit).await?)
    }

    /// Here it counts before it is acknowledged. `latest` of any plugin may have moved. An answer that was lost may
    /// stand for a change that was made.
    async fn blocks_changed(&self) {
        self.changes.raise();
        self.cache.everything_changed();
        if let Err(error) = self.keep_blocked_current().await {
            tracing::warn!(%error, "the blocked digests could not be read");
        }
    }
}
