//! When what a node remembers about access is too old: raised by its own writes, and by those of other nodes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared by everything that remembers tokens, organisations or rules.
pub struct AccessChanges {
    generation: AtomicU64,
    /// The access version of the metadata store when it was looked at last.
    version: AtomicU64,
    started: Instant,
    /// Milliseconds from the start to the last time when the store answered.
    contact: AtomicU64,
}

impl Default for AccessChanges {
    fn default() -> Self {
        Self {
            generation: AtomicU64::new(0),
            version: AtomicU64::new(0),
            started: Instant::now(),
            contact: AtomicU64::new(0),
        }
    }
}

impl AccessChanges {
    /// To be read before the store is, and kept with what was read: it is good while this stays the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// To be called after a change was committed and before it is acknowledged.
    pub fn raise(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The store answered that its access version is this one.
    pub fn saw(&self, version: u64) {
        if self.version.swap(version, Ordering::SeqCst) != version {
            self.raise();
        }
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.contact.store(since, Ordering::SeqCst);
    }

    /// How long the store has not been heard of.
    pub fn silence(&self) -> Duration {
        let contact = Duration::from_millis(self.contact.load(Ordering::SeqCst));
        self.started.elapsed().saturating_sub(contact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_change_is_seen_once() {
        let changes = AccessChanges::default();
        changes.saw(7);
        let before = changes.generation();
        changes.saw(7);
        assert_eq!(changes.generation(), before);
        changes.saw(8);
        assert_eq!(changes.generation(), before + 1);
        changes.raise();
        assert_eq!(changes.generation(), before + 2);
    }
}
