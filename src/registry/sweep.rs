//! Clean-up of uploads that nobody goes on with.

use std::time::SystemTime;

use super::{Registry, RegistryError};

/// Sessions that one look takes.
const BATCH: usize = 100;

impl Registry {
    /// Ends sessions that rested for longer than allowed, and returns how many.
    pub async fn sweep_sessions(&self) -> Result<usize, RegistryError> {
        let mut ended = 0;
        loop {
            let stale = self.meta.stale_uploads(self.limits.upload_expiry, BATCH).await?;
            let mut progress = false;
            for id in stale.iter().copied().filter(|&id| !self.sessions.is_claimed(id)) {
                let Ok(_claim) = self.sessions.claim(id).await else { continue };
                // Decided again by the store, as a chunk may have come since the list was read.
                if self.meta.expire_upload(id, self.limits.upload_expiry).await? {
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
