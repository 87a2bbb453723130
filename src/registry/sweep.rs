//! Clean-up of uploads that nobody goes on with.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{Registry, RegistryError};

/// Sessions that one look takes.
const BATCH: usize = 100;

/// How much longer the sessions of other nodes rest before this one ends them: a node that lives has ended its own by
/// then, also when its clock is behind.
const OTHERS: Duration = Duration::from_secs(2 * 3600);

impl Registry {
    /// Ends sessions that rested for longer than allowed, and returns how many.
    pub async fn sweep_sessions(&self) -> Result<usize, RegistryError> {
        let own = self.sweep(Some(self.node.id), self.limits.upload_expiry).await?;
        let others = self.sweep(None, self.limits.upload_expiry.saturating_add(OTHERS)).await?;
        Ok(own + others)
    }

    async fn sweep(&self, node: Option<Uuid>, idle: Duration) -> Result<usize, RegistryError> {
        let mut ended = 0;
        loop {
            let stale = self.meta.stale_uploads(node, idle, BATCH).await?;
            let mut progress = false;
            for id in stale.iter().copied().filter(|&id| !self.sessions.is_claimed(id)) {
                let Ok(_claim) = self.sessions.claim(id).await else { continue };
                // Decided again by the store, as a chunk may have come since the list was read.
                if self.meta.expire_upload(id, idle).await? {
                    // Where this is not the node that had the bytes, nothing is there; that one drops them at its start.
                    self.discard(id).await;
                    ended += 1;
                    progress = true;
                }
            }
            if stale.len() < BATCH || !progress {
                return Ok(ended);
            }
        }
    }

    /// Removes staged files of no session that were begun before this process: what an earlier one left that
    /// ended in the middle of a request. Returns how many.
    pub async fn sweep_files(&self, started: SystemTime) -> Result<usize, RegistryError> {
        let mut removed = 0;
        let files = self.staging.files_before(started).await;
        for id in files.map_err(crate::staging::StagingError::Io)? {
            if self.meta.upload(id).await?.is_none() {
                self.discard(id).await;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
