//! Putting blobs: which requests are made, and what the server does to them.

use std::sync::Arc;

use quire::blob::BlobError;
use quire::blob::far::FarStore;
use quire::blob::s3::Operation::{
    AbortUpload, CompleteUpload, CreateUpload, Delete, Get, Head, Put, PutPart,
};
use quire::blob::s3::S3Tuning;
use quire::digest::Sha256;

use super::{Fixture, is_unavailable, key, pattern, until};
use crate::harness::s3_stub::{Fault, Manners, Treatment};

/// Parts of a few hundred bytes.
fn in_parts() -> S3Tuning {
    S3Tuning { largest_single_put: 999, part_size: 300, ..S3Tuning::default() }
}

#[tokio::test]
async fn a_put_is_one_request_and_a_look_at_the_length() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    let staged = fixture.stage("abc").await;
    store.put(&staged).await.unwrap();
    let seen = fixture.stub.seen();
    assert_eq!(seen.iter().map(|seen| seen.operation).collect::<Vec<_>>(), [Put, Head]);
    let hex = Sha256::of(b"abc").hex();
    let put = &seen[0];
    assert_eq!(put.key, format!("p/blobs/sha256/{hex}"));
    assert_eq!(put.header("x-amz-content-sha256"), Some(hex.as_str()), "the digest signs the body");
    assert_eq!(put.header("x-amz-checksum-sha256"), Some("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="));
    assert_eq!(put.header("if-none-match"), Some("*"));
    assert_eq!(put.header("content-type"), Some("application/octet-stream"));
    assert_eq!(put.header("content-length"), Some("3"));
    assert_eq!(put.header("content-encoding"), None, "no framing that could stay in the object");

    store.put(&staged).await.unwrap();
    assert_eq!(fixture.stub.operations(), [Put, Head], "the second time it is there");
    assert_eq!(store.size(&Sha256::of(b"abc")).await.unwrap(), Some(3));
    assert_eq!(fixture.stub.operations(), [Head]);
    assert!(store.remove(&Sha256::of(b"abc")).await.unwrap());
    assert_eq!(fixture.stub.operations(), [Head, Delete]);
}

#[tokio::test]
async fn a_blob_of_the_wrong_length_is_replaced() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    fixture.stub.place(&key(b"healthy"), "cut");
    store.put(&fixture.stage("healthy").await).await.unwrap();
    assert_eq!(fixture.stub.operations(), [Put, Head, Put, Head]);
    assert_eq!(fixture.stub.object(&key(b"healthy")).unwrap(), "healthy");
}

/// A server that says 409 and then has nothing: another writer gave up, or somebody removed it.
#[tokio::test]
async fn a_conflict_over_nothing_is_written_again() {
    for status in [409, 412] {
        let fixture = Fixture::new().await;
        let store = fixture.store().await;
        fixture.stub.fail(Put, Fault::Answer(status, "ConditionalRequestConflict"));
        store.put(&fixture.stage("mine").await).await.unwrap();
        assert_eq!(fixture.stub.operations(), [Put, Head, Put, Head]);
        assert_eq!(fixture.stub.object(&key(b"mine")).unwrap(), "mine");
    }
}

/// Somebody who goes on writing the same object is a reason to come again.
#[tokio::test]
async fn a_conflict_that_stays_is_unavailable() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    fixture.stub.fail_times(2, Put, Fault::Answer(409, "OperationAborted"));
    assert!(is_unavailable(&store.put(&fixture.stage("mine").await).await));
    store.put(&fixture.stage("mine").await).await.unwrap();
}

#[tokio::test]
async fn what_was_stored_cut_off_does_not_count_and_goes() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    fixture.stub.fail(Put, Fault::WrongLength);
    let error = store.put(&fixture.stage("whole").await).await.unwrap_err();
    assert!(error.to_string().contains("of 5 bytes 4 were stored"), "{error}");
    assert_eq!(fixture.stub.object(&key(b"whole")), None);
    store.put(&fixture.stage("whole").await).await.unwrap();
}

#[tokio::test]
async fn servers_without_conditions_are_found_out_at_the_start_or_later() {
    for refusal in [Treatment::Refuses(501, "NotImplemented"), Treatment::Refuses(400, "InvalidArgument")] {
        let fixture = Fixture::with(Manners { conditions: refusal, ..Manners::default() }).await;
        let store = fixture.store().await;
        store.put(&fixture.stage("one").await).await.unwrap();
        let seen = fixture.stub.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].header("if-none-match"), None, "the probe found it out");
    }
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    fixture.stub.set_manners(|manners| manners.conditions = Treatment::Refuses(501, "NotImplemented"));
    store.put(&fixture.stage("two").await).await.unwrap();
    assert_eq!(fixture.stub.operations(), [Put, Put, Head]);
    store.put(&fixture.stage("three").await).await.unwrap();
    assert_eq!(fixture.stub.operations(), [Put, Head], "it is remembered");
}

/// Bytes that go wrong on their way are refused by a server that compares, whichever of the two it compares.
#[tokio::test]
async fn a_body_that_is_not_the_digest_is_refused() {
    for checksums in [Treatment::Honours, Treatment::Ignores] {
        let fixture = Fixture::with(Manners { checksums, ..Manners::default() }).await;
        let store = fixture.store().await;
        let staged = fixture.stage("right").await;
        // The staged file is damaged after it was hashed.
        std::fs::write(staged.path(), "wrong").unwrap();
        let error = store.put(&staged).await.unwrap_err();
        assert!(matches!(error, BlobError::Io(_)), "{error}");
        assert!(error.to_string().contains("400"), "{error}");
        assert_eq!(fixture.stub.object(&key(b"right")), None);
    }
}

#[tokio::test]
async fn sixteen_at_once_leave_one_object() {
    for conditions in [Treatment::Honours, Treatment::Ignores] {
        let fixture = Fixture::with(Manners { conditions, ..Manners::default() }).await;
        let store = Arc::new(fixture.store().await);
        let mut puts = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, staged) = (Arc::clone(&store), fixture.stage(pattern(100_000)).await);
            puts.spawn(async move { store.put(&staged).await });
        }
        while let Some(put) = puts.join_next().await {
            put.unwrap().unwrap();
        }
        assert_eq!(fixture.stub.keys(), [key(&pattern(100_000))]);
        assert_eq!(fixture.stub.object(&key(&pattern(100_000))).unwrap(), pattern(100_000));
    }
}

#[tokio::test]
async fn a_large_blob_goes_in_parts_and_is_read_back() {
    let fixture = Fixture::new().await;
    let store = fixture.store_with(in_parts()).await;
    store.put(&fixture.stage(pattern(1000)).await).await.unwrap();
    let seen = fixture.stub.seen();
    let mut operations: Vec<_> = seen.iter().map(|seen| seen.operation).collect();
    assert_eq!(operations, [Head, CreateUpload, PutPart, PutPart, PutPart, PutPart, CompleteUpload, Get]);
    for part in seen.iter().filter(|seen| seen.operation == PutPart) {
        let number: usize = part.query["partNumber"].parse().unwrap();
        let bytes = pattern(1000);
        let bytes = &bytes[(number - 1) * 300..1000.min(number * 300)];
        assert_eq!(part.header("x-amz-content-sha256"), Some(Sha256::of(bytes).hex().as_str()));
        assert!(part.header("x-amz-checksum-sha256").is_some());
    }
    assert_eq!(fixture.stub.object(&key(&pattern(1000))).unwrap(), pattern(1000));

    // Whoever finds it there has to look, too: the one who sent it may not have done so yet.
    store.put(&fixture.stage(pattern(1000)).await).await.unwrap();
    operations = fixture.stub.operations();
    assert_eq!(operations, [Head, Get]);
    fixture.stub.place(&key(&pattern(1000)), vec![0; 1000]);
    store.put(&fixture.stage(pattern(1000)).await).await.unwrap();
    assert_eq!(fixture.stub.object(&key(&pattern(1000))).unwrap(), pattern(1000));
    assert_eq!(fixture.stub.uploads(), [""; 0]);
}

#[tokio::test]
async fn parts_that_make_something_else_do_not_count_and_go() {
    for (operation, fault) in [
        (PutPart, Fault::WrongBytes),
        (CompleteUpload, Fault::WrongBytes),
        (CompleteUpload, Fault::WrongLength),
    ] {
        let fixture = Fixture::new().await;
        let store = fixture.store_with(in_parts()).await;
        fixture.stub.fail(operation, fault);
        let error = store.put(&fixture.stage(pattern(1000)).await).await.unwrap_err();
        assert!(error.to_string().contains("other bytes"), "{error}");
        assert_eq!(fixture.stub.keys(), [""; 0], "{operation:?} {fault:?}");
    }
}

#[tokio::test]
async fn an_upload_that_fails_is_aborted() {
    let fixture = Fixture::new().await;
    let store = fixture.store_with(in_parts()).await;
    fixture.stub.fail_times(3, PutPart, Fault::Answer(503, "SlowDown"));
    fixture.stub.fail_times(3, PutPart, Fault::Answer(400, "BadDigest"));
    assert!(store.put(&fixture.stage(pattern(1000)).await).await.is_err());
    assert_eq!(fixture.stub.uploads(), [""; 0]);
    assert_eq!(fixture.stub.operations().last(), Some(&AbortUpload));
    fixture.stub.heal();
    fixture.stub.fail(CompleteUpload, Fault::Answer(403, "AccessDenied"));
    assert!(store.put(&fixture.stage(pattern(1000)).await).await.is_err());
    assert_eq!(fixture.stub.uploads(), [""; 0]);
    assert_eq!(fixture.stub.keys(), [""; 0]);
}

/// Who gives up in the middle leaves no upload behind.
#[tokio::test]
async fn an_upload_that_is_given_up_is_aborted() {
    let fixture = Fixture::new().await;
    let store = fixture.store_with(in_parts()).await;
    fixture.stub.fail(PutPart, Fault::Hang);
    let staged = fixture.stage(pattern(1000)).await;
    {
        let begun = until(async || !fixture.stub.uploads().is_empty());
        tokio::select! {
            _ = store.put(&staged) => panic!("a part hangs"),
            () = begun => {}
        }
    }
    until(async || fixture.stub.uploads().is_empty()).await;
}

/// The answer was lost, the work was done: the second try finds it.
#[tokio::test]
async fn a_put_whose_answer_was_lost_is_found_there() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    fixture.stub.fail(Put, Fault::ResetAfter);
    store.put(&fixture.stage("done").await).await.unwrap();
    assert_eq!(fixture.stub.operations(), [Put, Put, Head]);
}

/// The completion of an upload can be lost, too. The upload is gone then, and the object is there.
#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_found_there() {
    let fixture = Fixture::new().await;
    let store = fixture.store_with(in_parts()).await;
    let staged = fixture.stage(pattern(1000)).await;
    fixture.stub.fail(CompleteUpload, Fault::ResetAfter);
    store.put(&staged).await.unwrap();
    assert_eq!(fixture.stub.operations()[6..], [CompleteUpload, CompleteUpload, Get]);
    assert_eq!(fixture.stub.object(&key(&pattern(1000))).unwrap(), pattern(1000));
}

#[tokio::test]
async fn what_was_left_in_the_bucket_is_swept_after_a_day() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    let hours_ago = |hours: u64| std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
    fixture.stub.leave_upload("old", &key(b"old"), hours_ago(25));
    fixture.stub.leave_upload("young", &key(b"young"), hours_ago(23));
    fixture.stub.leave_upload("foreign", "elsewhere/old", hours_ago(25));
    fixture.stub.place_at("p/probe/old", "probe", hours_ago(25));
    fixture.stub.place_at("p/probe/young", "probe", hours_ago(23));
    fixture.stub.place_at(&key(b"blob"), "blob", hours_ago(25));
    assert_eq!(store.sweep().await.unwrap(), 2);
    assert_eq!(fixture.stub.uploads(), ["foreign", "young"]);
    assert_eq!(fixture.stub.keys(), [key(b"blob"), "p/probe/young".to_owned()]);
    assert_eq!(store.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn a_bucket_that_is_full_of_others_things_lists_ours() {
    let fixture = Fixture::new().await;
    let store = fixture.store().await;
    for foreign in ["p/blobs/sha256/readme.txt", "p/blobs/sha256/ab/cd", "p/other", "blobs/sha256/x"] {
        fixture.stub.place(foreign, "foreign");
    }
    store.put(&fixture.stage("ours").await).await.unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), [(Sha256::of(b"ours"), 4)]);
    fixture.stub.fail_times(3, quire::blob::s3::Operation::List, Fault::Answer(503, "SlowDown"));
    assert!(is_unavailable(&store.list(None, 10).await));
}
