//! Quotas of organisations: exact to the byte, a digest counts once, and what is refused leaves nothing behind.

use std::collections::BTreeSet;
use std::path::PathBuf;

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{Answer, Client, Server, image};
use crate::uploads::range_of;
use crate::wire::Wire;

const REPOSITORY: &str = "acme/tool";

/// Changes the quota of an organisation; what `quota` does not name stays.
async fn set_quota(server: &Server, organisation: &str, quota: Value) {
    let path = format!("/api/orgs/{organisation}");
    let answer = server.admin().send("PATCH", &path, &[], json!({"quota": quota}).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (key, limit) in quota.as_object().expect("an object") {
        assert_eq!(&answer.json()["quota"][key], limit);
    }
}

/// Bytes and repositories as the organisation tells them.
async fn usage(server: &Server, organisation: &str) -> (u64, u64) {
    let answer = server.admin().get(&format!("/api/orgs/{organisation}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let usage = &answer.json()["usage"];
    let number = |key: &str| usage[key].as_u64().expect("a number");
    (number("bytes"), number("repositories"))
}

async fn push(client: &Client, repository: &str, bytes: &[u8]) -> Answer {
    let path = format!("/v2/{repository}/blobs/uploads/?digest={}", Sha256::of(bytes));
    client.send("POST", &path, &[], bytes.to_vec()).await
}

async fn mount(client: &Client, repository: &str, digest: &str, from: &str) -> Answer {
    let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
    client.send("POST", &path, &[], "").await
}

async fn delete_blob(client: &Client, repository: &str, digest: &str) {
    let answer = client.delete(&format!("/v2/{repository}/blobs/{digest}")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn assert_full(answer: &Answer, limit: u64) {
    assert_refused(answer, 413, "SIZE_INVALID", &format!("{answer:?}"));
    assert_eq!(answer.json()["errors"][0]["detail"], json!({"rule": "quota_bytes", "limit": limit}));
}

fn assert_no_place(answer: &Answer, limit: u64) {
    assert_refused(answer, 403, "DENIED", &format!("{answer:?}"));
    assert_eq!(answer.json()["errors"][0]["detail"], json!({"rule": "quota_repositories", "limit": limit}));
}

#[tokio::test]
async fn bytes_fit_exactly_or_not_at_all() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 10})).await;
    assert_full(&push(&admin, REPOSITORY, &[1; 11]).await, 10);
    assert_eq!(usage(&server, "acme").await, (0, 0));
    assert_eq!(push(&admin, REPOSITORY, &[1; 4]).await.status, 201);
    assert_full(&push(&admin, REPOSITORY, &[2; 7]).await, 10);
    assert_eq!(usage(&server, "acme").await, (4, 1));
    assert_eq!(push(&admin, REPOSITORY, &[2; 6]).await.status, 201);
    assert_eq!(usage(&server, "acme").await, (10, 1));
    assert_full(&push(&admin, REPOSITORY, &[3; 1]).await, 10);
    // What takes no room still comes in, and no quota of one stands in another's way.
    assert_eq!(push(&admin, REPOSITORY, &[]).await.status, 201);
    assert_eq!(push(&admin, "corp/tool", &[3; 100]).await.status, 201);
    assert_eq!(usage(&server, "acme").await, (10, 1));
    assert_eq!(usage(&server, "corp").await, (100, 1));
}

#[tokio::test]
async fn a_quota_of_nothing_admits_nothing() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 0})).await;
    assert_full(&push(&admin, REPOSITORY, b"x").await, 0);
    set_quota(&server, "acme", json!({"bytes": null, "repositories": 0})).await;
    assert_no_place(&push(&admin, REPOSITORY, b"x").await, 0);
    assert_eq!(usage(&server, "acme").await, (0, 0));
    set_quota(&server, "acme", json!({"repositories": null})).await;
    assert_eq!(push(&admin, REPOSITORY, b"x").await.status, 201);
    assert_eq!(usage(&server, "acme").await, (1, 1));
}

#[tokio::test]
async fn repositories_fit_exactly_or_not_at_all() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"repositories": 2})).await;
    let digest = admin.push_blob("acme/one", "blob").await;
    let session = admin.open_session("acme/three").await;
    assert_eq!(mount(&admin, "acme/two", &digest, "acme/one").await.status, 201);
    assert_eq!(usage(&server, "acme").await, (4, 2));
    // Each way that would make a third one.
    assert_no_place(&push(&admin, "acme/three", b"blob").await, 2);
    assert_no_place(&mount(&admin, "acme/three", &digest, "acme/one").await, 2);
    let end = admin.send("PUT", &format!("{session}?digest={digest}"), &[], "blob").await;
    assert_no_place(&end, 2);
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []
    });
    assert_no_place(&admin.put_manifest("acme/three", "latest", &index).await, 2);
    assert_eq!(admin.get("/v2/acme/three/tags/list").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(usage(&server, "acme").await, (4, 2));
    // Those that are there are not full, and other organisations have places of their own.
    assert_eq!(push(&admin, "acme/two", b"more").await.status, 201);
    assert_eq!(admin.put_manifest("acme/one", "latest", &index).await.status, 201);
    assert_eq!(push(&admin, "corp/three", b"blob").await.status, 201);
    // One that is emptied gives its place back, and not before.
    delete_blob(&admin, "acme/two", &digest).await;
    assert_no_place(&push(&admin, "acme/three", b"blob").await, 2);
    delete_blob(&admin, "acme/two", &Sha256::of(b"more").to_string()).await;
    assert_eq!(usage(&server, "acme").await.1, 1);
    assert_eq!(push(&admin, "acme/three", b"blob").await.status, 201);
    assert_eq!(usage(&server, "acme").await.1, 2);
}

#[tokio::test]
async fn a_digest_counts_once_in_an_organisation() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 4})).await;
    let digest = admin.push_blob("acme/one", "blob").await;
    // There is no room left, and none is needed: again, in another repository, in a session, by a mount.
    admin.push_blob("acme/one", "blob").await;
    admin.push_blob("acme/two", "blob").await;
    let session = admin.open_session("acme/three").await;
    let end = admin.send("PUT", &format!("{session}?digest={digest}"), &[], "blob").await;
    assert_eq!(end.status, 201, "{end:?}");
    for repository in ["acme/four", "acme/four", "acme/one"] {
        assert_eq!(mount(&admin, repository, &digest, "acme/two").await.status, 201);
    }
    assert_eq!(usage(&server, "acme").await, (4, 4));

    // Elsewhere the same digest counts for itself, sent or mounted.
    assert_eq!(push(&admin, "corp/tool", b"blob").await.status, 201);
    set_quota(&server, "other", json!({"bytes": 3})).await;
    assert_full(&mount(&admin, "other/tool", &digest, "acme/one").await, 3);
    assert_full(&push(&admin, "other/tool", b"blob").await, 3);
    assert_eq!(usage(&server, "other").await, (0, 0));
    set_quota(&server, "other", json!({"bytes": 4})).await;
    assert_eq!(mount(&admin, "other/tool", &digest, "acme/one").await.status, 201);
    assert_eq!(usage(&server, "corp").await, (4, 1));
    assert_eq!(usage(&server, "other").await, (4, 1));

    // It counts until the last link is gone.
    for (deleted, left) in ["acme/one", "acme/two", "acme/three"].iter().zip([3, 2, 1]) {
        delete_blob(&admin, deleted, &digest).await;
        assert_eq!(usage(&server, "acme").await, (4, left));
        assert_full(&push(&admin, "acme/four", b"else").await, 4);
    }
    delete_blob(&admin, "acme/four", &digest).await;
    assert_eq!(usage(&server, "acme").await, (0, 0));
    assert_eq!(push(&admin, "acme/four", b"else").await.status, 201);
    assert_eq!(usage(&server, "corp").await, (4, 1), "deletes elsewhere change nothing here");
    assert_eq!(usage(&server, "other").await, (4, 1));
}

#[tokio::test]
async fn manifests_count_as_blobs_do() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob("acme/one", "{}").await;
    let manifest = image(&config, 2, &[]);
    let size = manifest.to_string().len() as u64;
    let digest = Sha256::of(manifest.to_string().as_bytes()).to_string();
    let path = |repository: &str, reference: &str| format!("/v2/{repository}/manifests/{reference}");
    set_quota(&server, "acme", json!({"bytes": size + 1})).await;
    assert_full(&admin.put_manifest("acme/one", "latest", &manifest).await, size + 1);
    assert_eq!(admin.get(&path("acme/one", "latest")).await.status, 404);
    assert_eq!(disk::blobs(&server).len(), 1, "the config alone");
    assert_eq!(usage(&server, "acme").await, (2, 1));

    set_quota(&server, "acme", json!({"bytes": size + 2})).await;
    assert_eq!(admin.put_manifest("acme/one", "latest", &manifest).await.status, 201);
    assert_eq!(usage(&server, "acme").await, (size + 2, 1));
    // Once more, by its digest, under another tag, and in another repository.
    admin.push_blob("acme/two", "{}").await;
    for (repository, reference) in [("acme/one", "latest"), ("acme/one", "v1"), ("acme/two", &digest)] {
        let again = admin.put_manifest(repository, reference, &manifest).await;
        assert_eq!(again.status, 201, "{again:?}");
    }
    assert_eq!(usage(&server, "acme").await, (size + 2, 2));
    // A manifest of other bytes is one more.
    let mut other = manifest.clone();
    other["annotations"] = json!({"other": "yes"});
    assert_full(&admin.put_manifest("acme/one", "other", &other).await, size + 2);

    // Whose bytes are a blob as well counts as both.
    set_quota(&server, "acme", json!({"bytes": 2 * size + 1})).await;
    assert_full(&push(&admin, "acme/two", manifest.to_string().as_bytes()).await, 2 * size + 1);
    set_quota(&server, "acme", json!({"bytes": 2 * size + 2})).await;
    assert_eq!(push(&admin, "acme/two", manifest.to_string().as_bytes()).await.status, 201);
    assert_eq!(usage(&server, "acme").await, (2 * size + 2, 2));
    delete_blob(&admin, "acme/two", &digest).await;

    // A tag takes no room, so losing one gives none back; the last manifest does.
    assert_eq!(admin.delete(&path("acme/one", "v1")).await.status, 202);
    assert_eq!(admin.delete(&path("acme/one", &digest)).await.status, 202);
    assert_eq!(usage(&server, "acme").await, (size + 2, 2));
    assert_eq!(admin.delete(&path("acme/two", &digest)).await.status, 202);
    assert_eq!(usage(&server, "acme").await, (2, 2));
    delete_blob(&admin, "acme/one", &config).await;
    assert_eq!(usage(&server, "acme").await, (2, 1));
    delete_blob(&admin, "acme/two", &config).await;
    assert_eq!(usage(&server, "acme").await, (0, 0));
}

/// What was deleted while it was immutable is remembered, and so is its repository.
#[tokio::test]
async fn a_repository_with_tombstones_keeps_its_place() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"repositories": 1})).await;
    let rules = json!({"immutable": [{"repositories": "acme/**", "tags": "v*"}]});
    let set = admin.send("PUT", "/api/catalogs/acme/tag-rules", &[], rules.to_string()).await;
    assert_eq!(set.status, 200, "{set:?}");
    let empty = async |tag: &str| {
        let digest = admin.push_artifact(REPOSITORY, tag, "layer").await;
        for path in [
            format!("manifests/{digest}"),
            format!("blobs/{}", Sha256::of(b"layer")),
            format!("blobs/{}", Sha256::of(b"{}")),
        ] {
            let deleted = admin.delete(&format!("/v2/{REPOSITORY}/{path}")).await;
            assert_eq!(deleted.status, 202, "{deleted:?}");
        }
    };
    empty("latest").await;
    assert_eq!(usage(&server, "acme").await, (0, 0));
    empty("v1").await;
    assert_eq!(usage(&server, "acme").await, (0, 1));
    assert_no_place(&push(&admin, "acme/next", b"blob").await, 1);
}

#[tokio::test]
async fn a_quota_below_the_usage_refuses_only_more() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_artifact("acme/one", "latest", "layer").await;
    let manifest = admin.get("/v2/acme/one/manifests/latest").await.json();
    admin.push_blob("acme/two", "{}").await;
    let before = usage(&server, "acme").await;
    set_quota(&server, "acme", json!({"bytes": 10, "repositories": 1})).await;
    assert_eq!(usage(&server, "acme").await, before, "a quota deletes nothing");
    let layer = Sha256::of(b"layer").to_string();
    // What is there is pulled, pushed again and tagged.
    for path in [
        format!("/v2/acme/one/manifests/{digest}"),
        "/v2/acme/one/manifests/latest".to_owned(),
        format!("/v2/acme/one/blobs/{layer}"),
    ] {
        assert_eq!(admin.get(&path).await.status, 200, "{path}");
    }
    assert_eq!(push(&admin, "acme/one", b"layer").await.status, 201);
    assert_eq!(mount(&admin, "acme/two", &layer, "acme/one").await.status, 201);
    assert_eq!(admin.put_manifest("acme/one", "again", &manifest).await.status, 201);
    assert_eq!(admin.put_manifest("acme/two", "again", &manifest).await.status, 201);
    assert_eq!(usage(&server, "acme").await, before);
    // Anything more is not.
    assert_full(&push(&admin, "acme/one", b"x").await, 10);
    assert_no_place(&mount(&admin, "acme/three", &layer, "acme/one").await, 1);
    // Deleting works, and helps once enough is gone.
    for repository in ["acme/one", "acme/two"] {
        let deleted = admin.delete(&format!("/v2/{repository}/manifests/{digest}")).await;
        assert_eq!(deleted.status, 202, "{deleted:?}");
    }
    assert_eq!(usage(&server, "acme").await, (7, 2));
    assert_full(&push(&admin, "acme/one", b"1234").await, 10);
    assert_eq!(push(&admin, "acme/one", b"123").await.status, 201);
    // Without a quota there is no end.
    set_quota(&server, "acme", json!({"bytes": null, "repositories": null})).await;
    assert_eq!(push(&admin, "acme/three", &[7; 10_000]).await.status, 201);
    assert_eq!(usage(&server, "acme").await, (10_010, 3));
}

/// One limit changes without the other.
#[tokio::test]
async fn each_limit_is_changed_alone() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 10, "repositories": 1})).await;
    set_quota(&server, "acme", json!({"bytes": 5})).await;
    let shown = admin.get("/api/orgs/acme").await.json();
    assert_eq!(shown["quota"], json!({"bytes": 5, "repositories": 1}));
    set_quota(&server, "acme", json!({"repositories": null})).await;
    let renamed = admin.send("PATCH", "/api/orgs/acme", &[], r#"{"name": "Acme"}"#).await;
    assert_eq!(renamed.json()["quota"], json!({"bytes": 5, "repositories": null}));
    assert_full(&push(&admin, REPOSITORY, &[1; 6]).await, 5);
    assert_eq!(push(&admin, REPOSITORY, &[1; 5]).await.status, 201);
}

/// Every blob that is on the disk.
fn stored(server: &Server) -> BTreeSet<PathBuf> {
    disk::blobs(server).into_iter().collect()
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 10})).await;
    admin.push_blob(REPOSITORY, "present").await;
    let before = stored(&server);
    // Four do not fit beside the seven; twelve are more than the whole quota.
    for bytes in [b"more".as_slice(), b"twelve bytes"] {
        let digest = Sha256::of(bytes);
        let whole = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
        let length = bytes.len().to_string();

        assert_full(&push(&admin, REPOSITORY, bytes).await, 10);
        // Announced or not.
        let mut wire = Wire::admin(&server, &whole, &[("content-length", &length)]).await;
        wire.write(bytes).await;
        assert_full(&wire.answer().await.expect("an answer"), 10);
        let mut wire = Wire::admin(&server, &whole, &[("transfer-encoding", "chunked")]).await;
        wire.chunk(bytes).await;
        wire.chunk(b"").await;
        let streamed = wire.answer().await.expect("an answer");
        assert_full(&streamed, 10);
        disk::staging_is_empty(&server).await;

        // At the end of a session, which is over then.
        let session = admin.open_session(REPOSITORY).await;
        let first = admin.send("PATCH", &session, &[], bytes[..2].to_vec()).await;
        assert_eq!(first.status, 202, "{first:?}");
        let end = admin.send("PUT", &format!("{session}?digest={digest}"), &[], bytes[2..].to_vec()).await;
        assert_full(&end, 10);
        assert_refused(&admin.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN", "an ended session");
        disk::staging_is_empty(&server).await;

        // In chunks with their places.
        let session = admin.open_session(REPOSITORY).await;
        let chunk = admin.send("PATCH", &session, &[("content-range", "0-1")], bytes[..2].to_vec()).await;
        assert_eq!(chunk.status, 202, "{chunk:?}");
        let last = format!("2-{}", bytes.len() - 1);
        let end = format!("{session}?digest={digest}");
        let end = admin.send("PUT", &end, &[("content-range", &last)], bytes[2..].to_vec()).await;
        assert_full(&end, 10);
        if bytes.len() > 10 {
            // Announced as more than the whole quota: not a byte of it was taken, and the session goes on.
            assert_eq!(range_of(&admin, &session).await, "0-1");
            assert_eq!(admin.delete(&session).await.status, 204);
        }
        assert_refused(&admin.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN", "an ended session");
        disk::staging_is_empty(&server).await;

        let pulled = admin.get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
        assert_refused(&pulled, 404, "BLOB_UNKNOWN", "what was refused");
    }
    assert_eq!(stored(&server), before);
    assert_eq!(usage(&server, "acme").await, (7, 1));
}

/// What waits in sessions is no way around a quota.
#[tokio::test]
async fn sessions_that_hold_the_quota_take_no_more() {
    let server = Server::start(&[]);
    let admin = server.admin();
    set_quota(&server, "acme", json!({"bytes": 10})).await;
    let sessions = [admin.open_session(REPOSITORY).await, admin.open_session("acme/two").await];
    assert_eq!(admin.send("PATCH", &sessions[0], &[], "12345678").await.status, 202);
    // What does not fit beside it ends its session; what fits exactly leaves no room for another.
    assert_full(&admin.send("PATCH", &sessions[1], &[], "123").await, 10);
    assert_refused(&admin.get(&sessions[1]).await, 404, "BLOB_UPLOAD_UNKNOWN", "it can't be mended");
    let third = admin.open_session("acme/two").await;
    assert_eq!(admin.send("PATCH", &third, &[], "12").await.status, 202);
    let more = admin.send("POST", &format!("/v2/{REPOSITORY}/blobs/uploads/"), &[], "").await;
    assert_full(&more, 10);
    assert_full(&admin.send("PATCH", &third, &[], "3").await, 10);
    // Others have room of their own, and those who hold it all can still end well.
    admin.open_session("corp/tool").await;
    let digest = Sha256::of(b"12345678");
    assert_eq!(admin.send("PUT", &format!("{}?digest={digest}", sessions[0]), &[], "").await.status, 201);
    assert_eq!(usage(&server, "acme").await, (8, 1));
    admin.open_session(REPOSITORY).await;
}

/// Of two sessions that each fit and do not fit together, the first to end does.
#[tokio::test]
async fn one_of_two_sessions_that_fit_alone_ends_well() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let sessions = [admin.open_session(REPOSITORY).await, admin.open_session(REPOSITORY).await];
    for (session, bytes) in sessions.iter().zip(["12345678", "abcdefgh"]) {
        assert_eq!(admin.send("PATCH", session, &[], bytes).await.status, 202);
    }
    set_quota(&server, "acme", json!({"bytes": 10})).await;
    let end =
        |place: usize, bytes: &str| format!("{}?digest={}", sessions[place], Sha256::of(bytes.as_bytes()));
    assert_eq!(admin.send("PUT", &end(0, "12345678"), &[], "").await.status, 201);
    assert_full(&admin.send("PUT", &end(1, "abcdefgh"), &[], "").await, 10);
    assert_eq!(usage(&server, "acme").await, (8, 1));
    disk::staging_is_empty(&server).await;
}

/// What an organisation holds is taken again, also when its quota has become smaller than that.
#[tokio::test]
async fn what_is_there_is_pushed_again_whatever_the_quota() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let bytes = "twenty bytes of text";
    admin.push_blob(REPOSITORY, bytes).await;
    set_quota(&server, "acme", json!({"bytes": 10})).await;
    admin.push_blob(REPOSITORY, bytes).await;
    admin.push_blob("acme/two", bytes).await;
}

/// A blob of its own for each number, of 50 to 149 bytes.
fn numbered(number: usize) -> Vec<u8> {
    format!("{number:05}").bytes().cycle().take(50 + number * 37 % 100).collect()
}

/// Pushes many with 64 at a time, and returns them with their answers.
async fn push_all(server: &Server, numbers: Vec<usize>) -> Vec<(usize, Answer)> {
    let numbers = std::sync::Arc::new(std::sync::Mutex::new(numbers));
    let workers: Vec<_> = (0..64)
        .map(|_| {
            let (client, numbers) = (server.admin(), std::sync::Arc::clone(&numbers));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let next = numbers.lock().expect("a list").pop();
                    let Some(number) = next else { return answers };
                    let (repository, bytes) = (format!("acme/r{}", number % 10), numbered(number));
                    let answer = if number.is_multiple_of(3) {
                        let opened = format!("/v2/{repository}/blobs/uploads/");
                        let opened = client.send("POST", &opened, &[], "").await;
                        assert_eq!(opened.status, 202, "{opened:?}");
                        let end = format!("{}?digest={}", opened.header("location"), Sha256::of(&bytes));
                        client.send("PUT", &end, &[], bytes).await
                    } else {
                        push(&client, &repository, &bytes).await
                    };
                    answers.push((number, answer));
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for worker in workers {
        answers.extend(worker.await.expect("no fault"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_uploads_at_once_stay_within_the_quota() {
    const QUOTA: u64 = 40_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]);
    set_quota(&server, "acme", json!({"bytes": QUOTA})).await;
    let size = |number: usize| numbered(number).len() as u64;
    let answers = push_all(&server, (0..1000).collect()).await;
    assert_eq!(answers.len(), 1000);
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 201);
    let used: u64 = accepted.iter().map(|(number, _)| size(*number)).sum();
    assert!(used <= QUOTA, "{used}");
    for (number, answer) in &refused {
        assert_full(answer, QUOTA);
        assert!(used + size(*number) > QUOTA, "{number} would have fitted beside {used}");
    }
    assert_eq!(usage(&server, "acme").await, (used, 10));
    disk::staging_is_empty(&server).await;

    // A crash later it is the same, and the quota holds as before.
    server.kill();
    let server = Server::start_in(folder.path(), &[]);
    assert_eq!(usage(&server, "acme").await, (used, 10));
    let again: Vec<usize> = refused.iter().map(|(number, _)| *number).collect();
    for (_, answer) in push_all(&server, again.iter().copied().take(8).collect()).await {
        assert_full(&answer, QUOTA);
    }

    // With room for exactly the rest, the rest goes in.
    let all: u64 = (0..1000).map(size).sum();
    set_quota(&server, "acme", json!({"bytes": all})).await;
    for (number, answer) in push_all(&server, again).await {
        assert_eq!(answer.status, 201, "{number}: {answer:?}");
    }
    assert_eq!(usage(&server, "acme").await, (all, 10));
    assert_eq!(disk::blobs(&server).len(), 1000);
    assert_full(&push(&server.admin(), "acme/r0", b"x").await, all);
}

/// Runs the same for 64 clients at once, each with its number.
async fn of_64<F: Future<Output = Answer> + Send + 'static>(
    server: &Server,
    request: impl Fn(Client, usize) -> F,
) -> Vec<Answer> {
    let requests: Vec<_> = (0..64).map(|number| tokio::spawn(request(server.admin(), number))).collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.expect("an answer"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_with_one_digest_count_once() {
    let server = Server::start(&[]);
    set_quota(&server, "acme", json!({"bytes": 4})).await;
    let pushed = async |client: Client, number| push(&client, &format!("acme/r{number}"), b"blob").await;
    for _ in 0..3 {
        for answer in of_64(&server, pushed).await {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        assert_eq!(usage(&server, "acme").await, (4, 64));
        let digest = Sha256::of(b"blob").to_string();
        let deleted = of_64(&server, |client, number| {
            let path = format!("/v2/acme/r{number}/blobs/{digest}");
            async move { client.delete(&path).await }
        });
        for answer in deleted.await {
            assert_eq!(answer.status, 202, "{answer:?}");
        }
        assert_eq!(usage(&server, "acme").await, (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_repositories_at_once_stay_within_the_quota() {
    let server = Server::start(&[]);
    set_quota(&server, "acme", json!({"repositories": 5})).await;
    let answers = of_64(&server, |client, number| async move {
        push(&client, &format!("acme/r{}", number / 2), &[u8::try_from(number).expect("a byte"); 10]).await
    });
    let answers = answers.await;
    let mut there = BTreeSet::new();
    let mut accepted = 0;
    for (number, answer) in answers.iter().enumerate() {
        if answer.status == 201 {
            there.insert(number / 2);
            accepted += 1;
        } else {
            assert_no_place(answer, 5);
        }
    }
    assert_eq!(there.len(), 5, "{there:?}");
    assert_eq!(usage(&server, "acme").await, (accepted * 10, 5));
}
