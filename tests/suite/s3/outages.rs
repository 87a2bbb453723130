//! Outages: what is tried again, how often, for how long, and when calls fail at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use quire::blob::BlobError;
use quire::blob::far::FarStore;
use quire::blob::s3::Operation::{Get, Head, Put, PutPart};
use quire::blob::s3::{Operation, Outcome, S3Counters, S3Store, S3Tuning};
use quire::digest::Sha256;

use super::{Fixture, is_unavailable, key, pattern, read, until};
use crate::harness::s3_stub::{Fault, Manners};
use crate::harness::seaweed::credentials;

#[tokio::test]
async fn faults_that_pass_are_not_noticed() {
    for fault in
        [Fault::Answer(503, "SlowDown"), Fault::Answer(500, "InternalError"), Fault::Reset, Fault::Hang]
    {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.fail_times(2, Put, fault);
        store.put(&fixture.stage("abc").await).await.unwrap();
        assert_eq!(fixture.stub.operations(), [Put, Put, Put, Head], "{fault:?}");
        assert_eq!(fixture.stub.object(&key(b"abc")).unwrap(), "abc");
        fixture.stub.fail_times(2, Get, fault);
        assert_eq!(read(&store, &Sha256::of(b"abc")).await.unwrap().unwrap(), b"abc");
        assert_eq!(fixture.stub.operations(), [Get, Get, Get], "{fault:?}");
    }
}

/// A body of many megabytes that nobody reads is given up as soon as an answer that does not come.
#[tokio::test]
async fn a_server_that_hangs_is_unavailable_after_a_bounded_time() {
    for fault in [Fault::Hang, Fault::HangBeforeBody] {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.fail_times(10, Put, fault);
        let staged = fixture.stage(pattern(20_000_000)).await;
        let begun = Instant::now();
        assert!(is_unavailable(&store.put(&staged).await), "{fault:?}");
        // Three attempts of two seconds; a machine that is busy takes longer.
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        assert_eq!(fixture.stub.object(&key(&pattern(20_000_000))), None);
    }
}

#[tokio::test]
async fn refusals_are_errors_that_are_not_tried_again() {
    for (status, code) in [(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (404, "NoSuchBucket")] {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.fail_times(10, Put, Fault::Answer(status, code));
        fixture.stub.fail_times(10, Get, Fault::Answer(status, code));
        // More than would open the breaker, were they counted.
        for _ in 0..6 {
            let error = store.put(&fixture.stage("abc").await).await.unwrap_err();
            assert!(matches!(error, BlobError::Io(_)), "{error:?}");
            assert!(error.to_string().contains(code), "{error}");
        }
        let error = store.fetch(&Sha256::of(b"abc")).await.err().unwrap();
        assert!(matches!(error, BlobError::Io(_)) && error.to_string().contains(code), "{error:?}");
        assert_eq!(fixture.stub.operations(), [Put, Put, Put, Put, Put, Put, Get]);
    }
}

/// All calls share a budget for retries, so that a server in need is not asked three times as much.
#[tokio::test]
async fn retries_have_a_budget() {
    let fixture = Fixture::new().await;
    let tuning = S3Tuning { retry_tokens: 50, breaker_failures: 1000, ..S3Tuning::default() };
    let store = Arc::new(fixture.store_with(tuning).await);
    fixture.stub.fail_times(1000, Head, Fault::Answer(503, "SlowDown"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.size(&Sha256::of(b"x")).await });
    }
    while let Some(call) = calls.join_next().await {
        assert!(is_unavailable(&call.unwrap()));
    }
    let requests = fixture.stub.operations().len();
    // Ten retries are in the budget, and every second brings a fifth of one. Without one there were 180 requests.
    assert!((61..=90).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn the_breaker_opens_rests_and_lets_one_call_try() {
    let fixture = Fixture::new().await;
    let rest = Duration::from_millis(600);
    let tuning = S3Tuning { attempts: 1, breaker_rest: rest, ..S3Tuning::default() };
    let store = Arc::new(fixture.store_with(tuning).await);
    fixture.stub.fail_times(6, Head, Fault::Answer(503, "SlowDown"));
    let digest = Sha256::of(b"x");
    let size = || store.size(&digest);
    for _ in 0..5 {
        assert!(is_unavailable(&size().await));
    }
    assert_eq!(fixture.stub.operations(), [Head; 5]);
    for _ in 0..100 {
        assert!(is_unavailable(&size().await));
    }
    let sent = fixture.stub.operations().len();
    assert!(sent <= 1, "an open breaker sends nothing but tries: {sent}");

    // What is tried after a rest fails once more, and then succeeds.
    until(async || size().await.is_ok()).await;
    let tries = fixture.stub.operations().len();
    assert!((1..=2).contains(&tries), "{tries} tries");
    size().await.unwrap();
    assert_eq!(fixture.stub.operations(), [Head]);
}

/// A clock that is an hour off is learned from the first refusal.
#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_learned() {
    for clock in [3600, -3600] {
        let fixture = Fixture::with(Manners { clock, ..Manners::default() }).await;
        let store = fixture.store().await;
        store.put(&fixture.stage("abc").await).await.unwrap();
        assert_eq!(read(&store, &Sha256::of(b"abc")).await.unwrap().unwrap(), b"abc");
        assert_eq!(fixture.stub.operations(), [Put, Head, Get], "nothing is refused any more");
        // One that is set right meanwhile is learned again.
        fixture.stub.set_manners(|manners| manners.clock = 0);
        assert_eq!(store.size(&Sha256::of(b"abc")).await.ok(), None, "a HEAD has no code to learn from");
        assert_eq!(store.size(&Sha256::of(b"abc")).await.unwrap(), Some(3));
    }
}

/// Parts that fail are tried again by themselves.
#[tokio::test]
async fn a_part_that_fails_is_sent_again() {
    let fixture = Fixture::new().await;
    let tuning = S3Tuning { largest_single_put: 999, part_size: 300, ..S3Tuning::default() };
    let store = fixture.store_with(tuning).await;
    fixture.stub.fail(PutPart, Fault::Answer(503, "SlowDown"));
    fixture.stub.fail(PutPart, Fault::Reset);
    store.put(&fixture.stage(pattern(1000)).await).await.unwrap();
    assert_eq!(fixture.stub.operations().iter().filter(|operation| **operation == PutPart).count(), 6);
    assert_eq!(fixture.stub.object(&key(&pattern(1000))).unwrap(), pattern(1000));
}

#[tokio::test]
async fn calls_and_retries_are_counted() {
    let fixture = Fixture::new().await;
    let done = Arc::new(AtomicU64::new(0));
    let unavailable = Arc::new(AtomicU64::new(0));
    let retries = Arc::new(AtomicU64::new(0));
    let call = |operation: Operation, outcome: Outcome| match (operation, outcome) {
        (Head, Outcome::Done) => Counter::from_arc(Arc::clone(&done)),
        (Head, Outcome::Unavailable) => Counter::from_arc(Arc::clone(&unavailable)),
        _ => Counter::noop(),
    };
    let breaker = Arc::new(AtomicU64::new(0));
    let counters =
        S3Counters::new(call, Counter::from_arc(Arc::clone(&retries)), Gauge::from_arc(Arc::clone(&breaker)));
    let tuning = S3Tuning { breaker_failures: 1, ..S3Tuning::default() };
    let store = S3Store::connect(fixture.settings(), &credentials(), tuning, counters).await.unwrap();
    fixture.stub.place(&key(b"abc"), "abc");
    let digest = Sha256::of(b"abc");
    let size = || store.size(&digest);
    fixture.stub.fail(Head, Fault::Answer(503, "SlowDown"));
    size().await.unwrap();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&done), count(&unavailable), count(&retries)), (1, 0, 1));
    assert_eq!(f64::from_bits(count(&breaker)), 0.0);
    fixture.stub.fail_times(3, Head, Fault::Answer(503, "SlowDown"));
    assert!(is_unavailable(&size().await));
    assert_eq!((count(&done), count(&unavailable), count(&retries)), (1, 1, 3));
    assert_eq!(f64::from_bits(count(&breaker)), 1.0, "open");
}
