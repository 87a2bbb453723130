//! The numbered laws of the blob store, stamped as one test each for every implementation.

use std::sync::Arc;

use bytes::Bytes;
use quire::blob::far::{FarOnly, MemoryFar};
use quire::blob::faulty::FaultyStore;
use quire::blob::local::{LocalCounters, LocalStore};
use quire::blob::memory::MemoryStore;
#[cfg(feature = "s3")]
use quire::blob::s3::{S3Counters, S3Store, S3Tuning};
use quire::blob::tiered::{Acknowledge, TieredStore};
use quire::blob::{BlobStore, Content};
use quire::digest::{Algorithm, Sha256};
use quire::fault::Fault;
use quire::staging::{Staged, Staging};

#[cfg(feature = "s3")]
use crate::harness::s3_stub::{Manners, Stub};
#[cfg(feature = "s3")]
use crate::harness::seaweed::{credentials, seaweed, settings};
use crate::tiered as tiers;

/// A store with a staging folder on its file system.
struct Fixture<S> {
    store: Arc<S>,
    staging: Staging,
    folder: tempfile::TempDir,
}

impl<S: BlobStore> Fixture<S> {
    fn new(make: impl FnOnce(&std::path::Path) -> S) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::open(folder.path().join("staging")).unwrap();
        Self { store: Arc::new(make(folder.path())), staging, folder }
    }

    async fn stage(&self, bytes: &[u8]) -> Staged {
        let mut intake = self.staging.begin(Algorithm::Sha256, u64::MAX).await.unwrap();
        intake.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        intake.finish(Algorithm::Sha256).await.unwrap()
    }

    async fn read(&self, digest: &Sha256) -> Option<Bytes> {
        match self.store.open(digest).await.unwrap() {
            None => None,
            Some(blob) => {
                let size = blob.size;
                let bytes = blob.read_checked(*digest).await.unwrap().expect("bytes of their digest");
                assert_eq!(size, bytes.len() as u64);
                Some(bytes)
            }
        }
    }
}

async fn memory() -> Fixture<MemoryStore> {
    Fixture::new(|_| MemoryStore::default())
}

async fn local() -> Fixture<LocalStore> {
    Fixture::new(|folder| LocalStore::open(&folder.join("blobs"), LocalCounters::noop()).unwrap())
}

/// A wrapper without faults changes nothing.
async fn faultless() -> Fixture<FaultyStore<LocalStore>> {
    Fixture::new(|folder| {
        FaultyStore::new(LocalStore::open(&folder.join("blobs"), LocalCounters::noop()).unwrap())
    })
}

/// Near and far, with pushes that wait for both.
async fn tiered() -> Fixture<TieredStore> {
    Fixture::new(|folder| tiers::open(folder, Arc::new(MemoryFar::default()), Acknowledge::Far, None))
}

/// Pushes that are shipped later, and a near store that is always full: what is read comes from anywhere.
async fn crowded() -> Fixture<TieredStore> {
    Fixture::new(|folder| {
        let store = tiers::open(folder, Arc::new(MemoryFar::default()), Acknowledge::Near, Some(1));
        let (ship, evict) = (store.clone(), store.clone());
        tokio::spawn(async move { tokio::join!(ship.ship(), evict.evict()) });
        store
    })
}

/// Blobs that arrive piece by piece.
async fn far() -> Fixture<FarOnly<MemoryFar>> {
    Fixture::new(|folder| FarOnly::new(MemoryFar::default(), Staging::open(folder.join("staging")).unwrap()))
}

/// A real S3 server.
#[cfg(feature = "s3")]
async fn s3() -> Option<Fixture<FarOnly<S3Store>>> {
    let (settings, credentials) = (seaweed()?.settings(), credentials());
    let store = S3Store::connect(settings, &credentials, S3Tuning::default(), S3Counters::noop());
    let store = store.await.unwrap();
    Some(Fixture::new(|folder| FarOnly::new(store, Staging::open(folder.join("staging")).unwrap())))
}

/// The server that goes wrong where it is told to, and here is not.
#[cfg(feature = "s3")]
async fn s3_stub() -> Fixture<FarOnly<S3Store>> {
    let stub = Stub::start(Manners::default()).await;
    let settings = settings(stub.address, "laws/");
    let store = S3Store::connect(settings, &credentials(), S3Tuning::default(), S3Counters::noop()).await;
    let store = store.unwrap();
    Fixture::new(|folder| FarOnly::new(store, Staging::open(folder.join("staging")).unwrap()))
}

/// All blobs but the smallest in parts.
#[cfg(feature = "s3")]
async fn s3_in_parts() -> Fixture<FarOnly<S3Store>> {
    let stub = Stub::start(Manners::default()).await;
    let settings = settings(stub.address, "laws/");
    let tuning = S3Tuning { largest_single_put: 3, part_size: 100_000, ..S3Tuning::default() };
    let store = S3Store::connect(settings, &credentials(), tuning, S3Counters::noop()).await.unwrap();
    Fixture::new(|folder| FarOnly::new(store, Staging::open(folder.join("staging")).unwrap()))
}

/// A near folder in front of a real S3 server.
#[cfg(feature = "s3")]
async fn tiered_s3() -> Option<Fixture<TieredStore>> {
    let (settings, credentials) = (seaweed()?.settings(), credentials());
    let far = S3Store::connect(settings, &credentials, S3Tuning::default(), S3Counters::noop());
    let far = Arc::new(far.await.unwrap());
    Some(Fixture::new(|folder| tiers::open(folder, far, Acknowledge::Far, None)))
}

async fn law_1_what_was_put_is_opened<S: BlobStore>(fixture: Fixture<S>) {
    for bytes in [b"".to_vec(), b"x".to_vec(), (0..3_000_000u32).map(|n| (n * 7) as u8).collect()] {
        let staged = fixture.stage(&bytes).await;
        fixture.store.put(&staged).await.unwrap();
        assert_eq!(fixture.read(&Sha256::of(&bytes)).await.unwrap(), bytes);
    }
}

async fn law_2_what_was_never_put_is_none<S: BlobStore>(fixture: Fixture<S>) {
    drop(fixture.stage(b"only staged").await);
    assert!(fixture.read(&Sha256::of(b"only staged")).await.is_none());
}

async fn law_4_putting_again_changes_nothing<S: BlobStore>(fixture: Fixture<S>) {
    let mut puts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let staged = fixture.stage(b"the same").await;
        let store = Arc::clone(&fixture.store);
        puts.spawn(async move { store.put(&staged).await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
    assert_eq!(fixture.read(&Sha256::of(b"the same")).await.unwrap(), &b"the same"[..]);
}

async fn law_5_an_open_blob_stays_readable<S: BlobStore>(fixture: Fixture<S>) {
    let staged = fixture.stage(b"stays").await;
    fixture.store.put(&staged).await.unwrap();
    let blob = fixture.store.open(&Sha256::of(b"stays")).await.unwrap().unwrap();
    drop(staged);
    drop(fixture.folder);
    let bytes = blob.read_checked(Sha256::of(b"stays")).await.unwrap();
    assert_eq!(bytes.unwrap(), &b"stays"[..]);
}

async fn law_6_the_staged_file_stays<S: BlobStore>(fixture: Fixture<S>) {
    let staged = fixture.stage(b"again").await;
    fixture.store.put(&staged).await.unwrap();
    assert_eq!(std::fs::read(staged.path()).unwrap(), b"again");
    fixture.store.put(&staged).await.unwrap();
}

async fn law_7_the_size_is_known_without_reading<S: BlobStore>(fixture: Fixture<S>) {
    let digest = Sha256::of(b"sized");
    assert_eq!(fixture.store.size(&digest).await.unwrap(), None);
    fixture.store.put(&fixture.stage(b"sized").await).await.unwrap();
    assert_eq!(fixture.store.size(&digest).await.unwrap(), Some(5));
}

async fn law_8_lists_are_whole_and_in_order<S: BlobStore>(fixture: Fixture<S>) {
    assert_eq!(fixture.store.list(None, 10).await.unwrap(), []);
    let mut all = Vec::new();
    for n in 0..300u64 {
        let bytes = vec![b'x'; usize::try_from(n).unwrap()];
        fixture.store.put(&fixture.stage(&bytes).await).await.unwrap();
        all.push((Sha256::of(&bytes), n));
    }
    drop(fixture.stage(b"only staged").await);
    all.sort_unstable();
    assert_eq!(fixture.store.list(None, 1000).await.unwrap(), all);
    for limit in [1, 7, 299, 300] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.store.list(after, limit).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            assert!(page.len() <= limit);
            after = Some(*last);
            listed.extend(page);
        }
        assert_eq!(listed, all, "in pages of {limit}");
    }
    // Behind a digest that is not there.
    let (mut missing, behind) = (all[100].0, all[101..].to_vec());
    missing.0[31] ^= 1;
    let expected = if missing < all[100].0 { all[100..].to_vec() } else { behind };
    assert_eq!(fixture.store.list(Some(missing), 1000).await.unwrap(), expected);
}

async fn law_9_what_was_removed_is_gone_and_may_come_again<S: BlobStore>(fixture: Fixture<S>) {
    let digest = Sha256::of(b"goes");
    assert!(!fixture.store.remove(&digest).await.unwrap());
    let staged = fixture.stage(b"goes").await;
    fixture.store.put(&staged).await.unwrap();
    fixture.store.put(&fixture.stage(b"stays").await).await.unwrap();
    let open = fixture.store.open(&digest).await.unwrap().unwrap();
    assert!(fixture.store.remove(&digest).await.unwrap());
    assert!(fixture.read(&digest).await.is_none());
    assert_eq!(fixture.store.size(&digest).await.unwrap(), None);
    assert_eq!(fixture.store.list(None, 10).await.unwrap(), [(Sha256::of(b"stays"), 5)]);
    assert_eq!(open.read_checked(digest).await.unwrap().unwrap(), &b"goes"[..], "law 5");
    assert!(!fixture.store.remove(&digest).await.unwrap());
    fixture.store.put(&staged).await.unwrap();
    assert_eq!(fixture.read(&digest).await.unwrap(), &b"goes"[..]);
}

/// Every store keeps all of them.
macro_rules! laws {
    ($($store:ident),*) => {$(
        mod $store {
            laws! { $store:
                law_1_what_was_put_is_opened, law_2_what_was_never_put_is_none,
                law_4_putting_again_changes_nothing, law_5_an_open_blob_stays_readable,
                law_6_the_staged_file_stays, law_7_the_size_is_known_without_reading,
                law_8_lists_are_whole_and_in_order, law_9_what_was_removed_is_gone_and_may_come_again
            }
        }
    )*};
    ($store:ident: $($law:ident),*) => {$(
        #[tokio::test]
        async fn $law() {
            // A service may be missing where the tests run.
            if let Some(fixture) = Option::from(super::$store().await) {
                super::$law(fixture).await;
            }
        }
    )*};
}

laws! { memory, local, faultless, far, tiered, crowded }
#[cfg(feature = "s3")]
laws! { s3, s3_stub, tiered_s3 }

/// Those laws that the size of a blob could touch.
#[cfg(feature = "s3")]
mod s3_in_parts {
    laws! { s3_in_parts:
        law_1_what_was_put_is_opened, law_4_putting_again_changes_nothing, law_6_the_staged_file_stays,
        law_9_what_was_removed_is_gone_and_may_come_again
    }
}

/// P2: law 3, the part that a process can see. A put that fails leaves the blob absent or whole, and can be repeated.
#[tokio::test]
async fn law_3_a_failed_put_leaves_absent_or_whole() {
    let fixture = faultless().await;
    let digest = Sha256::of(b"fails");
    let staged = fixture.stage(b"fails").await;
    fixture.store.fail_put(Fault::Before);
    assert!(fixture.store.put(&staged).await.is_err());
    assert!(fixture.read(&digest).await.is_none());
    fixture.store.fail_put(Fault::After);
    assert!(fixture.store.put(&staged).await.is_err());
    assert_eq!(fixture.read(&digest).await.unwrap(), &b"fails"[..]);
    fixture.store.put(&staged).await.unwrap();
    fixture.store.fail_open(Fault::Before);
    assert!(fixture.store.open(&digest).await.is_err());
}

/// The path that other programs may rely on.
#[tokio::test]
async fn local_blobs_stand_under_their_digest() {
    let fixture = local().await;
    let staged = fixture.stage(b"abc").await;
    fixture.store.put(&staged).await.unwrap();
    let hex = Sha256::of(b"abc").hex();
    let path = fixture.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    assert_eq!(std::fs::read(path).unwrap(), b"abc");
    let open = fixture.store.open(&Sha256::of(b"abc")).await.unwrap().unwrap();
    assert!(matches!(open.content, Content::File(_)));
}

/// A file that was damaged from outside is replaced when its bytes come again.
#[tokio::test]
async fn local_a_blob_of_the_wrong_size_is_healed_by_a_push() {
    let fixture = local().await;
    let staged = fixture.stage(b"healthy").await;
    fixture.store.put(&staged).await.unwrap();
    let hex = Sha256::of(b"healthy").hex();
    let path = fixture.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    // A hard link shares its bytes with the staged file, so the damage is done to a copy.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"cut").unwrap();
    fixture.store.put(&staged).await.unwrap();
    assert_eq!(fixture.read(&Sha256::of(b"healthy")).await.unwrap(), &b"healthy"[..]);
}

/// P9: the start looks at one folder, whatever is stored.
#[tokio::test]
async fn local_opening_looks_at_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs");
    drop(LocalStore::open(&blobs, LocalCounters::noop()).unwrap());
    // Were the others looked at, they would be missed and made again.
    for first in 0..0xff {
        std::fs::remove_dir(blobs.join(format!("sha256/{first:02x}"))).unwrap();
    }
    drop(LocalStore::open(&blobs, LocalCounters::noop()).unwrap());
    assert_eq!(std::fs::read_dir(blobs.join("sha256")).unwrap().count(), 1);
}
