//! Blocked digests: kept in memory on every node, asked for whenever bytes come in or go out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Refusal, Registry, RegistryError};
use crate::access::Requester;
use crate::digest::Sha256;
use crate::meta::{Block, Page, SetBlock};

type Reasons = HashMap<Sha256, Arc<str>>;

/// How long nobody asks again after the store did not answer: pulls go on meanwhile.
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
    fn current(&self, generation: u64) -> Option<Arc<Reasons>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(read, _)| *read == generation).map(|(_, reasons)| Arc::clone(reasons))
    }
}

impl Registry {
    /// Refuses what is blocked.
    pub(super) async fn check_blocked(&self, digest: &Sha256) -> Result<(), RegistryError> {
        let generation = self.changes.generation();
        if self.blocked.nothing.load(Ordering::SeqCst) == generation + 1 {
            return Ok(());
        }
        let reasons = match self.blocked.current(generation) {
            Some(reasons) => reasons,
            None => Box::pin(self.read_blocked()).await?,
        };
        match reasons.get(digest) {
            None => Ok(()),
            Some(reason) => Err(Refusal::Blocked { digest: *digest, reason: reason.to_string() }.into()),
        }
    }

    /// Reads them again. While the store does not answer, what was known before goes on.
    async fn read_blocked(&self) -> Result<Arc<Reasons>, RegistryError> {
        let mut failed = self.blocked.reading.lock().await;
        let generation = self.changes.generation();
        if let Some(reasons) = self.blocked.current(generation) {
            return Ok(reasons);
        }
        let waits = failed.is_some_and(|at| at.elapsed() < PATIENCE);
        if waits
            && let Some((_, reasons)) = &*self.blocked.known.read().unwrap_or_else(PoisonError::into_inner)
        {
            return Ok(Arc::clone(reasons));
        }
        let read = self.meta.blocked_digests().await;
        *failed = read.is_err().then(Instant::now);
        let mut known = self.blocked.known.write().unwrap_or_else(PoisonError::into_inner);
        let reasons: Arc<Reasons> = match (read, &*known) {
            (Ok(read), _) => Arc::new(read.into_iter().collect()),
            (Err(_), Some((_, reasons))) => return Ok(Arc::clone(reasons)),
            (Err(error), None) => return Err(error.into()),
        };
        if reasons.is_empty() {
            self.blocked.nothing.store(generation + 1, Ordering::SeqCst);
        }
        *known = Some((generation, Arc::clone(&reasons)));
        Ok(reasons)
    }

    /// Blocks a digest everywhere, and what has it in it.
    pub async fn block(
        &self,
        requester: &Requester,
        digest: Sha256,
        reason: &str,
    ) -> Result<SetBlock, RegistryError> {
        let set = self.meta.block(digest, reason, &requester.actor()).await;
        self.blocks_changed();
        Ok(set?)
    }

    /// `false`: it was not blocked.
    pub async fn unblock(&self, requester: &Requester, digest: &Sha256) -> Result<bool, RegistryError> {
        let deleted = self.meta.unblock(digest, &requester.actor()).await;
        self.blocks_changed();
        Ok(deleted?)
    }

    pub async fn blocks(&self, after: Option<Sha256>, limit: usize) -> Result<Page<Block>, RegistryError> {
        Ok(self.meta.blocks(after, limit).await?)
    }

    /// `latest` of any plugin may have moved. An answer that was lost may stand for a change that was made.
    fn blocks_changed(&self) {
        self.changes.raise();
        self.cache.everything_changed();
    }
}
