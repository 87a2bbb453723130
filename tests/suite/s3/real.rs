//! What only a real server can show: signatures, conditions, uploads in parts, presigned URLs.

use std::sync::Arc;

use quire::blob::far::FarStore;
use quire::blob::s3::{CredentialSource, S3Counters, S3Store, S3Tuning, S3Unusable};
use quire::digest::Sha256;

use super::{connect, pattern, read, stage, staging};
use crate::harness::seaweed::{BUCKET, KEY_ID, seaweed};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_real_server_does_all_that_is_asked() {
    let Some(server) = seaweed() else { return };
    let store = connect(server.settings(), S3Tuning::default()).await.unwrap();
    let text = store.describe();
    assert!(text.ends_with("checksums are compared, conditions are honoured"), "{text}");
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let Some(server) = seaweed() else { return };
    for (key_id, code) in [(KEY_ID, "SignatureDoesNotMatch"), ("somebody", "InvalidAccessKeyId")] {
        let wrong = CredentialSource::Fixed { key_id: key_id.to_owned(), secret: "wrong".to_owned() };
        let store = S3Store::connect(server.settings(), &wrong, S3Tuning::default(), S3Counters::noop());
        let error = store.await.err().unwrap();
        assert!(matches!(&error, S3Unusable::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(code), "{error}");
    }
}

#[tokio::test]
async fn sixteen_at_once_are_one_object() {
    let Some(server) = seaweed() else { return };
    let settings = server.settings();
    let prefix = settings.prefix.clone();
    let store = Arc::new(connect(settings, S3Tuning::default()).await.unwrap());
    let (_folder, staging) = staging();
    let mut puts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, staged) = (Arc::clone(&store), stage(&staging, pattern(1_000_000)).await);
        puts.spawn(async move { store.put(&staged).await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
    let digest = Sha256::of(&pattern(1_000_000));
    assert_eq!(read(&store, &digest).await.unwrap().unwrap(), pattern(1_000_000));
    // Another program finds it where the specification says.
    let key = format!("{prefix}blobs/sha256/{}", digest.hex());
    let object = server.client().get_object().bucket(BUCKET).key(key).send().await.unwrap();
    assert_eq!(object.content_type(), Some("application/octet-stream"));
    assert_eq!(object.body.collect().await.unwrap().into_bytes(), pattern(1_000_000));
}

#[tokio::test]
async fn parts_are_put_together_and_nothing_stays_of_an_upload() {
    let Some(server) = seaweed() else { return };
    let settings = server.settings();
    let prefix = settings.prefix.clone();
    let tuning = S3Tuning { largest_single_put: 10 * MIB, part_size: 5 * MIB, ..S3Tuning::default() };
    let store = connect(settings, tuning).await.unwrap();
    let (_folder, staging) = staging();
    let bytes = pattern(23_000_000);
    let staged = stage(&staging, bytes.clone()).await;
    store.put(&staged).await.unwrap();
    store.put(&staged).await.unwrap();
    let digest = Sha256::of(&bytes);
    assert_eq!(store.size(&digest).await.unwrap(), Some(23_000_000));
    assert_eq!(read(&store, &digest).await.unwrap().unwrap(), bytes);

    // One that somebody is at is left alone, and one that is gone is no error.
    let client = server.client();
    let key = format!("{prefix}blobs/sha256/{}", Sha256::of(b"x").hex());
    let begun = client.create_multipart_upload().bucket(BUCKET).key(&key).send().await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    let uploads = client.list_multipart_uploads().bucket(BUCKET).prefix(&prefix).send().await.unwrap();
    let ids: Vec<_> = uploads.uploads().iter().map(|upload| upload.upload_id()).collect();
    assert_eq!(ids, [begun.upload_id()]);
}

#[tokio::test]
async fn a_presigned_url_is_for_a_get_alone() {
    let Some(server) = seaweed() else { return };
    let store = connect(server.settings(), S3Tuning::default()).await.unwrap();
    let (_folder, staging) = staging();
    store.put(&stage(&staging, "shared").await).await.unwrap();
    let url = store.presigned_get(&Sha256::of(b"shared")).await.unwrap().unwrap().url;
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.bytes().await.unwrap(), "shared");
    let client = reqwest::Client::new();
    for method in [reqwest::Method::HEAD, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let refused = client.request(method.clone(), &url).send().await.unwrap();
        assert_eq!(refused.status(), 403, "{method}");
    }
    let other = url.replace(&Sha256::of(b"shared").hex(), &Sha256::of(b"other").hex());
    assert_eq!(reqwest::get(&other).await.unwrap().status(), 403);
}
