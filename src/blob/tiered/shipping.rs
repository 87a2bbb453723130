//! What takes blobs from near to far: those of the outbox, and those that far turns out to lack.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::BlobError;
use super::Tiers;
use super::backoff::Backoff;
use super::outbox::Shipment;
use crate::digest::Sha256;

/// Blobs that are shipped at the same time.
const SHIPPERS: usize = 4;
/// How often the metrics are told what waits.
const TELL_EVERY: Duration = Duration::from_secs(2);

const WAIT: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(30) };

/// What came of shipping a blob.
enum Outcome {
    /// Far has it.
    There,
    /// Far had it before.
    WasThere,
    /// Near does not have it, or has other bytes under its digest.
    Lost(&'static str),
}

pub(super) async fn ship(tiers: &Arc<Tiers>) {
    let mut failures = 0;
    while let Err(error) = tiers.outbox.load().await {
        failures += 1;
        tracing::error!(%error, "the outbox cannot be read; it is tried again");
        tokio::time::sleep(WAIT.after(failures)).await;
    }
    // They end with this future.
    let mut workers = JoinSet::new();
    for _ in 0..SHIPPERS {
        let tiers = Arc::clone(tiers);
        workers.spawn(async move { work_off(&tiers).await });
    }
    loop {
        let waiting = tiers.outbox.waiting();
        tiers.counters.show_outbox(&waiting);
        tokio::time::sleep(TELL_EVERY).await;
    }
}

async fn work_off(tiers: &Tiers) {
    let mut failures = 0;
    loop {
        let shipment = tiers.outbox.next().await;
        match ship_marked(tiers, shipment).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tiers.counters.ship_failures.increment(1);
                // Told when it begins, and not each time.
                if failures == 1 {
                    tracing::warn!(digest = %shipment.digest, %error, "a blob could not be shipped; it is tried again");
                }
                tokio::time::sleep(WAIT.after(failures)).await;
                tiers.outbox.put_back(shipment);
            }
        }
    }
}

async fn ship_marked(tiers: &Tiers, shipment: Shipment) -> Result<(), BlobError> {
    let digest = shipment.digest;
    let _shipment = tiers.shipments.take(digest).await;
    if !tiers.outbox.is_marked(&digest) {
        // It was removed meanwhile.
        return Ok(());
    }
    match ship_one(tiers, &digest).await? {
        Outcome::There | Outcome::WasThere => {
            let _turn = tiers.turns.take(digest).await;
            Ok(tiers.outbox.shipped(shipment).await?)
        }
        Outcome::Lost(reason) => {
            // The operator sees it in the metrics. The next start tries again, and the next push of it.
            tiers.counters.ship_failures.increment(1);
            tracing::error!(%digest, reason, "a blob that was to be shipped cannot be");
            let _turn = tiers.turns.take(digest).await;
            tiers.outbox.stuck(shipment);
            Ok(())
        }
    }
}

/// `false`: far had it, or it is in the outbox.
pub(super) async fn ship_missing(tiers: &Tiers, digest: &Sha256, size: u64) -> Result<bool, BlobError> {
    if tiers.far.size(digest).await? == Some(size) || tiers.outbox.holds(digest).await? {
        return Ok(false);
    }
    let _shipment = tiers.shipments.take(*digest).await;
    match ship_one(tiers, digest).await? {
        Outcome::There => Ok(true),
        Outcome::WasThere => Ok(false),
        Outcome::Lost(reason) => Err(BlobError::Io(std::io::Error::other(reason))),
    }
}

/// The caller has the turn of shipments.
async fn ship_one(tiers: &Tiers, digest: &Sha256) -> Result<Outcome, BlobError> {
    let far = tiers.far.size(digest).await?;
    let near = tiers.near.size(digest).await?;
    match (near, far) {
        (Some(near), Some(far)) if near == far => return Ok(Outcome::WasThere),
        (None, Some(_)) => return Ok(Outcome::WasThere),
        (None, None) => return Ok(Outcome::Lost("neither near nor far has it")),
        (Some(_), Some(_) | None) => {}
    }
    let staged = match tiers.staging.rehash(&tiers.near.path(digest)).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Outcome::Lost("it went from near"));
        }
        other => other?,
    };
    if staged.digests().sha256 != *digest {
        return Ok(Outcome::Lost("its bytes in near are damaged"));
    }
    tiers.far.put(&staged).await?;
    tiers.counters.shipped.increment(1);
    Ok(Outcome::There)
}
