//! A near store that is full: what was not used for longest goes, and never the only copy.

use std::fs::{File, FileTimes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use quire::blob::BlobStore;
use quire::blob::tiered::Acknowledge;
use quire::digest::Sha256;
use tokio::task::{JoinHandle, JoinSet};

use super::{Tiers, bytes};
use crate::disk::eventually;

const MAX: u64 = 1_000_000;
const BLOB: usize = 100_000;

/// The job that keeps near small.
fn evict(tiers: &Tiers) -> JoinHandle<()> {
    let store = tiers.store.clone();
    tokio::spawn(async move { store.evict().await })
}

/// What near has, once nothing moves while it is counted.
async fn near_bytes(tiers: &Tiers) -> u64 {
    let mut before = count(tiers);
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = count(tiers);
        if now == before {
            return now;
        }
        before = now;
    }
}

fn count(tiers: &Tiers) -> u64 {
    let mut bytes = 0;
    for folder in std::fs::read_dir(tiers.folder.path().join("blobs/sha256")).unwrap() {
        for entry in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            // One that went meanwhile has no size.
            bytes += entry.unwrap().metadata().map_or(0, |metadata| metadata.len());
        }
    }
    bytes
}

/// Says that a blob was opened so many hours ago.
fn age(tiers: &Tiers, digest: &Sha256, hours: u32) {
    let hex = digest.hex();
    let path = tiers.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    let then = SystemTime::now() - Duration::from_secs(3600) * hours;
    File::open(path).unwrap().set_times(FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
}

#[tokio::test]
async fn what_was_opened_longest_ago_goes_first() {
    let tiers = Tiers::new(Acknowledge::Far, Some(MAX));
    let mut digests = Vec::new();
    for n in 0..12 {
        let digest = tiers.put(&bytes(BLOB, n)).await.unwrap();
        age(&tiers, &digest, 100 - n);
        digests.push(digest);
    }
    // The very first is used now.
    tiers.read(&digests[0]).await.unwrap();
    let job = evict(&tiers);
    eventually("near is small", async || near_bytes(&tiers).await <= MAX * 9 / 10).await;
    let mut near = Vec::new();
    for digest in &digests {
        near.push(tiers.is_near(digest).await);
    }
    let expected: Vec<bool> = (0..12).map(|n| n == 0 || n >= 4).collect();
    assert_eq!(near, expected);
    for (n, digest) in digests.iter().enumerate() {
        assert!(tiers.read(digest).await.unwrap() == bytes(BLOB, n as u32), "all are there");
    }
    job.abort();
}

/// The bound holds while more is read than near can hold.
#[tokio::test]
async fn fills_wait_for_room() {
    let tiers = Tiers::new(Acknowledge::Far, Some(MAX));
    let job = evict(&tiers);
    for n in 0..40 {
        let blob = bytes(BLOB, n);
        tiers.far.has(Sha256::of(&blob), &blob);
        assert!(tiers.read(&Sha256::of(&blob)).await.unwrap() == blob);
        let now = near_bytes(&tiers).await;
        assert!(now <= MAX, "{now} after {n}");
    }
    eventually("the last are kept", async || tiers.is_near(&Sha256::of(&bytes(BLOB, 39))).await).await;
    // What is larger than all of near is given out and not kept.
    let large = bytes(1_500_000, 100);
    tiers.far.has(Sha256::of(&large), &large);
    assert!(tiers.read(&Sha256::of(&large)).await.unwrap() == large);
    assert!(tiers.read(&Sha256::of(&large)).await.unwrap() == large);
    assert!(!tiers.is_near(&Sha256::of(&large)).await);
    job.abort();
}

/// P2: what only near has stays, however full near is: it is shipped first.
#[tokio::test]
async fn p2_the_only_copy_never_goes() {
    for acknowledge in [Acknowledge::Far, Acknowledge::Near] {
        let tiers = Tiers::new(acknowledge, Some(MAX));
        let mut digests = Vec::new();
        for n in 0..15 {
            let digest = tiers.put(&bytes(BLOB, n)).await.unwrap();
            // Far lost it, or never had it.
            tiers.far.remove_quietly(&digest);
            digests.push(digest);
        }
        // One of another size is no copy.
        tiers.far.has(digests[0], &bytes(BLOB - 1, 0));
        let job = evict(&tiers);
        for n in 100..105 {
            let blob = bytes(BLOB, n);
            tiers.far.has(Sha256::of(&blob), &blob);
            assert!(tiers.read(&Sha256::of(&blob)).await.unwrap() == blob);
        }
        eventually("near has noted what far lacks", async || tiers.marks() == 15).await;
        for digest in &digests {
            assert!(tiers.is_near(digest).await);
        }
        // Far is down: nothing is certain.
        tiers.far.is_down(true);
        let store = tiers.store.clone();
        let ship = tokio::spawn(async move { store.ship().await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(near_bytes(&tiers).await >= 15 * BLOB as u64);
        tiers.far.is_down(false);
        eventually("near is small", async || near_bytes(&tiers).await <= MAX).await;
        for (n, digest) in digests.iter().enumerate() {
            assert!(tiers.read(digest).await.unwrap() == bytes(BLOB, n as u32));
        }
        job.abort();
        ship.abort();
    }
}

/// P2: readers, pushers and the job that evicts at the same time: nobody reads anything else than what was put.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p2_eviction_races_with_everything() {
    for acknowledge in [Acknowledge::Far, Acknowledge::Near] {
        let tiers = Arc::new(Tiers::new(acknowledge, Some(20 * 1000)));
        let ship = tiers.store.clone();
        let jobs = [evict(&tiers), tokio::spawn(async move { ship.ship().await })];
        let mut digests = Vec::new();
        for n in 0..60 {
            digests.push(tiers.put(&bytes(1000, n)).await.unwrap());
        }
        let digests = Arc::new(digests);
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..8usize {
            let (tiers, digests, stop) = (Arc::clone(&tiers), Arc::clone(&digests), Arc::clone(&stop));
            clients.spawn(async move {
                let mut turns = 0;
                while !stop.load(Ordering::SeqCst) {
                    let n = (client * 17 + turns * 7) % 60;
                    let expected = bytes(1000, n as u32);
                    if client % 4 == 0 {
                        assert_eq!(tiers.put(&expected).await.unwrap(), digests[n]);
                    }
                    assert_eq!(tiers.read(&digests[n]).await.expect("it is somewhere"), expected);
                    turns += 1;
                }
                turns
            });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::SeqCst);
        while let Some(turns) = clients.join_next().await {
            assert!(turns.unwrap() > 10);
        }
        eventually("near is small", async || near_bytes(&tiers).await <= 20 * 1000).await;
        for (n, digest) in digests.iter().enumerate() {
            assert!(tiers.read(digest).await.unwrap() == bytes(1000, n as u32));
        }
        jobs.iter().for_each(JoinHandle::abort);
    }
}

/// An open reader keeps its file.
#[tokio::test]
async fn what_is_open_stays_readable() {
    let tiers = Tiers::new(Acknowledge::Far, Some(MAX));
    let digest = tiers.put(&bytes(BLOB, 0)).await.unwrap();
    let open = tiers.store.open(&digest).await.unwrap().unwrap();
    age(&tiers, &digest, 10);
    for n in 1..12 {
        tiers.put(&bytes(BLOB, n)).await.unwrap();
    }
    let job = evict(&tiers);
    eventually("it is evicted", async || !tiers.is_near(&digest).await).await;
    assert!(open.read_checked(digest).await.unwrap().unwrap() == bytes(BLOB, 0));
    job.abort();
}
