//! Pushes and how they get to far: with the acknowledgement, or later and for certain.

use std::time::Duration;

use quire::blob::tiered::Acknowledge;
use quire::blob::{BlobError, BlobStore};
use quire::digest::Sha256;
use tokio::task::JoinHandle;

use super::{Tiers, bytes};
use crate::disk::eventually;

fn ship(tiers: &Tiers) -> JoinHandle<()> {
    let store = tiers.store.clone();
    tokio::spawn(async move { store.ship().await })
}

/// P2: a push is acknowledged when far has it, and not before.
#[tokio::test]
async fn p2_a_push_waits_for_far() {
    let tiers = Tiers::new(Acknowledge::Far, None);
    tiers.far.let_puts_through(false);
    let staged = tiers.stage(b"both").await;
    let put = tiers.store.put(&staged);
    let mut put = std::pin::pin!(put);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut put).await.is_err());
    tiers.far.let_puts_through(true);
    put.await.unwrap();
    let digest = Sha256::of(b"both");
    assert!(tiers.far.holds(&digest) && tiers.is_near(&digest).await);

    tiers.far.is_down(true);
    let refused = tiers.put(b"neither").await.unwrap_err();
    assert!(matches!(refused, BlobError::Unavailable(_)), "{refused}");
}

/// P2: a push that is acknowledged by near is shipped, whenever far is there, by whichever process.
#[tokio::test]
async fn p2_the_outbox_survives_a_restart() {
    let tiers = Tiers::new(Acknowledge::Near, None);
    tiers.far.is_down(true);
    let job = ship(&tiers);
    let mut digests = Vec::new();
    for n in 0..20 {
        digests.push(tiers.put(&bytes(5000, n)).await.unwrap());
    }
    assert_eq!(tiers.marks(), 20, "each is noted before it is acknowledged");
    eventually("it was tried", async || tiers.store.waiting().blobs == 20).await;
    job.abort();

    // Another process, that would acknowledge later now; and a file that is none of ours.
    std::fs::write(tiers.folder.path().join("outbox/README"), "x").unwrap();
    let tiers = tiers.reopen(Acknowledge::Far, None);
    assert_eq!(tiers.store.waiting().blobs, 0, "P9: opening reads nothing");
    let job = ship(&tiers);
    eventually("the notes are read", async || tiers.store.waiting().blobs == 20).await;
    tiers.far.is_down(false);
    eventually("all is shipped", async || tiers.marks() == 1).await;
    for digest in &digests {
        assert!(tiers.far.holds(digest));
    }
    let waiting = tiers.store.waiting();
    assert_eq!((waiting.blobs, waiting.oldest), (0, None));
    job.abort();
}

/// P2: what is removed waits for the shipment that would bring it back, and is shipped again when it is pushed again.
#[tokio::test]
async fn p2_what_is_removed_while_it_is_shipped_is_gone() {
    let tiers = Tiers::new(Acknowledge::Near, None);
    let job = ship(&tiers);
    tiers.far.let_puts_through(false);
    let digest = tiers.put(b"again").await.unwrap();
    eventually("it is on its way", async || tiers.far.puts() == 1).await;
    let store = tiers.store.clone();
    let mut removal = tokio::spawn(async move { store.remove(&digest).await });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut removal).await.is_err());
    tiers.far.let_puts_through(true);
    assert!(removal.await.unwrap().unwrap());
    assert!(!tiers.far.holds(&digest) && !tiers.is_near(&digest).await && tiers.marks() == 0);

    assert_eq!(tiers.put(b"again").await.unwrap(), digest);
    eventually("it is shipped", async || tiers.marks() == 0).await;
    assert!(tiers.far.holds(&digest));
    job.abort();
}

/// P2: what comes again while it is shipped is looked at again, also when that shipment found it damaged.
#[tokio::test]
async fn p2_what_comes_again_while_it_is_shipped_stays_noted() {
    let tiers = Tiers::new(Acknowledge::Near, None);
    let job = ship(&tiers);
    tiers.far.answer_puts(false);
    let digest = tiers.put(b"again").await.unwrap();
    eventually("far has it, and has not said so", async || tiers.far.holds(&digest)).await;
    tiers.put(b"again").await.unwrap();
    // Far loses it in this moment: the first shipment must not be the last word.
    tiers.far.remove_quietly(&digest);
    tiers.far.let_puts_through(false);
    tiers.far.answer_puts(true);
    eventually("it is shipped once more", async || tiers.far.puts() == 2).await;
    assert_eq!(tiers.marks(), 1);
    tiers.far.let_puts_through(true);
    eventually("it is shipped", async || tiers.marks() == 0).await;
    assert!(tiers.far.holds(&digest));
    job.abort();
}

/// P1: a copy that the disk has damaged is not shipped, and its note stays for the operator.
#[tokio::test]
async fn p1_damaged_bytes_are_not_shipped() {
    let tiers = Tiers::new(Acknowledge::Near, None);
    let digest = tiers.put(b"healthy").await.unwrap();
    let lost = tiers.put(b"lost").await.unwrap();
    let path = |digest: &Sha256| {
        let hex = digest.hex();
        tiers.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex)
    };
    std::fs::remove_file(path(&digest)).unwrap();
    std::fs::write(path(&digest), "damaged").unwrap();
    std::fs::remove_file(path(&lost)).unwrap();
    let job = ship(&tiers);
    let healthy = tiers.put(b"another").await.unwrap();
    eventually("the others are shipped", async || tiers.far.holds(&healthy) && tiers.marks() == 2).await;
    assert!(!tiers.far.holds(&digest));
    assert_eq!(tiers.store.waiting().blobs, 2);
    // What is pushed again is there again.
    std::fs::remove_file(path(&digest)).unwrap();
    tiers.put(b"healthy").await.unwrap();
    eventually("it is shipped", async || tiers.far.holds(&digest)).await;
    job.abort();
}

/// What far turns out to lack is shipped from near; what it has is not touched.
#[tokio::test]
async fn what_far_lacks_is_shipped() {
    let tiers = Tiers::new(Acknowledge::Far, None);
    let digest = tiers.put(b"near").await.unwrap();
    assert!(!tiers.store.ship_missing(&digest, 4).await.unwrap());
    tiers.far.remove_quietly(&digest);
    assert!(tiers.store.ship_missing(&digest, 4).await.unwrap());
    assert!(tiers.far.holds(&digest));
    tiers.far.has(digest, b"torn off");
    assert!(tiers.store.ship_missing(&digest, 4).await.unwrap());
    assert_eq!(tiers.store.list(None, 10).await.unwrap(), [(digest, 4)]);
    assert!(tiers.store.ship_missing(&Sha256::of(b"nowhere"), 7).await.is_err());
}
