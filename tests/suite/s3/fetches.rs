//! Fetching blobs: whole ones, and what a reader hears when the server cannot give all of it.

use quire::blob::far::FarStore;
use quire::blob::s3::Operation::{Get, Head};
use quire::blob::s3::S3Tuning;
use quire::digest::Sha256;
use quire::staging::SourceError;

use super::{Fixture, key, pattern, read};
use crate::harness::s3_stub::Fault;

#[tokio::test]
async fn a_fetch_is_one_request() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    let digest = Sha256::of(&pattern(1_000_000));
    assert_eq!(read(&store, &digest).await.unwrap(), None);
    fixture.stub.place(&key(&pattern(1_000_000)), pattern(1_000_000));
    assert_eq!(read(&store, &digest).await.unwrap().unwrap(), pattern(1_000_000));
    assert_eq!(fixture.stub.operations(), [Get, Get]);
    assert_eq!(store.size(&digest).await.unwrap(), Some(1_000_000));
    assert_eq!(fixture.stub.operations(), [Head]);
}

/// A body that breaks off is gone on with where it broke.
#[tokio::test]
async fn a_body_that_breaks_off_goes_on() {
    for fault in [Fault::Cut, Fault::Stall] {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.place(&key(&pattern(100_000)), pattern(100_000));
        fixture.stub.fail(Get, fault);
        let bytes = read(&store, &Sha256::of(&pattern(100_000))).await.unwrap().unwrap();
        assert_eq!(bytes, pattern(100_000));
        let seen = fixture.stub.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].header("range"), Some("bytes=50000-"), "{fault:?}");
    }
}

/// The reader hears that the rest will not come, and never takes a part for the whole.
#[tokio::test]
async fn a_body_that_never_ends_well_is_an_error() {
    for (fault, expected) in [(Fault::Cut, SourceError::Broken), (Fault::Stall, SourceError::Stalled)] {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.place(&key(&pattern(1000)), pattern(1000));
        fixture.stub.fail_times(10, Get, fault);
        let error = read(&store, &Sha256::of(&pattern(1000))).await.unwrap_err();
        assert_eq!(error, expected.to_string());
        assert_eq!(fixture.stub.operations(), [Get; 3]);
    }
}

/// One byte in a second is no rest, but it is not a body that comes either.
#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let fixture = Fixture::new().await;
    let tuning = S3Tuning { attempts: 1, slowest: 1000, ..S3Tuning::default() };
    let store = fixture.store_with(tuning).await;
    fixture.stub.place(&key(&pattern(4000)), pattern(4000));
    fixture.stub.fail(Get, Fault::Drip(50));
    let begun = std::time::Instant::now();
    let error = read(&store, &Sha256::of(&pattern(4000))).await.unwrap_err();
    assert_eq!(error, SourceError::Stalled.to_string());
    // All of it would take 200 seconds; the bound is 2 for one rest and 4 for the bytes.
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// A reader that takes its time is no fault of the server.
#[tokio::test]
async fn a_slow_reader_gets_all_of_it() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    let bytes = pattern(3_000_000);
    fixture.stub.place(&key(&bytes), bytes.clone());
    let mut fetched = store.fetch(&Sha256::of(&bytes)).await.unwrap().unwrap();
    let mut read = fetched.source.next().await.unwrap().unwrap().to_vec();
    // Longer than the server may rest.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    while let Some(piece) = fetched.source.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, bytes);
    assert_eq!(fixture.stub.operations(), [Get]);
}
