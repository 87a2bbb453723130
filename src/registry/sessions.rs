//! One writer at a time for each upload session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::Refusal;

/// How long a request waits for the one before it. A client that lost its connection comes back while we
/// may still be saving what it sent.
const PATIENCE: Duration = Duration::from_secs(5);

type Locks = Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>;

#[derive(Default, Clone)]
pub(super) struct Sessions {
    locks: Arc<Locks>,
}

/// The right to write to a session, until it is dropped.
pub(super) struct Claim {
    id: Uuid,
    guard: Option<OwnedMutexGuard<()>>,
    locks: Arc<Locks>,
}

impl Sessions {
    pub(super) async fn claim(&self, id: Uuid) -> Result<Claim, Refusal> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(id).or_default())
        };
        let guard = tokio::time::timeout(PATIENCE, lock.lock_owned()).await.ok();
        // Without a guard it is dropped right here, which tidies the map as every claim does.
        let claim = Claim { id, guard, locks: Arc::clone(&self.locks) };
        if claim.guard.is_some() { Ok(claim) } else { Err(Refusal::UploadBusy) }
    }

    /// Whether somebody is writing to the session now.
    pub(super) fn is_claimed(&self, id: Uuid) -> bool {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(&id).is_some_and(|lock| lock.try_lock().is_err())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Only the map holds it: nobody waits.
        if locks.get(&self.id).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_waits_and_the_map_empties() {
        let sessions = Sessions::default();
        let id = Uuid::now_v7();
        let first = sessions.claim(id).await.unwrap();
        assert!(sessions.is_claimed(id));
        assert!(matches!(sessions.claim(id).await, Err(Refusal::UploadBusy)));
        let waiting = tokio::spawn({
            let sessions = sessions.clone();
            async move { drop(sessions.claim(id).await.unwrap()) }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap();
        assert!(!sessions.is_claimed(id));
        assert!(sessions.locks.lock().unwrap().is_empty());
    }
}
