//! The near store: local files, and how many bytes of them there are when that is bounded.

use std::fs::FileTimes;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use super::super::local::{Entry, LocalStore};
use super::super::{Blob, BlobError, BlobStore, Content};
use crate::digest::Sha256;
use crate::staging::Staged;

/// How exactly a file says when it was last opened.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Longest time that a blob waits to be kept, while others go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is room for a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacancy {
    Free,
    Full,
    /// It is larger than all of near.
    TooLarge,
}

pub(super) struct Near {
    store: LocalStore,
    bound: Option<Bound>,
}

/// How large near may get. What it has is counted by the first look of the job that evicts, and too little until
/// then; each further look counts again.
pub(super) struct Bound {
    max: u64,
    usage: watch::Sender<Usage>,
    /// Bytes of blobs that wait for room.
    wanted: AtomicU64,
    /// Told when there is something to evict.
    pub(super) over: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    used: u64,
    /// Room of blobs that are about to be kept.
    reserved: u64,
    /// Everything was counted once, so the rest can be relied upon.
    is_known: bool,
}

impl Usage {
    fn total(self) -> u64 {
        self.used.saturating_add(self.reserved)
    }
}

/// Room for a blob, until it is dropped.
pub(super) struct Room<'a> {
    bound: Option<&'a Bound>,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(bound) = self.bound {
            bound.usage.send_modify(|usage| usage.reserved = usage.reserved.saturating_sub(self.bytes));
        }
    }
}

impl Bound {
    pub(super) fn used(&self) -> u64 {
        self.usage.borrow().used
    }

    /// Everything was counted, when `before` bytes were known. What came meanwhile may have been missed.
    pub(super) fn counted(&self, counted: u64, before: u64) {
        self.usage.send_modify(|usage| {
            usage.used = counted + usage.used.saturating_sub(before);
            usage.is_known = true;
        });
    }

    fn allowed(&self) -> u64 {
        self.max - self.wanted.load(Ordering::SeqCst).min(self.max)
    }

    pub(super) fn is_over(&self) -> bool {
        self.usage.borrow().total() > self.allowed()
    }

    /// What has to go, so that there is room for a while.
    pub(super) fn excess(&self) -> u64 {
        let goal = self.allowed().min(self.max - self.max / 10);
        self.usage.borrow().total().saturating_sub(goal)
    }

    fn add(&self, bytes: u64) {
        self.usage.send_modify(|usage| usage.used += bytes);
        if self.is_over() {
            self.over.notify_one();
        }
    }

    fn take(&self, bytes: u64) {
        self.usage.send_modify(|usage| usage.used = usage.used.saturating_sub(bytes));
    }

    fn try_reserve(&self, bytes: u64) -> Option<Room<'_>> {
        let reserved = self.usage.send_if_modified(|usage| {
            let fits = usage.is_known && usage.total().saturating_add(bytes) <= self.max;
            usage.reserved += if fits { bytes } else { 0 };
            fits
        });
        // A room that was never made gives nothing back.
        reserved.then(|| Room { bound: Some(self), bytes })
    }

    /// Waits until there is room. `None`: it takes too long.
    async fn reserve(&self, bytes: u64) -> Option<Room<'_>> {
        if bytes > self.max {
            return None;
        }
        if let Some(room) = self.try_reserve(bytes) {
            return Some(room);
        }
        self.wanted.fetch_add(bytes, Ordering::SeqCst);
        self.over.notify_one();
        let mut usage = self.usage.subscribe();
        let wait = async {
            loop {
                if let Some(room) = self.try_reserve(bytes) {
                    return Some(room);
                }
                usage.changed().await.ok()?;
            }
        };
        let room = tokio::time::timeout(PATIENCE, wait).await.ok().flatten();
        self.wanted.fetch_sub(bytes, Ordering::SeqCst);
        room
    }
}

impl Near {
    pub(super) fn new(store: LocalStore, max: Option<u64>) -> Self {
        let bound = |max| Bound {
            max,
            usage: watch::Sender::default(),
            wanted: AtomicU64::new(0),
            over: Notify::new(),
        };
        Self { store, bound: max.map(bound) }
    }

    pub(super) fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Whether so many bytes can be kept without giving up others. It waits until that is known.
    pub(super) async fn vacancy(&self, bytes: u64) -> Vacancy {
        let Some(bound) = &self.bound else { return Vacancy::Free };
        if bytes > bound.max {
            return Vacancy::TooLarge;
        }
        let mut usage = bound.usage.subscribe();
        match usage.wait_for(|usage| usage.is_known).await {
            Ok(usage) if usage.total().saturating_add(bytes) > bound.max => Vacancy::Full,
            Ok(_) | Err(_) => Vacancy::Free,
        }
    }

    /// Waits for room, if near is bounded. `None`: there is none, and the blob is not kept.
    pub(super) async fn room_for(&self, bytes: u64) -> Option<Room<'_>> {
        match &self.bound {
            None => Some(Room { bound: None, bytes }),
            Some(bound) => bound.reserve(bytes).await,
        }
    }

    pub(super) async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        let blob = self.store.open(digest).await?;
        if self.bound.is_some()
            && let Some(Blob { content: Content::File(file), .. }) = &blob
        {
            let now = SystemTime::now();
            let fresh = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < TOUCH_EVERY);
            if !file.metadata()?.accessed().is_ok_and(fresh) {
                let file = file.clone();
                // Nobody waits for it; a blob whose time could not be written only goes earlier.
                drop(spawn_blocking(move || file.set_times(FileTimes::new().set_accessed(now))));
            }
        }
        Ok(blob)
    }

    /// The caller has the turn.
    pub(super) async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        self.counted_put(staged, self.store.put(staged)).await
    }

    /// Keeps what far has, too. The caller has the turn.
    pub(super) async fn keep_copy(&self, staged: &Staged) -> Result<(), BlobError> {
        self.counted_put(staged, async { Ok(self.store.keep_copy(staged).await?) }).await
    }

    async fn counted_put(
        &self,
        staged: &Staged,
        put: impl Future<Output = Result<(), BlobError>>,
    ) -> Result<(), BlobError> {
        let Some(bound) = &self.bound else { return put.await };
        let before = self.store.size(&staged.digests().sha256).await?.unwrap_or_default();
        put.await?;
        bound.take(before);
        bound.add(staged.size());
        Ok(())
    }

    /// The caller has the turn.
    pub(super) async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.counted_removal(digest, self.store.remove(digest)).await
    }

    /// Gives up what far has, too. The caller has the turn.
    pub(super) async fn drop_copy(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.counted_removal(digest, async { Ok(self.store.drop_copy(digest).await?) }).await
    }

    async fn counted_removal(
        &self,
        digest: &Sha256,
        remove: impl Future<Output = Result<bool, BlobError>>,
    ) -> Result<bool, BlobError> {
        let Some(bound) = &self.bound else { return remove.await };
        let size = self.store.size(digest).await?.unwrap_or_default();
        let removed = remove.await?;
        if removed {
            bound.take(size);
        }
        Ok(removed)
    }

    pub(super) async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.store.size(digest).await
    }

    pub(super) async fn list(
        &self,
        after: Option<Sha256>,
        limit: usize,
    ) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.store.list(after, limit).await
    }

    pub(super) fn path(&self, digest: &Sha256) -> PathBuf {
        self.store.path(digest)
    }

    /// Looks at every blob.
    pub(super) async fn look_at_all<T: Send + 'static>(
        &self,
        found: T,
        look: impl FnMut(&mut T, Entry) + Send + 'static,
    ) -> io::Result<T> {
        self.store.look_at_all(found, look).await
    }
}
