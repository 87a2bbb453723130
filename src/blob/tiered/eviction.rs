//! What near gives up when it is full: the blobs that were opened longest ago, and never the only copy.

use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use super::super::BlobError;
use super::super::local::Entry;
use super::Tiers;
use super::backoff::Backoff;
use super::near::Bound;
use crate::digest::Sha256;

/// Blobs of which far is asked at the same time.
const AT_ONCE: usize = 8;

const WAIT: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// A blob that may go: when it was last opened, and its size. The order is that in which they go.
type Candidate = (SystemTime, Sha256, u64);

pub(super) async fn evict(tiers: &Arc<Tiers>) {
    let Some(bound) = tiers.near.bound() else { return };
    let mut failures = 0;
    loop {
        match pass(tiers, bound).await {
            Ok(true) => failures = 0,
            Ok(false) => failures += 1,
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "near is over its bound, and far cannot be asked what may go");
            }
        }
        if failures > 0 {
            tokio::time::sleep(WAIT.after(failures)).await;
        } else {
            bound.over.notified().await;
        }
    }
}

/// Counts what near has, and evicts until there is room. `false`: too much of it has no second copy yet.
async fn pass(tiers: &Arc<Tiers>, bound: &Bound) -> Result<bool, BlobError> {
    count(tiers, bound).await?;
    let mut only = HashSet::new();
    while bound.is_over() {
        let oldest = oldest(tiers, bound.excess(), only.clone()).await?;
        if oldest.is_empty() {
            return Ok(false);
        }
        let found = evict_all(tiers, oldest).await?;
        if found.is_empty() {
            break;
        }
        only.extend(found);
    }
    Ok(true)
}

async fn count(tiers: &Tiers, bound: &Bound) -> Result<(), BlobError> {
    let before = bound.used();
    let counted = tiers.near.look_at_all(0, |counted, entry| *counted += entry.size).await?;
    bound.counted(counted, before);
    tiers.counters.show_near(bound.used());
    Ok(())
}

/// The blobs that were opened longest ago and together have `excess` bytes, or all that there are but `only`.
async fn oldest(tiers: &Tiers, excess: u64, only: HashSet<Sha256>) -> Result<Vec<Candidate>, BlobError> {
    let look = move |(oldest, bytes): &mut (BinaryHeap<Candidate>, u64), entry: Entry| {
        if only.contains(&entry.digest) {
            return;
        }
        *bytes += entry.size;
        oldest.push((entry.used, entry.digest, entry.size));
        // On top is the one opened last. It stays when the others are enough.
        while let Some((_, _, size)) = oldest.peek()
            && *bytes - size >= excess
        {
            *bytes -= size;
            oldest.pop();
        }
    };
    let (oldest, _) = tiers.near.look_at_all((BinaryHeap::new(), 0), look).await?;
    Ok(oldest.into_sorted_vec())
}

/// Evicts what may go, and returns what may not.
async fn evict_all(tiers: &Arc<Tiers>, oldest: Vec<Candidate>) -> Result<Vec<Sha256>, BlobError> {
    let (mut only, mut running) = (Vec::new(), JoinSet::new());
    let mut oldest = oldest.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some((_, digest, size)) = oldest.next()
        {
            let tiers = Arc::clone(tiers);
            running
                .spawn(async move { Ok::<_, BlobError>((digest, evict_one(&tiers, &digest, size).await?)) });
        }
        let Some(done) = running.join_next().await else { return Ok(only) };
        let (digest, evicted) = done.map_err(std::io::Error::other)??;
        if !evicted {
            only.push(digest);
        }
    }
}

/// `false`: it has to stay until far has it, which is seen to.
async fn evict_one(tiers: &Tiers, digest: &Sha256, size: u64) -> Result<bool, BlobError> {
    if tiers.far.size(digest).await? != Some(size) {
        let _turn = tiers.turns.take(*digest).await;
        if tiers.near.size(digest).await?.is_some() {
            tiers.outbox.mark(*digest).await?;
        }
        return Ok(false);
    }
    let _turn = tiers.turns.take(*digest).await;
    // It may have come again since far was asked, after it was removed there.
    if tiers.outbox.holds(digest).await? {
        return Ok(false);
    }
    if tiers.near.drop_copy(digest).await? {
        tiers.counters.evictions.increment(1);
    }
    Ok(true)
}
