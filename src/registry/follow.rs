//! What other nodes changed: told by a feed of the event logs, and raised in the caches before anything else is read.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::{Registry, RegistryError};
use crate::meta::MetaError;
use crate::meta::feed::{BEAT, Look, Moved, News, Nudge, Touched};

/// After so long without an answer nobody knows where tags point, but the store itself.
const SILENCE: Duration = Duration::from_secs(1);
/// Longest wait for an answer of the feed behind its beat.
const PATIENCE: Duration = Duration::from_millis(700);
/// Longest time until a feed has begun, which may need a connection.
const BEGIN: Duration = Duration::from_secs(3);
/// How soon a feed that broke is begun again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a read waits until this node has seen a sequence.
const WAIT: Duration = Duration::from_secs(2);
/// How often the feed is told to look while somebody waits.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Most reads that wait.
const WAITING: usize = 1000;

/// How far this node has come in the event logs of catalogs: what they tell counts here.
pub(super) struct Followed {
    sequences: Mutex<HashMap<String, u64>>,
    started: Instant,
    /// Milliseconds from the start to the moment up to which everything was seen, and one more; 0 before the first look.
    as_of: AtomicU64,
    /// Told after every look that brought something.
    looks: watch::Sender<()>,
    nudge: Nudge,
    waiting: Semaphore,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            sequences: Mutex::default(),
            started: Instant::now(),
            as_of: AtomicU64::new(0),
            looks: watch::Sender::new(()),
            nudge: Nudge::default(),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Followed {
    /// Whether so much time went by since the last look that what other nodes wrote may be unknown here.
    pub(super) fn is_silent(&self) -> bool {
        match self.as_of.load(Ordering::SeqCst).checked_sub(1) {
            None => true,
            Some(as_of) => self.started.elapsed().saturating_sub(Duration::from_millis(as_of)) > SILENCE,
        }
    }

    fn sequences(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_seen(&self, catalog: &str, sequence: u64) -> bool {
        sequence == 0 || self.sequences().get(catalog).is_some_and(|seen| *seen >= sequence)
    }

    fn saw_everything_before(&self, moment: Instant) {
        let since = moment.saturating_duration_since(self.started).as_millis();
        self.as_of.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::SeqCst);
    }
}

impl Registry {
    /// To be run beside serving: keeps what is remembered here in step with what other nodes write.
    pub async fn follow(&self) -> Infallible {
        let mut answers = true;
        loop {
            let error = self.follow_one_feed(&mut answers).await;
            // Told when it begins and when it ends, and not at every attempt between.
            if std::mem::replace(&mut answers, false) {
                tracing::warn!(%error, "changes by other nodes cannot be followed");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Ends when this node has looked for the first time.
    pub async fn followed(&self) {
        let mut looks = self.followed.looks.subscribe();
        while self.followed.as_of.load(Ordering::SeqCst) == 0 && looks.changed().await.is_ok() {}
    }

    async fn follow_one_feed(&self, answers: &mut bool) -> MetaError {
        let silent = |_| MetaError::Unavailable("no answer in time".to_owned());
        let feed = self.meta.follow(Nudge::clone(&self.followed.nudge));
        let mut feed = match timeout(BEGIN, feed).await.map_err(silent).flatten() {
            Ok(feed) => feed,
            Err(error) => return error,
        };
        loop {
            match timeout(BEAT + PATIENCE, feed.next()).await.map_err(silent).flatten() {
                Ok(look) => self.apply(look),
                Err(error) => return error,
            }
            if !std::mem::replace(answers, true) {
                tracing::info!("changes by other nodes are followed again");
            }
        }
    }

    /// First the caches, then the sequences: who waits for one of these reads nothing older.
    fn apply(&self, Look { as_of, news }: Look) {
        let quiet = match news {
            News::Anything(sequences) => {
                self.cache.everything_changed();
                self.cache.anything_deleted();
                *self.followed.sequences() = sequences;
                false
            }
            News::Moved(catalogs) => {
                for moved in &catalogs {
                    self.raise(moved);
                }
                let quiet = catalogs.is_empty();
                let news = catalogs.into_iter().map(|moved| (moved.catalog, moved.sequence));
                self.followed.sequences().extend(news);
                quiet
            }
        };
        self.followed.saw_everything_before(as_of);
        if !quiet {
            self.followed.looks.send_replace(());
        }
    }

    fn raise(&self, moved: &Moved) {
        match &moved.touched {
            Touched::Everything => {
                self.cache.everything_changed();
                self.cache.anything_deleted();
            }
            Touched::Repositories(touches) => {
                for touch in touches {
                    match touch.deleted {
                        true => self.cache.deleted(&touch.repository),
                        false => self.cache.tag_written(&touch.repository),
                    }
                }
            }
        }
    }

    /// Waits until this node has seen a sequence of a catalog, and says whether it has. Not for ever, and not with too
    /// many others.
    pub async fn has_seen(&self, catalog: &str, sequence: u64) -> bool {
        if self.followed.has_seen(catalog, sequence) {
            return true;
        }
        let Ok(_waiting) = self.followed.waiting.try_acquire() else { return false };
        let mut looks = self.followed.looks.subscribe();
        let seen = async {
            while !self.followed.has_seen(catalog, sequence) {
                self.followed.nudge.notify_one();
                // Told or not, it looks again: the last word is the store's.
                let _ = timeout(LOOK_AGAIN, looks.changed()).await;
            }
        };
        timeout(WAIT, seen).await.is_ok() && self.followed.has_seen(catalog, sequence)
    }

    /// The sequence number of the last event of a catalog.
    pub async fn sequence(&self, catalog: &str) -> Result<u64, RegistryError> {
        Ok(self.meta.sequence(catalog).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_has_not_looked_knows_nothing() {
        let followed = Followed::default();
        assert!(followed.is_silent());
        assert!(followed.has_seen("acme", 0));
        followed.saw_everything_before(Instant::now());
        assert!(!followed.is_silent());
        assert!(!followed.has_seen("acme", 1));
        followed.sequences().insert("acme".to_owned(), 7);
        assert!(followed.has_seen("acme", 7) && !followed.has_seen("acme", 8));
        let long_ago = Followed { started: Instant::now() - 2 * SILENCE, ..Followed::default() };
        long_ago.saw_everything_before(long_ago.started);
        assert!(long_ago.is_silent());
    }
}
