//! Near and far as one store: pulls come from local disk, pushes end up in both, and near may be small.

mod backoff;
mod counters;
mod eviction;
mod fills;
mod near;
mod outbox;
mod shipping;
mod turns;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::far::{FarStore, Presigned};
use super::local::LocalStore;
use super::{Blob, BlobError, BlobStore};
use crate::digest::Sha256;
use crate::staging::{Staged, Staging};

pub use self::backoff::Backoff;
pub use self::counters::TieredCounters;
pub use self::fills::Kept;
pub use self::near::Vacancy;
pub use self::outbox::Waiting;

use self::fills::Fills;
use self::near::Near;
use self::outbox::Outbox;
use self::turns::Turns;

/// When a push is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When near and far have it.
    Far,
    /// When near has it; it is shipped later, whatever happens meanwhile.
    Near,
}

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct TieredOptions {
    pub acknowledge: Acknowledge,
    /// Most bytes that near keeps of what far has, too. `None`: everything.
    pub near_max_bytes: Option<u64>,
    /// Where it is noted what has to be shipped.
    pub outbox: PathBuf,
}

/// A near store in front of a far one.
///
/// A blob is read from near, or fetched once for however many ask, hashed while it arrives, and kept. Near never
/// gives up the only copy. The jobs [`TieredStore::ship`] and [`TieredStore::evict`] have to run beside it.
#[derive(Clone)]
pub struct TieredStore(Arc<Tiers>);

struct Tiers {
    near: Near,
    far: Arc<dyn FarStore>,
    staging: Staging,
    acknowledge: Acknowledge,
    outbox: Outbox,
    fills: Fills,
    /// Of those who change what near has.
    turns: Turns,
    /// Of those who bring a blob of near to far, or remove it there. Who takes both turns takes this one first.
    shipments: Turns,
    counters: TieredCounters,
}

impl TieredStore {
    /// Opens the outbox; what stands in it is read by the job that ships (promise P9).
    pub fn open(
        near: LocalStore,
        far: Arc<dyn FarStore>,
        staging: Staging,
        options: TieredOptions,
        counters: TieredCounters,
    ) -> io::Result<Self> {
        let TieredOptions { acknowledge, near_max_bytes, outbox } = options;
        Ok(Self(Arc::new(Tiers {
            near: Near::new(near, near_max_bytes),
            far,
            staging,
            acknowledge,
            outbox: Outbox::open(outbox)?,
            fills: Fills::default(),
            turns: Turns::default(),
            shipments: Turns::default(),
            counters,
        })))
    }

    /// Ships what the outbox holds, also what an earlier process left there. It never ends by itself.
    pub async fn ship(&self) {
        shipping::ship(&self.0).await;
    }

    /// Keeps near within its bound, if it has one. Until this has looked at near once, nothing is fetched to be kept in a
    /// bounded one.
    pub async fn evict(&self) {
        eviction::evict(&self.0).await;
    }

    /// Sees to it that near has a blob, and says how that went. `None`: far does not have it either.
    pub async fn bring_near(&self, digest: &Sha256) -> Result<Option<Kept>, BlobError> {
        fills::bring_near(&self.0, digest).await
    }

    /// Sees to it that far has a blob of near. `false`: it had it, or gets it from the outbox.
    pub async fn ship_missing(&self, digest: &Sha256, size: u64) -> Result<bool, BlobError> {
        shipping::ship_missing(&self.0, digest, size).await
    }

    /// How many bytes near has of a blob.
    pub async fn near_size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.0.near.size(digest).await
    }

    /// Whether near can keep so many bytes more without giving up others.
    pub async fn vacancy(&self, bytes: u64) -> Vacancy {
        self.0.near.vacancy(bytes).await
    }

    /// Blobs of far, as [`BlobStore::list`] tells them.
    pub async fn far_list(
        &self,
        after: Option<Sha256>,
        limit: usize,
    ) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.0.far.list(after, limit).await
    }

    /// Drops near's copy of a blob that was found to be damaged, if far can give it again. `false`: it stays.
    pub async fn drop_damaged(&self, digest: &Sha256, size: u64) -> Result<bool, BlobError> {
        if self.0.far.size(digest).await? != Some(size) {
            return Ok(false);
        }
        let _turn = self.0.turns.take(*digest).await;
        tracing::error!(%digest, "the near copy of a blob was damaged and is fetched again");
        self.0.near.drop_copy(digest).await
    }

    /// A URL that gives the bytes of a blob to who holds it. `None`: far does not have them, or gives no URLs.
    pub async fn presigned(&self, digest: &Sha256, size: u64) -> Result<Option<Presigned>, BlobError> {
        match self.0.far.size(digest).await? {
            Some(there) if there == size => self.0.far.presigned_get(digest).await,
            Some(_) | None => Ok(None),
        }
    }

    /// What waits to be shipped.
    pub fn waiting(&self) -> Waiting {
        self.0.outbox.waiting()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for TieredStore {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        match self.0.acknowledge {
            Acknowledge::Far => {
                // At the same time; near's copy of a push that fails is harmless, as after a crash.
                let (near, far) = tokio::join!(self.0.put_near(staged), self.0.far.put(staged));
                far.and(near)
            }
            Acknowledge::Near => self.0.put_and_mark(staged).await,
        }
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        if let Some(blob) = self.0.near.open(digest).await? {
            self.0.counters.near_hits.increment(1);
            return Ok(Some(blob));
        }
        fills::open(&self.0, digest).await
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        match self.0.near.size(digest).await? {
            Some(size) => Ok(Some(size)),
            None => self.0.far.size(digest).await,
        }
    }

    /// What near or far has. Either list is whole up to its last digest, so the first `limit` of both are.
    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        let (near, far) = tokio::join!(self.0.near.list(after, limit), self.0.far.list(after, limit));
        let mut listed = near?;
        listed.extend(far?);
        // Of a digest that both have, near's comes first and stays.
        listed.sort_by_key(|(digest, _)| *digest);
        listed.dedup_by_key(|(digest, _)| *digest);
        listed.truncate(limit);
        Ok(listed)
    }

    /// Far goes first: while it cannot be reached nothing is removed, and a crash on the way leaves a copy that is
    /// listed and can be removed again. Other replicas may have the blob near; their own clean-up finds it there.
    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        // A shipment that is under way would bring it back.
        let _shipment = self.0.shipments.take(*digest).await;
        let _turn = self.0.turns.take(*digest).await;
        let far = self.0.far.remove(digest).await?;
        // From here on nobody gets it from far; who began before waits for our turn to keep it.
        self.0.fills.forget(digest);
        let near = self.0.near.remove(digest).await?;
        // Last: a mark without bytes is a question for the operator, bytes without a mark are only bytes.
        self.0.outbox.strike(digest).await?;
        Ok(far || near)
    }
}

impl Tiers {
    async fn put_near(&self, staged: &Staged) -> Result<(), BlobError> {
        let _turn = self.turns.take(staged.digests().sha256).await;
        self.near.put(staged).await
    }

    /// Once the mark is durable, no crash forgets to ship it, and near does not give it up.
    async fn put_and_mark(&self, staged: &Staged) -> Result<(), BlobError> {
        let digest = staged.digests().sha256;
        let _turn = self.turns.take(digest).await;
        self.near.put(staged).await?;
        Ok(self.outbox.mark(digest).await?)
    }
}
