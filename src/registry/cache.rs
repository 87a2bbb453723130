//! What is kept in memory: verified bytes, open files, links and tags. All of it can be lost at any time (P5).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache as Loading;
use moka::sync::Cache as Kept;

use super::CacheCounters;
use crate::blob::Blob;
use crate::digest::{Digest, Sha256};
use crate::meta::{BlobRecord, Holder, ManifestRecord};
use crate::name::{RepositoryName, Tag};

/// Blobs up to this size are kept as bytes, larger ones as open files.
pub(super) const SMALL_BLOB: u64 = 64 * 1024;
/// Disk space and life of unpacked files that are kept. They have no name, so they go with the process.
const UNPACKED_BYTES: u64 = 1 << 30;
const UNPACKED_LIFE: Duration = Duration::from_secs(60);
/// Open files that are kept.
const FILES: u64 = 512;
/// Links, manifests, tags and holders that are kept, each.
const ROWS: u64 = 100_000;
/// Longest life of what is known by digest. Deletes are seen at once all the same, by the stamps.
const LINK_LIFE: Duration = Duration::from_secs(600);
/// Longest life of what a tag points to. Moves are seen at once all the same, by the stamps.
const TAG_LIFE: Duration = Duration::from_secs(2);

/// A value with the stamp that was current before it was read.
#[derive(Clone)]
struct Stamped<V> {
    stamp: u64,
    value: V,
}

/// Counters that a write raises before it is acknowledged. What was read under an earlier stamp is not used
/// any more, so a reader that was slow between reading and keeping cannot bring an old value back.
struct Stamps {
    /// One of these for all repositories of the same hash.
    repositories: [AtomicU64; 1024],
    /// Raised by every deletion anywhere.
    deletions: AtomicU64,
    /// Raised by every write that lists of plugins may show.
    plugins: AtomicU64,
}

impl Stamps {
    fn of(&self, repository: &RepositoryName) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        repository.hash(&mut hasher);
        let index = hasher.finish() % self.repositories.len() as u64;
        &self.repositories[usize::try_from(index).unwrap_or_default()]
    }
}

type Keyed<K, V> = Kept<K, Stamped<V>>;

pub(super) struct Cache {
    /// Bytes whose digest was checked when they were loaded.
    pub(super) bytes: Loading<Sha256, Bytes>,
    pub(super) files: Loading<Sha256, Blob>,
    /// Larger files of packages, unpacked, by their own digest.
    pub(super) unpacked: Loading<Sha256, Blob>,
    blobs: Keyed<(RepositoryName, Digest), BlobRecord>,
    manifests: Keyed<(RepositoryName, Digest), Arc<ManifestRecord>>,
    tags: Keyed<(RepositoryName, Tag), Arc<ManifestRecord>>,
    holders: Keyed<Sha256, Holder>,
    stamps: Stamps,
    counters: CacheCounters,
}

impl Cache {
    pub(super) fn new(bytes: u64, counters: CacheCounters) -> Self {
        // An entry costs more than its bytes: key, bookkeeping, allocation.
        let weigh = |_: &Sha256, value: &Bytes| u32::try_from(value.len() + 256).unwrap_or(u32::MAX);
        Self {
            bytes: Loading::builder().weigher(weigh).max_capacity(bytes).build(),
            unpacked: Loading::builder()
                .weigher(|_, blob: &Blob| u32::try_from(blob.size).unwrap_or(u32::MAX))
                .max_capacity(UNPACKED_BYTES)
                .time_to_idle(UNPACKED_LIFE)
                .build(),
            // Opened again now and then, however busy: a store that keeps what is in use sees it by that.
            files: Loading::builder()
                .max_capacity(FILES)
                .time_to_idle(LINK_LIFE)
                .time_to_live(LINK_LIFE)
                .build(),
            blobs: Kept::builder().max_capacity(ROWS).time_to_live(LINK_LIFE).build(),
            manifests: Kept::builder().max_capacity(ROWS).time_to_live(LINK_LIFE).build(),
            tags: Kept::builder().max_capacity(ROWS).time_to_live(TAG_LIFE).build(),
            holders: Kept::builder().max_capacity(ROWS).time_to_live(LINK_LIFE).build(),
            stamps: Stamps {
                repositories: [const { AtomicU64::new(0) }; 1024],
                deletions: AtomicU64::new(0),
                plugins: AtomicU64::new(0),
            },
            counters,
        }
    }

    /// To be called after a tag of the repository was written and before that is acknowledged.
    pub(super) fn tag_written(&self, repository: &RepositoryName) {
        self.stamps.of(repository).fetch_add(1, Ordering::SeqCst);
        self.plugin_written();
    }

    /// To be called after a write that may have moved tags anywhere.
    pub(super) fn everything_changed(&self) {
        for stamp in &self.stamps.repositories {
            stamp.fetch_add(1, Ordering::SeqCst);
        }
        self.plugin_written();
    }

    /// To be called after what lists and plans show of plugins was written and before that is acknowledged.
    pub(super) fn plugin_written(&self) {
        self.stamps.plugins.fetch_add(1, Ordering::SeqCst);
    }

    /// Raised by every write that lists and plans may show.
    pub(super) fn plugins(&self) -> u64 {
        self.stamps.plugins.load(Ordering::SeqCst)
    }

    /// To be called after something of the repository was deleted and before that is acknowledged.
    pub(super) fn deleted(&self, repository: &RepositoryName) {
        self.tag_written(repository);
        self.anything_deleted();
    }

    /// To be called when something may have been deleted anywhere.
    pub(super) fn anything_deleted(&self) {
        self.stamps.deletions.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) async fn blob<E>(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        read: impl Future<Output = Result<Option<BlobRecord>, E>>,
    ) -> Result<Option<BlobRecord>, E> {
        let key = (repository.clone(), *digest);
        self.through(&self.blobs, key, self.stamps.of(repository), read).await
    }

    pub(super) async fn manifest<E>(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        read: impl Future<Output = Result<Option<Arc<ManifestRecord>>, E>>,
    ) -> Result<Option<Arc<ManifestRecord>>, E> {
        let key = (repository.clone(), *digest);
        self.through(&self.manifests, key, self.stamps.of(repository), read).await
    }

    pub(super) async fn tag<E>(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        read: impl Future<Output = Result<Option<Arc<ManifestRecord>>, E>>,
    ) -> Result<Option<Arc<ManifestRecord>>, E> {
        let key = (repository.clone(), tag.clone());
        self.through(&self.tags, key, self.stamps.of(repository), read).await
    }

    /// A repository that holds the digest and that the caller may read, as `acceptable` says.
    pub(super) async fn holder<E>(
        &self,
        digest: &Sha256,
        acceptable: impl Fn(&Holder) -> bool,
        read: impl Future<Output = Result<Option<Holder>, E>>,
    ) -> Result<Option<Holder>, E> {
        let stamp = self.stamps.deletions.load(Ordering::SeqCst);
        if let Some(kept) = self.holders.get(digest)
            && kept.stamp == stamp
            && acceptable(&kept.value)
        {
            self.counters.hits.increment(1);
            return Ok(Some(kept.value));
        }
        self.counters.misses.increment(1);
        let found = read.await?;
        if let Some(holder) = &found {
            self.holders.insert(*digest, Stamped { stamp, value: holder.clone() });
        }
        Ok(found)
    }

    /// Answers from memory, or reads and keeps what there is. What is not there is not kept, so that
    /// nothing has to be invalidated when it appears.
    async fn through<K, V, E>(
        &self,
        cache: &Keyed<K, V>,
        key: K,
        stamp: &AtomicU64,
        read: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let stamp = stamp.load(Ordering::SeqCst);
        if let Some(kept) = cache.get(&key)
            && kept.stamp == stamp
        {
            self.counters.hits.increment(1);
            return Ok(Some(kept.value));
        }
        self.counters.misses.increment(1);
        let found = read.await?;
        if let Some(value) = &found {
            cache.insert(key, Stamped { stamp, value: value.clone() });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(byte: u8) -> Arc<ManifestRecord> {
        let digests = crate::digest::Digests { sha256: Sha256([byte; 32]), sha512: None };
        Arc::new(ManifestRecord { digests, size: 1, media_type: String::new() })
    }

    /// A reader that began before a write and ends after it must not bring the old value back.
    #[tokio::test]
    async fn p5_a_slow_reader_keeps_nothing_old() {
        let cache = Cache::new(1 << 20, CacheCounters::noop());
        let (repository, tag): (RepositoryName, Tag) = ("a/b".parse().unwrap(), "latest".parse().unwrap());
        let slow = cache.tag(&repository, &tag, async {
            cache.tag_written(&repository);
            Ok::<_, ()>(Some(record(1)))
        });
        assert_eq!(slow.await, Ok(Some(record(1))));
        let next = cache.tag(&repository, &tag, async { Ok::<_, ()>(Some(record(2))) }).await;
        assert_eq!(next, Ok(Some(record(2))));
        let kept = cache.tag(&repository, &tag, async { Err("read again") }).await;
        assert_eq!(kept, Ok(Some(record(2))));
    }

    #[tokio::test]
    async fn a_deletion_anywhere_ends_every_holder() {
        let cache = Cache::new(1 << 20, CacheCounters::noop());
        let holder = Holder { repository: "a/b".parse().unwrap(), size: 3 };
        let digest = Sha256([7; 32]);
        let read = async { Ok::<_, &str>(Some(holder.clone())) };
        assert!(cache.holder(&digest, |_| true, read).await.unwrap().is_some());
        let warm = cache.holder(&digest, |_| true, async { Err("read again") }).await;
        assert_eq!(warm, Ok(Some(holder)));
        let unreadable = cache.holder(&digest, |_| false, async { Err("read again") }).await;
        assert_eq!(unreadable, Err("read again"));
        cache.deleted(&"x/y".parse().unwrap());
        let cold = cache.holder(&digest, |_| true, async { Err("read again") }).await;
        assert_eq!(cold, Err("read again"));
    }
}
