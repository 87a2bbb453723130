//! A blob store that fails: nothing becomes visible, the answer tells no inner things, and a retry works.

use std::collections::BTreeMap;
use std::sync::Arc;

use quire::app::App;
use quire::blob::BlobStore;
use quire::blob::faulty::FaultyStore;
use quire::config;
use quire::digest::Sha256;
use quire::fault::Fault;
use tokio::sync::oneshot;

use crate::harness::store::Place;
use crate::harness::{ADMIN_TOKEN, Client, image};

/// A server inside the test, with a store that can be told to fail.
struct Running {
    store: Arc<FaultyStore<Arc<dyn BlobStore>>>,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    folder: tempfile::TempDir,
    _place: Place,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let flags =
        BTreeMap::from([("listen", "127.0.0.1:0".to_owned()), ("data", folder.path().display().to_string())]);
    let place = Place::of(folder.path());
    let mut environment = place.environment();
    environment.insert("QUIRE_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned());
    let config = config::resolve(&flags, &environment).unwrap().config().unwrap();
    let mut wrapped = None;
    let wrap = |opened| {
        let store = Arc::new(FaultyStore::new(opened));
        wrapped = Some(Arc::clone(&store));
        store as Arc<dyn BlobStore>
    };
    let app = App::start_with(&config, wrap, |store| store);
    let app = app.await.unwrap();
    let client = Client::new(app.address().unwrap(), Some(ADMIN_TOKEN));
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let stop = async move { drop(stopped.await) };
        drop(app.run(stop).await);
    });
    for organisation in [r#"{"id": "a"}"#, r#"{"id": "x"}"#] {
        let made = client.send("POST", "/api/orgs", &[], organisation).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    Running { store: wrapped.unwrap(), client, stop: Some(stop), folder, _place: place }
}

/// P2: a push whose bytes could not be made durable is absent, and can be repeated.
#[tokio::test]
async fn a_failed_put_makes_nothing_visible() {
    let server = start().await;
    let bytes = "bytes that are not there yet";
    let digest = Sha256::of(bytes.as_bytes()).to_string();
    let push = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let pull = format!("/v2/a/b/blobs/{digest}");
    for fault in [Fault::Before, Fault::After] {
        server.store.fail_put(fault);
        let answer = server.client.send("POST", &push, &[], bytes).await;
        assert_eq!(answer.refusal(), (500, "INTERNAL_ERROR".into()));
        assert_eq!(server.client.get(&pull).await.refusal(), (404, "BLOB_UNKNOWN".into()));
    }
    assert_eq!(server.client.send("POST", &push, &[], bytes).await.status, 201);
    assert_eq!(server.client.get(&pull).await.body, bytes);
}

/// P2: the same for a manifest, with its tag.
#[tokio::test]
async fn a_manifest_whose_put_fails_has_no_tag() {
    let server = start().await;
    let config = server.client.push_blob("a/b", "{}").await;
    let manifest = image(&config, 2, &[]);
    server.store.fail_put(Fault::After);
    assert_eq!(server.client.put_manifest("a/b", "v1", &manifest).await.status, 500);
    assert_eq!(server.client.get("/v2/a/b/manifests/v1").await.status, 404);
    let tags = server.client.get("/v2/a/b/tags/list").await.json();
    assert_eq!(tags["tags"], serde_json::json!([]));
    assert_eq!(server.client.put_manifest("a/b", "v1", &manifest).await.status, 201);
}

/// P2: a session whose last step failed can be finished again with the same request.
#[tokio::test]
async fn a_session_survives_a_failed_put() {
    let server = start().await;
    let session = server.client.open_session("a/b").await;
    let digest = Sha256::of(b"whole").to_string();
    assert_eq!(server.client.send("PATCH", &session, &[], "who").await.status, 202);
    server.store.fail_put(Fault::Before);
    let finish = format!("{session}?digest={digest}");
    assert_eq!(server.client.send("PUT", &finish, &[], "le").await.status, 500);
    let offset = server.client.get(&session).await;
    assert_eq!((offset.status.as_u16(), offset.header("range")), (204, "0-2"));
    assert_eq!(server.client.send("PUT", &finish, &[], "le").await.status, 201);
    assert_eq!(server.client.get(&session).await.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

/// P1, P2: bytes that were stored but not recorded keep their digest when their session goes on with others.
#[tokio::test]
async fn a_retried_session_does_not_touch_what_was_stored() {
    for first in ["", "whole "] {
        let server = start().await;
        let bytes = format!("{first}artifact");
        let digest = Sha256::of(bytes.as_bytes()).to_string();
        let session = server.client.open_session("a/b").await;
        if !first.is_empty() {
            assert_eq!(server.client.send("PATCH", &session, &[], first).await.status, 202);
        }
        let finish = format!("{session}?digest={digest}");
        server.store.fail_put(Fault::After);
        assert_eq!(server.client.send("PUT", &finish, &[], "artifact").await.status, 500);
        // Somebody else pushes the same bytes, and is told that they are safe.
        assert_eq!(server.client.push_blob("x/y", bytes.clone()).await, digest);
        let other = server.client.send("PUT", &finish, &[], "ARTIFACT").await;
        assert_eq!(other.refusal(), (400, "DIGEST_INVALID".into()));
        let pulled = server.client.get(&format!("/v2/x/y/blobs/{digest}")).await;
        assert_eq!((pulled.status.as_u16(), pulled.body), (200, bytes.into()));
        let hex = digest.trim_start_matches("sha256:");
        let stored = server.folder.path().join("blobs/sha256").join(&hex[..2]).join(hex);
        assert_eq!(Sha256::of(&std::fs::read(stored).unwrap()).hex(), hex);
    }
}

/// P10: a 5xx tells its code and the request id, and nothing about what is inside.
#[tokio::test]
async fn a_fault_tells_its_code_and_request_id() {
    let server = start().await;
    let digest = server.client.push_blob("a/b", "x").await;
    server.store.fail_open(Fault::Before);
    let answer = server.client.get(&format!("/v2/a/b/blobs/{digest}")).await;
    let error = &answer.json()["errors"][0];
    assert_eq!(answer.status, 500);
    assert_eq!(error["code"], "INTERNAL_ERROR");
    assert_eq!(error["detail"]["requestId"], answer.header("x-request-id"));
    assert!(!answer.json().to_string().contains("planned"), "{answer:?}");
    assert_eq!(
        server.client.get(&format!("/v2/a/b/blobs/{digest}")).await.status,
        200,
        "faults are not kept"
    );
}

/// P1: small blobs are hashed when they are loaded, large ones measured: what fails is never served as the blob.
#[tokio::test]
async fn damaged_bytes_are_not_served() {
    for size in [10, 100_000] {
        let server = start().await;
        let digest = server.client.push_blob("a/b", vec![1; size]).await;
        let hex = digest.trim_start_matches("sha256:");
        let path = server.folder.path().join("blobs/sha256").join(&hex[..2]).join(hex);
        std::fs::write(&path, vec![2; if size == 10 { 10 } else { size - 1 }]).unwrap();
        let answer = server.client.get(&format!("/v2/a/b/blobs/{digest}")).await;
        assert_eq!(answer.refusal(), (500, "INTERNAL_ERROR".into()), "{size} bytes");
    }
}
