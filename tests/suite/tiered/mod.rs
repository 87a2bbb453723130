//! Near and far: a far store that does what a test says, and the stores and servers in front of it.

mod evicting;
mod filling;
#[cfg(feature = "s3")]
mod processes;
mod redirecting;
mod serving;
mod shipping;
mod syncing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use quire::app::App;
use quire::blob::far::{FarStore, Fetched, Presigned};
use quire::blob::local::{LocalCounters, LocalStore};
use quire::blob::tiered::{Acknowledge, TieredCounters, TieredOptions, TieredStore};
use quire::blob::{BlobError, BlobStore};
use quire::config;
use quire::digest::{Algorithm, Sha256};
use quire::staging::{Source, SourceError, Staged, Staging};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::harness::{ADMIN_TOKEN, Client};

/// A far store in memory. Its gates are open until a test closes them.
pub struct Far {
    blobs: Mutex<BTreeMap<Sha256, Bytes>>,
    /// What was fetched, in order.
    pub fetched: Mutex<Vec<Sha256>>,
    pub is_down: AtomicBool,
    /// How many bytes of each fetch come through.
    gate: watch::Sender<u64>,
    /// How many puts began.
    puts: AtomicU64,
    /// Whether puts come through.
    puts_pass: watch::Sender<bool>,
    /// Whether those that came through are answered.
    puts_answered: watch::Sender<bool>,
    /// After so many bytes each fetch breaks off.
    breaks_at: AtomicU64,
}

impl Far {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            blobs: Mutex::default(),
            fetched: Mutex::default(),
            is_down: AtomicBool::default(),
            gate: watch::Sender::new(u64::MAX),
            puts: AtomicU64::default(),
            puts_pass: watch::Sender::new(true),
            puts_answered: watch::Sender::new(true),
            breaks_at: u64::MAX.into(),
        })
    }

    /// Has bytes under a digest, which need not be theirs.
    pub fn has(&self, digest: Sha256, bytes: &[u8]) {
        self.blobs.lock().unwrap().insert(digest, Bytes::copy_from_slice(bytes));
    }

    pub fn holds(&self, digest: &Sha256) -> bool {
        self.blobs.lock().unwrap().contains_key(digest)
    }

    /// Loses a blob, and tells nobody.
    pub fn remove_quietly(&self, digest: &Sha256) {
        self.blobs.lock().unwrap().remove(digest);
    }

    pub fn let_through(&self, bytes: u64) {
        self.gate.send_replace(bytes);
    }

    pub fn let_puts_through(&self, pass: bool) {
        self.puts_pass.send_replace(pass);
    }

    pub fn answer_puts(&self, answer: bool) {
        self.puts_answered.send_replace(answer);
    }

    pub fn break_at(&self, bytes: u64) {
        self.breaks_at.store(bytes, Ordering::SeqCst);
    }

    pub fn is_down(&self, down: bool) {
        self.is_down.store(down, Ordering::SeqCst);
    }

    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::SeqCst)
    }

    pub fn fetches(&self) -> usize {
        self.fetched.lock().unwrap().len()
    }

    fn answers(&self) -> Result<(), BlobError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(BlobError::Unavailable("far is down".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl FarStore for Far {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.puts_pass.subscribe().wait_for(|pass| *pass).await.unwrap();
        self.answers()?;
        let bytes = tokio::fs::read(staged.path()).await?;
        self.blobs.lock().unwrap().insert(staged.digests().sha256, bytes.into());
        self.puts_answered.subscribe().wait_for(|answered| *answered).await.unwrap();
        Ok(())
    }

    async fn fetch(&self, digest: &Sha256) -> Result<Option<Fetched>, BlobError> {
        self.fetched.lock().unwrap().push(*digest);
        self.answers()?;
        let Some(bytes) = self.blobs.lock().unwrap().get(digest).cloned() else { return Ok(None) };
        let breaks_at = self.breaks_at.load(Ordering::SeqCst);
        let size = bytes.len() as u64;
        let source = Pieces { bytes, sent: 0, gate: self.gate.subscribe(), breaks_at };
        Ok(Some(Fetched { size, source: Box::new(source) }))
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        self.answers()?;
        Ok(self.blobs.lock().unwrap().get(digest).map(|bytes| bytes.len() as u64))
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        self.answers()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.blobs.lock().unwrap();
        let behind = blobs.range((from, Bound::Unbounded));
        Ok(behind.take(limit).map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect())
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        self.answers()?;
        Ok(self.blobs.lock().unwrap().remove(digest).is_some())
    }

    async fn presigned_get(&self, digest: &Sha256) -> Result<Option<Presigned>, BlobError> {
        let expires = SystemTime::now() + Duration::from_secs(600);
        Ok(Some(Presigned { url: format!("https://far.test/{}?signature=x", digest.hex()), expires }))
    }
}

struct Pieces {
    bytes: Bytes,
    sent: u64,
    gate: watch::Receiver<u64>,
    breaks_at: u64,
}

#[async_trait]
impl Source for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        if self.sent >= self.breaks_at {
            return Err(SourceError::Broken);
        }
        let sent = self.sent;
        let open = *self.gate.wait_for(|open| *open > sent).await.map_err(|_| SourceError::Broken)?;
        let length = (open.min(self.breaks_at) - sent).min(64 * 1024).min(self.bytes.len() as u64);
        self.sent += length;
        Ok(Some(self.bytes.split_to(usize::try_from(length).unwrap())))
    }
}

/// A near store in front of a far one, in a folder as a server has it.
pub struct Tiers {
    pub far: Arc<Far>,
    pub store: TieredStore,
    pub staging: Staging,
    pub folder: tempfile::TempDir,
}

impl Tiers {
    pub fn new(acknowledge: Acknowledge, near_max_bytes: Option<u64>) -> Self {
        let (far, folder) = (Far::new(), tempfile::tempdir().unwrap());
        let store = open(folder.path(), Arc::clone(&far) as _, acknowledge, near_max_bytes);
        let staging = Staging::open(folder.path().join("staging")).unwrap();
        Self { far, store, staging, folder }
    }

    /// The same folder and far, as another process opens them.
    pub fn reopen(self, acknowledge: Acknowledge, near_max_bytes: Option<u64>) -> Self {
        let store = open(self.folder.path(), Arc::clone(&self.far) as _, acknowledge, near_max_bytes);
        Self { store, ..self }
    }

    pub async fn stage(&self, bytes: &[u8]) -> Staged {
        let mut intake = self.staging.begin(Algorithm::Sha256, u64::MAX).await.unwrap();
        intake.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        intake.finish(Algorithm::Sha256).await.unwrap()
    }

    pub async fn put(&self, bytes: &[u8]) -> Result<Sha256, BlobError> {
        let staged = self.stage(bytes).await;
        self.store.put(&staged).await.map(|()| staged.digests().sha256)
    }

    pub async fn is_near(&self, digest: &Sha256) -> bool {
        self.store.near_size(digest).await.unwrap().is_some()
    }

    pub async fn read(&self, digest: &Sha256) -> Option<Bytes> {
        let blob = self.store.open(digest).await.unwrap()?;
        Some(blob.read_checked(*digest).await.unwrap().expect("bytes of their digest"))
    }

    /// What stands in the outbox.
    pub fn marks(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("outbox")).unwrap().count()
    }
}

pub fn open(
    data: &Path,
    far: Arc<dyn FarStore>,
    acknowledge: Acknowledge,
    near_max_bytes: Option<u64>,
) -> TieredStore {
    let near = LocalStore::open(&data.join("blobs"), LocalCounters::noop()).unwrap();
    let staging = Staging::open(data.join("staging")).unwrap();
    let options = TieredOptions { acknowledge, near_max_bytes, outbox: data.join("outbox") };
    TieredStore::open(near, far, staging, options, TieredCounters::noop()).unwrap()
}

/// A server inside the test, in front of a far store. It stops when it is dropped.
pub struct Running {
    pub far: Arc<Far>,
    pub address: SocketAddr,
    pub client: Client,
    pub folder: Arc<tempfile::TempDir>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

impl Running {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let running = Self::start_in(folder, Some(Far::new()), settings).await;
        running.with_organisations().await
    }

    /// A server with a folder alone.
    pub async fn start_alone() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(folder, None, &[]).await.with_organisations().await
    }

    async fn with_organisations(self) -> Self {
        for id in ["acme", "other"] {
            let made = self.client.send("POST", "/api/orgs", &[], format!(r#"{{"id": "{id}"}}"#)).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        self
    }

    async fn start_in(
        folder: Arc<tempfile::TempDir>,
        far: Option<Arc<Far>>,
        settings: &[(&str, &str)],
    ) -> Self {
        let flags = BTreeMap::from([
            ("listen", "127.0.0.1:0".to_owned()),
            ("data", folder.path().display().to_string()),
        ]);
        let mut environment = BTreeMap::from([("QUIRE_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())]);
        for (name, value) in settings {
            environment.insert(format!("QUIRE_{name}"), (*value).to_owned());
        }
        let config = config::resolve(&flags, &environment).unwrap().config().unwrap();
        let app = match &far {
            Some(far) => App::start_before(&config, Arc::clone(far) as _).await.unwrap(),
            None => App::start(&config).await.unwrap(),
        };
        let address = app.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(async move { drop(app.run(async move { drop(stopped.await) }).await) });
        let client = Client::new(address, Some(ADMIN_TOKEN));
        let far = far.unwrap_or_else(Far::new);
        Self { far, address, client, folder, stop: Some(stop), ended }
    }

    /// Stops, and starts again on the same folder, in front of the far store.
    pub async fn restart(self, settings: &[(&str, &str)]) -> Self {
        self.restart_after(settings, |_| {}).await
    }

    /// The same, with something done in between.
    pub async fn restart_after(mut self, settings: &[(&str, &str)], between: impl FnOnce(&Self)) -> Self {
        drop(self.stop.take());
        (&mut self.ended).await.unwrap();
        between(&self);
        Self::start_in(Arc::clone(&self.folder), Some(Arc::clone(&self.far)), settings).await
    }

    /// Loses every near copy, as a new node has none.
    pub fn lose_near(&self) {
        for folder in std::fs::read_dir(self.folder.path().join("blobs/sha256")).unwrap() {
            for entry in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }

    pub fn path(&self, digest: &Sha256) -> PathBuf {
        let hex = digest.hex();
        self.folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex)
    }

    /// Pushes a blob and loses its near copy, as if another replica had pushed it.
    pub async fn push_elsewhere(&self, repository: &str, bytes: &[u8]) -> Sha256 {
        self.client.push_blob(repository, bytes.to_vec()).await;
        let digest = Sha256::of(bytes);
        std::fs::remove_file(self.path(&digest)).unwrap();
        digest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// Bytes that are not the same anywhere.
pub fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let step = |state: &mut u32| {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state as u8
    };
    (0..length).map(|_| step(&mut state)).collect()
}
