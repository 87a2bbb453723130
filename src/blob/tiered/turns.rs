//! One at a time of those who change what near has of a digest, or what is noted about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

use crate::digest::Sha256;

type Locks = Mutex<HashMap<Sha256, Arc<Lock<()>>>>;

/// Readers take no turns: a file that they have opened stays readable.
#[derive(Default)]
pub(super) struct Turns(Arc<Locks>);

/// The right to change something, until it is dropped.
pub(super) struct Turn {
    digest: Sha256,
    guard: Option<OwnedMutexGuard<()>>,
    locks: Arc<Locks>,
}

impl Turns {
    pub(super) async fn take(&self, digest: Sha256) -> Turn {
        // Made first: who gives up waiting tidies up as well.
        let mut turn = Turn { digest, guard: None, locks: Arc::clone(&self.0) };
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(digest).or_default())
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Only the map holds it: nobody waits.
        if locks.get(&self.digest).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_and_the_map_empties() {
        let turns = Turns::default();
        let digest = Sha256([1; 32]);
        let first = turns.take(digest).await;
        let other = turns.take(Sha256([2; 32])).await;
        let waits = turns.take(digest);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), waits).await.is_err());
        drop((first, other));
        drop(turns.take(digest).await);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
