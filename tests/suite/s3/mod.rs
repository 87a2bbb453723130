//! The far store on S3: against a real server, and against one that goes wrong where it is told to.

mod connecting;
mod fetches;
mod memory;
mod outages;
mod presigned;
mod puts;
mod real;

use std::time::Duration;

use bytes::Bytes;
use quire::blob::BlobError;
use quire::blob::far::FarStore;
use quire::blob::s3::{S3Counters, S3Settings, S3Store, S3Tuning, S3Unusable};
use quire::digest::{Algorithm, Sha256};
use quire::staging::{Staged, Staging};

use crate::harness::s3_stub::{Manners, Stub};
use crate::harness::seaweed::{credentials, settings};

/// A stub, and a folder to stage in.
struct Fixture {
    stub: Stub,
    staging: Staging,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Manners::default()).await
    }

    async fn with(manners: Manners) -> Self {
        let (_folder, staging) = staging();
        Self { stub: Stub::start(manners).await, staging, _folder }
    }

    /// Time-outs are short here, and nothing that works takes as long.
    fn settings(&self) -> S3Settings {
        S3Settings { stall_timeout: Duration::from_secs(2), ..settings(self.stub.address, "p/") }
    }

    async fn store(&self) -> S3Store {
        self.store_with(S3Tuning::default()).await
    }

    /// A store whose probe was forgotten by the stub.
    async fn store_with(&self, tuning: S3Tuning) -> S3Store {
        let store = connect(self.settings(), tuning).await.expect("a usable bucket");
        self.stub.seen();
        store
    }

    async fn stage(&self, bytes: impl Into<Bytes>) -> Staged {
        stage(&self.staging, bytes).await
    }
}

fn staging() -> (tempfile::TempDir, Staging) {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::open(folder.path().join("staging")).expect("a folder for staging");
    (folder, staging)
}

async fn stage(staging: &Staging, bytes: impl Into<Bytes>) -> Staged {
    let mut intake = staging.begin(Algorithm::Sha256, u64::MAX).await.expect("a staged file");
    intake.write(bytes.into()).await.expect("space");
    intake.finish(Algorithm::Sha256).await.expect("a digest")
}

async fn connect(settings: S3Settings, tuning: S3Tuning) -> Result<S3Store, S3Unusable> {
    S3Store::connect(settings, &credentials(), tuning, S3Counters::noop()).await
}

/// Where the stub has a blob.
fn key(bytes: &[u8]) -> String {
    format!("p/blobs/sha256/{}", Sha256::of(bytes).hex())
}

/// All bytes of a blob, or the error in the middle of it.
async fn read(store: &S3Store, digest: &Sha256) -> Result<Option<Vec<u8>>, String> {
    let fetched = store.fetch(digest).await.map_err(|error| error.to_string())?;
    let Some(mut fetched) = fetched else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(piece) = fetched.source.next().await.map_err(|error| error.to_string())? {
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

/// Asks again and again until the answer is yes; for things that happen soon, or never.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bytes that are not the same everywhere.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn is_unavailable<T>(result: &Result<T, BlobError>) -> bool {
    matches!(result, Err(BlobError::Unavailable(_)))
}
