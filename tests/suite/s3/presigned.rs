//! Presigned URLs: the same for a while, for a GET alone, and by the server's clock.

use std::time::{Duration, SystemTime};

use quire::blob::far::FarStore;
use quire::blob::s3::{S3Settings, S3Tuning};
use quire::digest::Sha256;

use super::{Fixture, connect, key};
use crate::harness::s3_stub::Manners;

#[tokio::test]
async fn a_url_is_the_same_for_all_within_its_window() {
    let fixture = Fixture::new().await;
    // So long that a test does not meet its end, as all tests of today do.
    let tuning = S3Tuning { presign_window: Duration::from_secs(86_400), ..S3Tuning::default() };
    let (one, other) = (fixture.store_with(tuning.clone()).await, fixture.store_with(tuning).await);
    let digest = Sha256::of(b"abc");
    let today = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    let (first, second) = loop {
        let day = today();
        let first = one.presigned_get(&digest).await.unwrap().unwrap();
        let second = other.presigned_get(&digest).await.unwrap().unwrap();
        if day == today() {
            break (first, second);
        }
    };
    assert_eq!(first, second);
    assert_ne!(first.url, one.presigned_get(&Sha256::of(b"x")).await.unwrap().unwrap().url);
    assert_eq!(fixture.stub.operations(), [], "signing asks nobody");
    let life = first.expires.duration_since(SystemTime::now()).unwrap();
    assert!(life > Duration::from_secs(86_300), "at least one more window: {life:?}");
    assert!(first.url.contains("response-content-type=application%2Foctet-stream"), "{}", first.url);
}

#[tokio::test]
async fn a_window_of_seconds_ends() {
    let fixture = Fixture::new().await;
    let tuning = S3Tuning { presign_window: Duration::from_secs(40), ..S3Tuning::default() };
    let store = fixture.store_with(tuning).await;
    let presigned = store.presigned_get(&Sha256::of(b"abc")).await.unwrap();
    // It lives for 40 to 80 seconds, and one of less than a minute is not given out.
    let life =
        |presigned: quire::blob::far::Presigned| presigned.expires.duration_since(SystemTime::now()).unwrap();
    assert!(presigned.is_none_or(|presigned| life(presigned) > Duration::from_secs(50)));
}

#[tokio::test]
async fn urls_are_signed_by_the_servers_clock() {
    for clock in [3600, -3600] {
        let fixture = Fixture::with(Manners { clock, ..Manners::default() }).await;
        let store = fixture.store().await;
        fixture.stub.place(&key(b"abc"), "abc");
        let presigned = store.presigned_get(&Sha256::of(b"abc")).await.unwrap().unwrap();
        let answer = reqwest::get(&presigned.url).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "abc".to_owned()));
        let life = presigned.expires.duration_since(SystemTime::now()).unwrap();
        assert!(life > Duration::from_secs(550) && life < Duration::from_secs(1250), "{life:?}");
    }
}

#[tokio::test]
async fn the_bucket_is_in_the_path_or_in_the_host() {
    let fixture = Fixture::new().await;
    let url = |settings| async {
        let tuning = S3Tuning { start_timeout: Duration::from_millis(1), ..S3Tuning::default() };
        connect(settings, tuning).await.unwrap().describe()
    };
    let path = url(fixture.settings()).await;
    assert!(path.contains("path style"), "{path}");
    let host = url(S3Settings { endpoint: None, ..fixture.settings() }).await;
    assert!(host.contains("at AWS") && host.contains("virtual-host style"), "{host}");
    let host = url(S3Settings { path_style: Some(false), ..fixture.settings() }).await;
    assert!(host.contains("virtual-host style"), "{host}");
}
