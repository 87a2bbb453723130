//! Manifest pushes: how large, what must exist first, and that bytes, type and tags stay as they came.

use bytes::Bytes;
use quire::digest::Sha256;
use serde_json::{Value, json};

use crate::bad_input::assert_refused;
use crate::disk;
use crate::harness::{Answer, Client, Server, image};
use crate::wire::Wire;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const REPOSITORY: &str = "acme/tool";

pub async fn put(client: &Client, reference: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
    client.send("PUT", &path, &[("content-type", content_type)], body).await
}

fn child(digest: &str, size: usize) -> Value {
    json!({"mediaType": MANIFEST, "digest": digest, "size": size})
}

fn index(children: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
}

/// A valid manifest of the size asked for, by an annotation.
fn of_size(config: &str, size: usize) -> String {
    let mut manifest = image(config, 2, &[]);
    manifest["annotations"] = json!({"filler": ""});
    let missing = size - manifest.to_string().len();
    manifest["annotations"]["filler"] = "x".repeat(missing).into();
    manifest.to_string()
}

#[tokio::test]
async fn four_mebibytes_are_the_most() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let before = disk::blobs(&server);
    let large = of_size(&config, 4 * 1024 * 1024 + 1);

    // By the length that is announced, before any of it is sent.
    let line = format!("PUT /v2/{REPOSITORY}/manifests/latest");
    let length = large.len().to_string();
    let headers = [("content-type", MANIFEST), ("content-length", length.as_str())];
    let wire = Wire::admin(&server, &line, &headers).await;
    assert_refused(&wire.answer().await.expect("an answer"), 413, "SIZE_INVALID", "announced");

    // A client that sends first and reads afterwards hears it too.
    for _ in 0..5 {
        assert_refused(&put(&admin, "latest", MANIFEST, large.clone()).await, 413, "SIZE_INVALID", "sent");
    }

    // And by counting, when no length is announced.
    let headers = [("content-type", MANIFEST), ("transfer-encoding", "chunked")];
    let mut wire = Wire::admin(&server, &line, &headers).await;
    for piece in large.as_bytes().chunks(512 * 1024) {
        wire.chunk(piece).await;
    }
    assert_refused(&wire.answer().await.expect("an answer"), 413, "SIZE_INVALID", "chunked");
    assert_eq!(disk::blobs(&server), before);

    for size in [3_900_000, 4 * 1024 * 1024] {
        let body = of_size(&config, size);
        let pushed = put(&admin, "latest", MANIFEST, body.clone()).await;
        assert_eq!(pushed.status, 201, "{size}");
        let pulled = admin.get(&format!("/v2/{REPOSITORY}/manifests/latest")).await;
        assert!(pulled.status == 200 && pulled.body == body, "{size}");
    }
    disk::staging_is_empty(&server).await;
}

#[tokio::test]
async fn what_a_manifest_needs_comes_first() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    // It is there, but in another repository.
    let foreign = admin.push_blob("acme/other", "layer").await;
    let absent = Sha256::of(b"absent").to_string();
    let before = disk::blobs(&server);
    let manifest = image(&config, 2, &[(&foreign, 5), (&absent, 6)]);
    let refused = admin.put_manifest(REPOSITORY, "latest", &manifest).await;
    assert_refused(&refused, 404, "MANIFEST_BLOB_UNKNOWN", "blobs");
    let mut told: Vec<String> =
        serde_json::from_value(refused.json()["errors"][0]["detail"]["digests"].clone()).expect("digests");
    told.sort();
    let mut missing = vec![foreign.clone(), absent];
    missing.sort();
    assert_eq!(told, missing);

    // A blob is no manifest, and a manifest no blob.
    let refused = admin.put_manifest(REPOSITORY, "latest", &index(&[child(&config, 2)])).await;
    assert_refused(&refused, 404, "MANIFEST_BLOB_UNKNOWN", "a child that is a blob");
    assert_eq!(refused.json()["errors"][0]["detail"]["digests"], json!([config]));
    assert_eq!(disk::blobs(&server), before);

    let good = image(&config, 2, &[]);
    let pushed = admin.put_manifest(REPOSITORY, "child", &good).await;
    let digest = pushed.header("docker-content-digest").to_owned();
    let size = good.to_string().len();
    let wrong = admin.put_manifest(REPOSITORY, "latest", &index(&[child(&digest, size + 1)])).await;
    assert_refused(&wrong, 400, "SIZE_INVALID", "the size of a child");
    let as_layer = admin.put_manifest(REPOSITORY, "latest", &image(&config, 2, &[(&digest, size)])).await;
    assert_refused(&as_layer, 404, "MANIFEST_BLOB_UNKNOWN", "a manifest as a layer");
    assert_eq!(admin.get(&format!("/v2/{REPOSITORY}/manifests/latest")).await.status, 404);
    let good = admin.put_manifest(REPOSITORY, "latest", &index(&[child(&digest, size)])).await;
    assert_eq!(good.status, 201, "{good:?}");

    // Layers that live elsewhere, by their own word, need not exist.
    let mut elsewhere = image(&config, 2, &[(&foreign, 5)]);
    elsewhere["layers"][0]["urls"] = json!(["https://example.com/layer"]);
    assert_eq!(admin.put_manifest(REPOSITORY, "elsewhere", &elsewhere).await.status, 201);
}

#[tokio::test]
async fn bytes_and_type_stay_as_they_came() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let pretty = serde_json::to_string_pretty(&image(&config, 2, &[])).expect("a text");
    for body in [format!("{pretty}\n"), format!("\n\t {} \r\n", pretty.replace('\n', "\r\n"))] {
        let digest = Sha256::of(body.as_bytes()).to_string();
        let typed = format!("{MANIFEST}; charset=utf-8");
        let pushed = put(&admin, "latest", &typed, body.clone()).await;
        assert_eq!(pushed.status, 201, "{pushed:?}");
        assert_eq!(pushed.header("docker-content-digest"), digest);
        assert_eq!(pushed.header("location"), format!("/v2/{REPOSITORY}/manifests/{digest}"));
        for accept in [None, Some("*/*"), Some("application/json"), Some("text/html;q=0.1"), Some("nonsense")]
        {
            let headers: Vec<(&str, &str)> = accept.map(|accept| ("accept", accept)).into_iter().collect();
            for reference in ["latest", &digest] {
                let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
                let pulled = admin.send("GET", &path, &headers, "").await;
                assert_eq!((pulled.status.as_u16(), &pulled.body), (200, &Bytes::from(body.clone())));
                assert_eq!(pulled.header("content-type"), MANIFEST, "without its parameters");
                assert_eq!(pulled.header("docker-content-digest"), digest);
            }
        }
    }
}

#[tokio::test]
async fn a_subject_need_not_exist() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let subject = Sha256::of(b"to come").to_string();
    let mut manifest = image(&config, 2, &[]);
    manifest["subject"] = child(&subject, 7);
    manifest["artifactType"] = "application/vnd.example+json".into();
    manifest["annotations"] = json!({"key": "value"});
    let pushed = admin.put_manifest(REPOSITORY, "signature", &manifest).await;
    assert_eq!((pushed.status.as_u16(), pushed.header("oci-subject")), (201, subject.as_str()));
    let list = admin.get(&format!("/v2/{REPOSITORY}/referrers/{subject}")).await;
    assert_eq!((list.status.as_u16(), list.header("content-type")), (200, INDEX));
    let digest = pushed.header("docker-content-digest");
    let entry = json!({
        "mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len(),
        "artifactType": "application/vnd.example+json", "annotations": {"key": "value"},
    });
    assert_eq!(list.json()["manifests"], json!([entry]));
    for (filter, count) in
        [("application/vnd.example%2Bjson", 1), ("application/vnd.example+json", 1), ("x/y", 0), ("", 0)]
    {
        let path = format!("/v2/{REPOSITORY}/referrers/{subject}?artifactType={filter}");
        let list = admin.get(&path).await;
        assert_eq!(list.json()["manifests"].as_array().map(Vec::len), Some(count), "{filter}");
        assert_eq!(list.header("oci-filters-applied"), "artifactType", "{filter}");
    }
    for repository in ["acme/other", "nowhere/at-all"] {
        let list = admin.get(&format!("/v2/{repository}/referrers/{subject}")).await;
        assert_eq!((list.status.as_u16(), list.json()["manifests"].clone()), (200, json!([])));
    }
    let plain = admin.put_manifest(REPOSITORY, "plain", &image(&config, 2, &[])).await;
    assert_eq!(plain.header("oci-subject"), "", "no subject, no header");
}

#[tokio::test]
async fn tags_may_come_as_parameters() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let config = admin.push_blob(REPOSITORY, "{}").await;
    let body = image(&config, 2, &[]).to_string();
    let digest = Sha256::of(body.as_bytes()).to_string();
    let query = |count: usize| (0..count).map(|n| format!("tag=t{n:02}")).collect::<Vec<_>>().join("&");
    let refused = put(&admin, &format!("{digest}?{}", query(65)), MANIFEST, body.clone()).await;
    assert_refused(&refused, 414, "UNSUPPORTED", "65 tags");
    let tags = admin.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
    assert_eq!(tags.json()["tags"], json!([]));
    for count in [10, 64] {
        let pushed = put(&admin, &format!("{digest}?{}", query(count)), MANIFEST, body.clone()).await;
        assert_eq!(pushed.status, 201, "{pushed:?}");
        let told: Vec<_> =
            pushed.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().expect("a text")).collect();
        let asked: Vec<String> = (0..count).map(|n| format!("t{n:02}")).collect();
        assert_eq!(told, asked);
        let tags = admin.get(&format!("/v2/{REPOSITORY}/tags/list")).await;
        assert_eq!(tags.json()["tags"], json!(asked));
    }
    let pulled = admin.get(&format!("/v2/{REPOSITORY}/manifests/t63")).await;
    assert_eq!(pulled.header("docker-content-digest"), digest);
}
