//! Blobs in an S3 bucket: `<prefix>blobs/sha256/<hex>`.
//!
//! Requests go out through one gate (`calls`), which has a breaker in front and sorts what comes back. Each object is
//! written under its digest with that digest as signature and checksum, so that the server itself refuses other bytes,
//! and looked at afterwards, because some servers compare nothing.

mod breaker;
mod bucket;
mod calls;
mod client;
mod counters;
mod credentials;
mod failure;
mod fetch;
mod presign;
mod probe;
mod put;
mod settings;
mod sweep;
mod watch;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::Region;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::breaker::Breaker;
use self::bucket::Bucket;
use self::calls::Calls;
use self::credentials::NoCredentials;
use self::failure::Failure;
use self::fetch::ObjectSource;
use self::probe::{Findings, Verdict};
use self::put::Outgoing;
use self::watch::ServerClock;
use super::BlobError;
use super::far::{FarStore, Fetched, Presigned};
use crate::digest::Sha256;
use crate::staging::Staged;

pub use self::counters::{Operation, Outcome, S3Counters};
pub use self::credentials::CredentialSource;
pub use self::settings::{S3Settings, S3Tuning};

/// Keys of one answer, the most that S3 gives.
const LIST_PAGE: usize = 1000;

/// A far store in an S3 bucket.
pub struct S3Store {
    bucket: Arc<Bucket>,
    /// What the bucket is called in logs.
    target: String,
    /// What the probe found, once it found the bucket usable.
    found: OnceLock<Findings>,
    /// When the bucket was probed last, and why that did not do.
    probe: Mutex<Option<(Instant, Failure)>>,
}

/// Why a bucket cannot be used; each says which bucket and what to do about it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum S3Unusable {
    #[error("there are no credentials for {target}: {reason}")]
    NoCredentials { target: String, reason: String },
    #[error("{target} refuses: {reason}")]
    Refused { target: String, reason: String },
    #[error("there is no {target}: {reason}")]
    NoBucket { target: String, reason: String },
    #[error("{target} cannot be used: {reason}")]
    Unfit { target: String, reason: String },
}

impl S3Store {
    /// Finds credentials and probes the bucket.
    ///
    /// A server that does not answer is no reason to fail: the store is made, its calls are [`BlobError::Unavailable`],
    /// and the bucket is probed again until it answers.
    pub async fn connect(
        settings: S3Settings,
        credentials: &CredentialSource,
        tuning: S3Tuning,
        counters: S3Counters,
    ) -> Result<Self, S3Unusable> {
        let region = region(&settings, credentials, tuning.start_timeout).await;
        let provider = credentials.provider(region.clone()).await;
        let first = provider.first(tuning.start_timeout).await;
        let target = format!("{} ({})", Target(&settings, &region), provider.describe());
        if let Err(NoCredentials::Missing(reason)) = first {
            return Err(S3Unusable::NoCredentials { target, reason });
        }
        let clock = Arc::new(ServerClock::default());
        let retries = counters.retries.clone();
        let client =
            client::client(&settings, &tuning, region, provider.clone(), Arc::clone(&clock), retries);
        let breaker = Breaker::new(tuning.breaker_failures, tuning.breaker_rest, counters.breaker.clone());
        let store = Self {
            bucket: Arc::new(Bucket {
                client,
                name: settings.bucket,
                prefix: settings.prefix,
                calls: Calls { breaker, counters },
                stall: settings.stall_timeout,
                clock,
                credentials: provider,
                checksums: AtomicBool::new(settings.checksums),
                conditions: AtomicBool::new(true),
                tuning,
            }),
            target,
            found: OnceLock::new(),
            probe: Mutex::default(),
        };
        match first {
            Err(NoCredentials::NotNow(reason)) => store.unreachable(reason).await,
            Ok(()) | Err(NoCredentials::Missing(_)) => store.first_probe().await?,
        }
        Ok(store)
    }

    async fn first_probe(&self) -> Result<(), S3Unusable> {
        let patience = self.bucket.tuning.start_timeout;
        let verdict = timeout(patience, self.bucket.probe()).await;
        let target = self.target.clone();
        match verdict.unwrap_or_else(|_| Verdict::Unreachable(format!("no answer within {patience:?}"))) {
            Verdict::Usable(findings) => {
                self.found_usable(findings);
                Ok(())
            }
            Verdict::Unreachable(reason) => {
                self.unreachable(reason).await;
                Ok(())
            }
            Verdict::Refused(reason) => Err(S3Unusable::Refused { target, reason }),
            Verdict::NoBucket(reason) => Err(S3Unusable::NoBucket { target, reason }),
            Verdict::Unfit(reason) => Err(S3Unusable::Unfit { target, reason }),
        }
    }

    async fn unreachable(&self, reason: String) {
        tracing::warn!(reason, "{} does not answer; it is probed again until it does", self.target);
        *self.probe.lock().await = Some((Instant::now(), Failure::Unavailable(reason)));
    }

    /// The bucket, once a probe found it usable. Until then a call now and then probes, and the others fail at once.
    async fn bucket(&self) -> Result<&Arc<Bucket>, Failure> {
        if self.is_usable() {
            return Ok(&self.bucket);
        }
        let Ok(mut last) = self.probe.try_lock() else { return Err(Failure::NotSent) };
        if let Some((when, failure)) = &*last
            && when.elapsed() < self.bucket.tuning.probe_every
        {
            return Err(failure.clone());
        }
        let failure = match self.bucket.probe().await {
            Verdict::Usable(findings) => {
                self.found_usable(findings);
                return Ok(&self.bucket);
            }
            Verdict::Unreachable(reason) => Failure::Unavailable(reason),
            Verdict::Refused(reason) => Failure::Denied(reason),
            Verdict::NoBucket(reason) => Failure::NoBucket(reason),
            Verdict::Unfit(reason) => Failure::Other(reason),
        };
        if last.as_ref().is_none_or(|(_, before)| *before != failure) {
            tracing::warn!(?failure, "{} cannot be used yet", self.target);
        }
        *last = Some((Instant::now(), failure.clone()));
        Err(failure)
    }

    /// Drops uploads in parts that nobody goes on with, and returns how many.
    pub async fn sweep(&self) -> Result<usize, BlobError> {
        Ok(self.bucket().await?.sweep().await?)
    }

    /// Whether a probe found the bucket usable; until then all calls fail.
    pub fn is_usable(&self) -> bool {
        self.found.get().is_some()
    }

    /// Which bucket this is, with whose credentials, and what its server can do.
    pub fn describe(&self) -> String {
        match self.found.get() {
            Some(findings) => format!("{}: {findings}", self.target),
            None => format!("{}: no answer yet", self.target),
        }
    }

    fn found_usable(&self, findings: Findings) {
        // Two probes at the same time find the same.
        self.found.get_or_init(|| findings);
        tracing::info!("{}", self.describe());
    }
}

/// The region given, or that of the AWS configuration, or the one that servers other than AWS go by.
async fn region(settings: &S3Settings, credentials: &CredentialSource, patience: Duration) -> Region {
    const DEFAULT: &str = "us-east-1";
    match &settings.region {
        Some(region) => Region::new(region.clone()),
        None => {
            let configured = timeout(patience, credentials.region(settings.endpoint.is_none())).await;
            configured.ok().flatten().unwrap_or_else(|| Region::from_static(DEFAULT))
        }
    }
}

/// Which bucket is meant, for messages.
struct Target<'a>(&'a S3Settings, &'a Region);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(settings, region) = self;
        write!(f, "S3 bucket {:?} at {}", settings.bucket, settings.endpoint.as_deref().unwrap_or("AWS"))?;
        if !settings.prefix.is_empty() {
            write!(f, " below {:?}", settings.prefix)?;
        }
        write!(f, ", region {region}, {} style", if settings.path_style() { "path" } else { "virtual-host" })
    }
}

#[async_trait]
impl FarStore for S3Store {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        let bucket = self.bucket().await?;
        let blob = Outgoing { file: staged.file(), size: staged.size(), digest: staged.digests().sha256 };
        if blob.size <= bucket.tuning.largest_single_put {
            bucket.put_whole(&blob).await?;
        } else {
            bucket.put_in_parts(&blob).await?;
        }
        Ok(())
    }

    async fn fetch(&self, digest: &Sha256) -> Result<Option<Fetched>, BlobError> {
        let bucket = self.bucket().await?;
        let source = ObjectSource::open(Arc::clone(bucket), bucket.key(digest)).await;
        let source = there(source)?;
        Ok(source.map(|source| Fetched { size: source.size(), source: Box::new(source) }))
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        let bucket = self.bucket().await?;
        Ok(there(bucket.head(&bucket.key(digest)).await)?)
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        let bucket = self.bucket().await?;
        let blobs = bucket.blobs();
        let mut from = after.map_or_else(String::new, |after| bucket.key(&after));
        let mut listed = Vec::new();
        while listed.len() < limit {
            let page = (limit - listed.len()).min(LIST_PAGE);
            let (objects, more) = bucket.list(&blobs, &from, page).await?;
            // Objects with other names are none of ours.
            listed.extend(objects.iter().filter_map(|object| {
                let digest = Sha256::from_hex(object.key()?.strip_prefix(&blobs)?).ok()?;
                Some((digest, u64::try_from(object.size()?).ok()?))
            }));
            match objects.last().and_then(|object| object.key()) {
                Some(last) if more => from = last.to_owned(),
                Some(_) | None => break,
            }
        }
        Ok(listed)
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        let bucket = self.bucket().await?;
        let key = bucket.key(digest);
        // S3 says the same of what was there and of what was not.
        if there(bucket.head(&key).await)?.is_none() {
            return Ok(false);
        }
        bucket.delete(&key).await?;
        Ok(true)
    }

    async fn presigned_get(&self, digest: &Sha256) -> Result<Option<Presigned>, BlobError> {
        Ok(self.bucket().await?.presign(digest).await?)
    }
}

/// What is not there is no failure.
fn there<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Err(Failure::Absent) => Ok(None),
        other => other.map(Some),
    }
}
