//! Tags and repositories: order, pages, deletion, and many writers at once.

use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::harness::{Answer, Client, Server, image};

const REPOSITORY: &str = "acme/tool";

/// The path behind a `Link`, which is relative to the server.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    if link.is_empty() {
        return None;
    }
    let path = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    Some(path.filter(|path| path.starts_with("/v2/")).expect("a relative link").to_owned())
}

async fn tags(client: &Client, query: &str) -> Value {
    let answer = client.get(&format!("/v2/{REPOSITORY}/tags/list{query}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json()["name"], REPOSITORY);
    answer.json()["tags"].clone()
}

async fn pull(client: &Client, reference: &str) -> Answer {
    client.get(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await
}

#[tokio::test]
async fn lists_are_in_byte_order_and_in_pages() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let unknown = admin.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
    assert_refused(&unknown, 404, "NAME_UNKNOWN", "an unknown repository");
    let config = admin.push_blob(REPOSITORY, "{}").await;
    assert_eq!(tags(&admin, "").await, json!([]), "a repository without tags");
    let sorted = ["1.10", "1.9", "A", "Z", "_", "a", "a-b", "a.b", "a_b", "aa", "b", "latest", "z"];
    for tag in sorted.iter().rev() {
        assert_eq!(admin.put_manifest(REPOSITORY, tag, &image(&config, 2, &[])).await.status, 201);
    }
    assert_eq!(tags(&admin, "").await, json!(sorted));
    for (query, expected, more) in [
        ("?n=3", &sorted[..3], true),
        ("?n=13", &sorted[..], false),
        ("?n=14", &sorted[..], false),
        ("?n=12", &sorted[..12], true),
        ("?n=99999999999999999999999", &sorted[..], false),
        ("?n=0", &[], false),
        ("?n=0&last=A", &[], false),
        ("?n=2&last=A", &sorted[3..5], true),
        ("?last=aa", &sorted[10..], false),
        ("?last=a-a", &sorted[6..], false),
        ("?last=a%2Fnever", &sorted[8..], false),
        ("?last=z", &[], false),
        ("?last=", &sorted[..], false),
        ("?n=2&last=%F0%9F%A6%80", &[], false),
    ] {
        let answer = admin.get(&format!("/v2/{REPOSITORY}/tags/list{query}")).await;
        assert_eq!(answer.json()["tags"], json!(expected), "{query}");
        assert_eq!(next(&answer).is_some(), more, "{query}");
    }
    for size in [1, 2, 5, 13] {
        let mut path = Some(format!("/v2/{REPOSITORY}/tags/list?n={size}"));
        let mut seen = Vec::new();
        while let Some(page) = path {
            let answer = admin.get(&page).await;
            let page: Vec<String> = serde_json::from_value(answer.json()["tags"].clone()).expect("tags");
            assert!(!page.is_empty() && page.len() <= size, "{page:?}");
            seen.extend(page);
            path = next(&answer);
        }
        assert_eq!(seen, sorted, "{size}");
    }
}

#[tokio::test]
async fn deleting_a_tag_leaves_its_manifest() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_artifact(REPOSITORY, "one", "layer").await;
    assert_eq!(admin.push_artifact(REPOSITORY, "two", "layer").await, digest);
    assert_eq!(pull(&admin, "one").await.status, 200, "and is warm in memory");
    let one = format!("/v2/{REPOSITORY}/manifests/one");
    assert_eq!(admin.delete(&one).await.status, 202);
    assert_refused(&pull(&admin, "one").await, 404, "MANIFEST_UNKNOWN", "the tag");
    assert_refused(&admin.delete(&one).await, 404, "MANIFEST_UNKNOWN", "the tag again");
    assert_eq!(pull(&admin, "two").await.status, 200);
    assert_eq!(pull(&admin, &digest).await.status, 200);
    assert_eq!(tags(&admin, "").await, json!(["two"]));
    assert_eq!(admin.push_artifact(REPOSITORY, "one", "layer").await, digest);
    assert_eq!(tags(&admin, "").await, json!(["one", "two"]));
    assert_eq!(pull(&admin, "one").await.header("docker-content-digest"), digest);
}

#[tokio::test]
async fn deleting_a_manifest_takes_tags_and_referrer_entry_along() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let subject = admin.push_artifact(REPOSITORY, "subject", "layer").await;
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let mut referrer = image(&config, 2, &[]);
    referrer["subject"] = json!({"mediaType": referrer["mediaType"], "digest": subject, "size": 1});
    for tag in ["a", "b"] {
        assert_eq!(admin.put_manifest(REPOSITORY, tag, &referrer).await.status, 201);
    }
    let digest = Sha256::of(referrer.to_string().as_bytes()).to_string();
    let referrers = format!("/v2/{REPOSITORY}/referrers/{subject}");
    assert_eq!(admin.get(&referrers).await.json()["manifests"][0]["digest"], digest);
    for reference in ["a", "b", &digest] {
        assert_eq!(pull(&admin, reference).await.status, 200, "and is warm in memory");
    }
    let path = format!("/v2/{REPOSITORY}/manifests/{digest}");
    let immutable = format!("/blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    assert_eq!(admin.get(&immutable).await.status, 200, "and is warm in memory");
    assert_eq!(admin.delete(&path).await.status, 202);
    for reference in ["a", "b", &digest] {
        assert_refused(&pull(&admin, reference).await, 404, "MANIFEST_UNKNOWN", reference);
        let head = admin.head(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await;
        assert_eq!(head.status, 404, "{reference}");
    }
    assert_refused(&admin.get(&immutable).await, 404, "BLOB_UNKNOWN", "its bytes");
    assert_refused(&admin.delete(&path).await, 404, "MANIFEST_UNKNOWN", "again");
    assert_eq!(tags(&admin, "").await, json!(["subject"]));
    assert_eq!(admin.get(&referrers).await.json()["manifests"], json!([]));

    assert_eq!(admin.put_manifest(REPOSITORY, "a", &referrer).await.status, 201);
    assert_eq!(pull(&admin, "a").await.header("docker-content-digest"), digest);
    assert_eq!(tags(&admin, "").await, json!(["a", "subject"]));
    assert_eq!(admin.get(&referrers).await.json()["manifests"][0]["digest"], digest);

    // The subject goes, its referrers stay, and are listed for it all the same.
    assert_eq!(admin.delete(&format!("/v2/{REPOSITORY}/manifests/{subject}")).await.status, 202);
    assert_eq!(admin.get(&referrers).await.json()["manifests"][0]["digest"], digest);
}

#[tokio::test]
async fn deleting_a_blob_is_for_its_repository_alone() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let digest = admin.push_blob(REPOSITORY, "bytes").await;
    assert_eq!(admin.push_blob("acme/other", "bytes").await, digest);
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    assert_eq!(admin.get(&path).await.status, 200, "and is warm in memory");
    assert_eq!(admin.delete(&path).await.status, 202);
    assert_refused(&admin.get(&path).await, 404, "BLOB_UNKNOWN", "the blob");
    assert_refused(&admin.delete(&path).await, 404, "BLOB_UNKNOWN", "again");
    assert_eq!(admin.get(&format!("/v2/acme/other/blobs/{digest}")).await.status, 200);
    let mount = format!("/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from=acme/other");
    assert_eq!(admin.send("POST", &mount, &[], "").await.status, 201);
    assert_eq!(admin.get(&path).await.body, "bytes");
}

/// Each moves the tag to a manifest of its own. P5: no memory shows an older one afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_sixteen_pushes_of_one_tag_have_one_winner() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.push_artifact(REPOSITORY, "latest", "before").await;
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let manifests: Vec<Value> = (0..16)
        .map(|n| {
            let mut manifest = image(&config, 2, &[]);
            manifest["annotations"] = json!({"n": n.to_string()});
            manifest
        })
        .collect();
    let pushes: Vec<_> = manifests
        .iter()
        .map(|manifest| {
            let (admin, manifest) = (admin.clone(), manifest.clone());
            tokio::spawn(async move { admin.put_manifest(REPOSITORY, "latest", &manifest).await })
        })
        .collect();
    let reader = admin.clone();
    let pulls = tokio::spawn(async move {
        for _ in 0..100 {
            let pulled = pull(&reader, "latest").await;
            assert_eq!(pulled.status, 200);
            assert_eq!(pulled.header("docker-content-digest"), Sha256::of(&pulled.body).to_string());
        }
    });
    let mut digests = Vec::new();
    for push in pushes {
        let pushed = push.await.expect("a push");
        assert_eq!(pushed.status, 201, "{pushed:?}");
        digests.push(pushed.header("docker-content-digest").to_owned());
    }
    pulls.await.expect("every pull");
    let winner = pull(&admin, "latest").await.header("docker-content-digest").to_owned();
    assert!(digests.contains(&winner));
    for _ in 0..20 {
        assert_eq!(pull(&admin, "latest").await.header("docker-content-digest"), winner);
    }
    for digest in &digests {
        assert_eq!(pull(&admin, digest).await.status, 200, "and none of the others is lost");
    }
    assert_eq!(tags(&admin, "").await, json!(["latest"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_pushes_of_one_blob_all_succeed() {
    let server = Server::start(&[]);
    let bytes = vec![9; 300_000];
    let pushes: Vec<_> = (0..16)
        .map(|n| {
            let (admin, bytes) = (server.admin(), bytes.clone());
            // Half of them into one repository, half into one each.
            let repository = if n % 2 == 0 { REPOSITORY.to_owned() } else { format!("acme/tool{n}") };
            tokio::spawn(async move { admin.push_blob(&repository, bytes).await })
        })
        .collect();
    for push in pushes {
        let digest = push.await.expect("a push");
        let pulled = server.admin().get(&format!("/v2/{REPOSITORY}/blobs/{digest}")).await;
        assert_eq!((pulled.status.as_u16(), pulled.body.len()), (200, bytes.len()));
    }
    assert_eq!(crate::disk::blobs(&server).len(), 1);
    crate::disk::staging_is_empty(&server).await;
}
