//! Reading from far: one fetch for all, read while it arrives, and only what has its digest ends well.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quire::blob::file_body::FileBody;
use quire::blob::tiered::Acknowledge;
use quire::blob::{Blob, BlobError, BlobStore, Content};
use quire::digest::Sha256;
use tokio::task::JoinSet;

use super::{Tiers, bytes};
use crate::disk::eventually;

const SIZE: usize = 5_000_000;

fn tiers() -> Tiers {
    Tiers::new(Acknowledge::Far, None)
}

/// A part of a blob as an answer sends it.
struct Reader {
    body: FileBody,
    got: Vec<u8>,
}

impl Reader {
    fn of(blob: Blob, first: usize, end: usize) -> Self {
        let (first, end) = (first as u64, end as u64);
        let body = match blob.content {
            Content::Filling(filling) => FileBody::arriving(filling, first, end),
            Content::File(file) => FileBody::new(file, first, end),
            Content::Memory(_) => panic!("nothing is in memory here"),
        };
        Self { body, got: Vec::new() }
    }

    async fn piece(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|context| self.body.poll_next(context)).await
    }

    async fn read(&mut self, bytes: usize) {
        while self.got.len() < bytes {
            let piece = self.piece().await.expect("more").expect("no end");
            self.got.extend(piece);
        }
    }

    /// The rest; an error when it is cut off.
    async fn rest(mut self) -> io::Result<Vec<u8>> {
        while let Some(piece) = self.piece().await {
            self.got.extend(piece?);
        }
        Ok(self.got)
    }
}

/// P1: what is read while it arrives is hashed before it ends, and near keeps it.
#[tokio::test]
async fn p1_the_first_bytes_come_before_the_last_were_fetched() {
    let tiers = tiers();
    let blob = bytes(SIZE, 1);
    let digest = Sha256::of(&blob);
    tiers.far.has(digest, &blob);
    tiers.far.let_through(300_000);
    let opened = tiers.store.open(&digest).await.unwrap().unwrap();
    assert_eq!(opened.size, SIZE as u64);
    let mut reader = Reader::of(opened, 0, SIZE);
    reader.read(300_000).await;
    assert!(reader.got == blob[..300_000]);

    tiers.far.let_through(SIZE as u64 - 1);
    reader.read(SIZE - 200_000).await;
    let end = tokio::time::timeout(Duration::from_millis(50), reader.read(SIZE)).await;
    assert!(end.is_err(), "nobody gets the end before the digest is known");
    assert!(!tiers.is_near(&digest).await);
    tiers.far.let_through(u64::MAX);
    assert!(reader.rest().await.unwrap() == blob);
    eventually("it is kept", async || tiers.is_near(&digest).await).await;
    let again = tiers.store.open(&digest).await.unwrap().unwrap();
    assert!(matches!(again.content, Content::File(_)));
    assert_eq!(tiers.far.fetches(), 1);
}

#[tokio::test]
async fn a_hundred_readers_are_one_fetch() {
    let tiers = tiers();
    let blob = bytes(SIZE, 2);
    let digest = Sha256::of(&blob);
    tiers.far.has(digest, &blob);
    tiers.far.let_through(1_000_000);
    let mut readers = JoinSet::new();
    for number in 0..100 {
        let (store, first) = (tiers.store.clone(), number * 40_000);
        readers.spawn(async move {
            let blob = store.open(&digest).await.unwrap().unwrap();
            (first, Reader::of(blob, first, SIZE).rest().await.unwrap())
        });
    }
    tokio::task::yield_now().await;
    tiers.far.let_through(u64::MAX);
    while let Some(read) = readers.join_next().await {
        let (first, got) = read.unwrap();
        assert!(got == blob[first..], "from {first}");
    }
    assert_eq!(tiers.far.fetches(), 1);
}

/// P1: a part from anywhere waits for its bytes, and for the digest of the whole.
#[tokio::test]
async fn p1_a_part_waits_for_its_bytes() {
    let tiers = tiers();
    let blob = bytes(SIZE, 3);
    let digest = Sha256::of(&blob);
    tiers.far.has(digest, &blob);
    tiers.far.let_through(2_000_000);
    let open = async || tiers.store.open(&digest).await.unwrap().unwrap();
    let mut arrived = Reader::of(open().await, 100_000, 1_000_000);
    let mut behind = Reader::of(open().await, 3_000_000, 4_000_000);
    arrived.read(700_000).await;
    let waits = Duration::from_millis(50);
    assert!(tokio::time::timeout(waits, behind.piece()).await.is_err(), "it has not come yet");
    tiers.far.let_through(SIZE as u64 - 1);
    behind.read(800_000).await;
    assert!(tokio::time::timeout(waits, arrived.read(900_000)).await.is_err(), "a part ends with the whole");
    tiers.far.let_through(u64::MAX);
    assert!(arrived.rest().await.unwrap() == blob[100_000..1_000_000]);
    assert!(behind.rest().await.unwrap() == blob[3_000_000..4_000_000]);
}

/// P1: whatever is wrong, every reader is cut off and nothing is kept.
#[tokio::test]
async fn p1_wrong_bytes_end_well_for_nobody() {
    let right = bytes(SIZE, 4);
    let digest = Sha256::of(&right);
    let mut flipped = right.clone();
    flipped[SIZE - 1] ^= 1;
    for (wrong, is_passing) in [(&flipped[..], false), (&right[..SIZE - 1], false), (&right[..], true)] {
        let tiers = tiers();
        tiers.far.has(digest, wrong);
        if is_passing {
            tiers.far.break_at(SIZE as u64 - 10);
        }
        tiers.far.let_through(1_000_000);
        let mut readers = JoinSet::new();
        for first in [0, 0, 500_000, 4_000_000, SIZE - 100] {
            let blob = tiers.store.open(&digest).await.unwrap().unwrap();
            let end = usize::try_from(blob.size).unwrap();
            readers.spawn(Reader::of(blob, first, end).rest());
        }
        tiers.far.let_through(u64::MAX);
        while let Some(read) = readers.join_next().await {
            read.unwrap().unwrap_err();
        }
        assert!(!tiers.is_near(&digest).await);
        assert_eq!(tiers.far.fetches(), 1);

        // At once nobody tries again; in a moment the next reader does.
        let at_once = tiers.store.open(&digest).await.unwrap_err();
        assert_eq!(matches!(at_once, BlobError::Unavailable(_)), is_passing, "{at_once}");
        assert_eq!(tiers.far.fetches(), 1);
        tiers.far.has(digest, &right);
        tiers.far.break_at(u64::MAX);
        eventually("it is tried again", async || tiers.store.open(&digest).await.is_ok()).await;
        assert!(tiers.read(&digest).await.is_none_or(|read| read == right));
    }
}

#[tokio::test]
async fn a_fill_goes_on_when_its_reader_goes_away() {
    let tiers = tiers();
    let blob = bytes(SIZE, 5);
    let digest = Sha256::of(&blob);
    tiers.far.has(digest, &blob);
    tiers.far.let_through(1_000_000);
    // Also one that goes before the fill has begun.
    drop(tokio::time::timeout(Duration::ZERO, tiers.store.open(&digest)).await);
    let mut reader = Reader::of(tiers.store.open(&digest).await.unwrap().unwrap(), 0, SIZE);
    reader.read(100_000).await;
    drop(reader);
    tiers.far.let_through(u64::MAX);
    eventually("it is kept", async || tiers.is_near(&digest).await).await;
    assert_eq!(tiers.far.fetches(), 1);
}

#[tokio::test]
async fn near_goes_on_while_far_is_down() {
    let tiers = tiers();
    let near = tiers.put(b"near").await.unwrap();
    let far = Sha256::of(b"far");
    tiers.far.has(far, b"far");
    tiers.far.is_down(true);
    assert_eq!(tiers.read(&near).await.unwrap(), "near");
    assert_eq!(tiers.store.size(&near).await.unwrap(), Some(4));
    for missing in [far, Sha256::of(b"nowhere")] {
        let error = tiers.store.open(&missing).await.unwrap_err();
        assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
        let error = tiers.store.size(&missing).await.unwrap_err();
        assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
    }
    // A push needs both.
    let error = tiers.put(b"new").await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
    tiers.far.is_down(false);
    eventually("it is fetched", async || tiers.store.open(&far).await.is_ok()).await;
    assert_eq!(tiers.read(&far).await.unwrap(), "far");
    let nowhere = Sha256::of(b"nowhere");
    eventually("it is asked for", async || matches!(tiers.store.open(&nowhere).await, Ok(None))).await;
}

/// What was removed while it arrived does not come back.
#[tokio::test]
async fn a_fill_of_what_was_removed_is_not_kept() {
    let tiers = tiers();
    let blob = bytes(SIZE, 6);
    let digest = Sha256::of(&blob);
    tiers.far.has(digest, &blob);
    tiers.far.let_through(1_000_000);
    let reader = Reader::of(tiers.store.open(&digest).await.unwrap().unwrap(), 0, SIZE);
    assert!(tiers.store.remove(&digest).await.unwrap());
    tiers.far.let_through(u64::MAX);
    assert!(reader.rest().await.unwrap() == blob, "law 5");
    // The next open waits for the end of that fill, or comes after it.
    eventually("the fill has ended", async || tiers.store.open(&digest).await.unwrap().is_none()).await;
    assert!(!tiers.is_near(&digest).await);
}

/// A copy that a disk damaged is fetched again, once somebody has noticed.
#[tokio::test]
async fn a_damaged_near_copy_gives_way_to_far() {
    let tiers = tiers();
    let digest = tiers.put(b"healthy").await.unwrap();
    let hex = digest.hex();
    let path = tiers.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "damaged").unwrap();
    assert!(tiers.store.open(&digest).await.unwrap().unwrap().read_checked(digest).await.unwrap().is_none());
    assert!(tiers.store.drop_damaged(&digest, 7).await.unwrap());
    assert_eq!(tiers.read(&digest).await.unwrap(), "healthy");
    // The only copy stays, whatever it is.
    tiers.far.remove_quietly(&digest);
    eventually("it is kept", async || tiers.is_near(&digest).await).await;
    assert!(!tiers.store.drop_damaged(&digest, 7).await.unwrap());
    assert!(tiers.is_near(&digest).await);
}

/// Far and near are one list.
#[tokio::test]
async fn lists_are_of_both() {
    let tiers = tiers();
    let mut all = Vec::new();
    for n in 0..200u32 {
        let blob = bytes(10, n);
        let digest = Sha256::of(&blob);
        if n % 3 == 0 {
            tiers.put(&blob).await.unwrap();
        } else if n % 3 == 1 {
            tiers.far.has(digest, &blob);
        } else {
            tiers.put(&blob).await.unwrap();
            tiers.far.remove_quietly(&digest);
        }
        all.push((digest, 10));
    }
    all.sort_unstable();
    for limit in [1, 7, 199, 200, 1000] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = tiers.store.list(after, limit).await.unwrap();
            listed.extend_from_slice(&page);
            after = page.last().map(|(digest, _)| *digest);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(listed, all, "in pages of {limit}");
    }
    let store = Arc::new(tiers.store);
    tiers.far.is_down(true);
    assert!(store.list(None, 10).await.is_err(), "half a list is none");
}
