//! A blob store that takes its time, as one across a network does, in front of PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::StatusCode;
use quire::app::App;
use quire::blob::{Blob, BlobError, BlobStore};
use quire::config;
use quire::digest::Sha256;
use quire::meta::MetaStore;
use quire::staging::Staged;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use crate::harness::postgres::cluster;
use crate::harness::{ADMIN_TOKEN, Client, image};
use crate::stores::connected;

/// Keeps everybody waiting who reads or writes bytes, once it is told to.
struct SlowStore {
    inner: Arc<dyn BlobStore>,
    waits: watch::Receiver<bool>,
    /// One permit for each that waits.
    waiting: Arc<Semaphore>,
}

impl SlowStore {
    async fn wait(&self) {
        let mut waits = self.waits.clone();
        if *waits.borrow_and_update() {
            self.waiting.add_permits(1);
            waits.wait_for(|waits| !waits).await.unwrap();
        }
    }
}

#[async_trait]
impl BlobStore for SlowStore {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        self.wait().await;
        self.inner.put(staged).await
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        self.wait().await;
        self.inner.open(digest).await
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.wait().await;
        self.inner.size(digest).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.inner.list(after, limit).await
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.wait().await;
        self.inner.remove(digest).await
    }
}

/// P7: while pushes and pulls wait for bytes, no transaction of theirs is open. (What transactions are made of,
/// `src/meta/postgres/`, may not even name a blob store or a client: `tidy.rs` looks after that.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_nobody_holds_a_transaction_while_bytes_are_on_their_way() {
    let Some(database) = tokio::task::spawn_blocking(|| Some(cluster()?.database())).await.unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let flags =
        BTreeMap::from([("listen", "127.0.0.1:0".to_owned()), ("data", folder.path().display().to_string())]);
    let environment = BTreeMap::from([("QUIRE_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())]);
    let config = config::resolve(&flags, &environment).unwrap().config().unwrap();
    let (hold, waits) = watch::channel(false);
    let waiting = Arc::new(Semaphore::new(0));
    let slow =
        |inner| Arc::new(SlowStore { inner, waits, waiting: Arc::clone(&waiting) }) as Arc<dyn BlobStore>;
    let meta = Arc::new(connected(&database.url()));
    let app = App::start_with(&config, slow, |_| meta as Arc<dyn MetaStore>).await.unwrap();
    let client = Arc::new(Client::new(app.address().unwrap(), Some(ADMIN_TOKEN)));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(app.run(async move { drop(stopped.await) }));
    assert_eq!(client.send("POST", "/api/orgs", &[], r#"{"id": "a"}"#).await.status, 201);
    let described = client.push_blob("a/b", "{}").await;

    hold.send(true).unwrap();
    let mut requests = JoinSet::new();
    for number in 0..4 {
        let (client, manifest) = (Arc::clone(&client), image(&described, 2, &[]));
        requests.spawn(async move {
            let bytes = format!("blob {number}");
            let path = format!("/v2/a/b/blobs/uploads/?digest={}", Sha256::of(bytes.as_bytes()));
            let pushed = client.send("POST", &path, &[], bytes).await.status;
            (pushed, client.put_manifest("a/b", &format!("v{number}"), &manifest).await.status)
        });
    }
    let pulling = Arc::clone(&client);
    let pull = format!("/v2/a/b/blobs/{described}");
    let pulled = tokio::spawn(async move { pulling.get(&pull).await.status });
    drop(waiting.acquire_many(5).await.unwrap());

    for _ in 0..20 {
        let open = "SELECT count(*) FILTER (WHERE state LIKE 'idle in transaction%'), count(*) > 1
            FROM pg_stat_activity WHERE datname = current_database()";
        let (open, sessions) = tokio::task::block_in_place(|| {
            let answer = database.sql(&[open]);
            let (open, sessions) = answer.trim().split_once('|').unwrap();
            (open.to_owned(), sessions.to_owned())
        });
        assert_eq!((&*open, &*sessions), ("0", "t"), "transactions that wait for bytes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hold.send(false).unwrap();
    for outcome in requests.join_all().await {
        assert_eq!(outcome, (StatusCode::CREATED, StatusCode::CREATED));
    }
    assert_eq!(pulled.await.unwrap(), 200);
    stop.send(()).unwrap();
    drop(server.await);
}
