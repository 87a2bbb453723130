//! Where a far store stands behind the near one: clients that are sent there, and near copies that are damaged.

use std::time::{Duration, SystemTime};

use moka::future::Cache as Loading;

use super::cache::SMALL_BLOB;
use super::pull::Found;
use super::sync::{Progress, ReadyWhen, SyncCounters};
use super::{Fault, Registry};
use crate::blob::far::Presigned;
use crate::blob::tiered::TieredStore;
use crate::digest::Sha256;

/// How long a URL is handed out again without asking whether the far store still has the blob.
const KEPT: Duration = Duration::from_secs(30);
/// URLs that are kept.
const URLS: u64 = 10_000;
/// How long the far store may take to say that it has a blob; after that the bytes come from here.
const PATIENCE: Duration = Duration::from_secs(2);
/// A URL that ends sooner is given to nobody: they could not use it in time.
const SHORTEST_LIFE: Duration = Duration::from_secs(20);

/// What the operator chose about the far store.
#[derive(Debug, Clone, Copy)]
pub struct TierOptions {
    /// Clients may be sent there.
    pub redirects: bool,
    /// Blobs that the sync after a start fetches at the same time; 0: none.
    pub sync_fetches: usize,
    pub ready: ReadyWhen,
}

/// The far store as the registry uses it.
pub(super) struct Tiers {
    pub(super) store: TieredStore,
    pub(super) progress: Progress,
    /// `None`: nobody is sent away.
    urls: Option<Loading<Sha256, Option<Presigned>>>,
}

impl Tiers {
    pub(super) fn new(store: TieredStore, options: TierOptions, counters: SyncCounters) -> Self {
        let TierOptions { redirects, sync_fetches, ready } = options;
        let urls = || Loading::builder().max_capacity(URLS).time_to_live(KEPT).build();
        Self { store, progress: Progress::new(ready, sync_fetches, counters), urls: redirects.then(urls) }
    }
}

/// Where the bytes of a blob are to be had by everybody who knows the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub url: String,
    /// How long it can be used.
    pub life: Duration,
}

impl Registry {
    /// Whether pulls may be sent elsewhere at all.
    pub fn redirects(&self) -> bool {
        self.tiers.as_ref().is_some_and(|tiers| tiers.urls.is_some())
    }

    /// Where a blob can be fetched instead of here. The caller's right to read it was decided before. What is small
    /// is sent from here: a second request would take longer.
    pub async fn elsewhere(&self, found: &Found) -> Option<Elsewhere> {
        let tiers = self.tiers.as_ref()?;
        let urls = tiers.urls.as_ref().filter(|_| found.size > SMALL_BLOB)?;
        let presign = async {
            let presigned = tiers.store.presigned(&found.sha256, found.size);
            match tokio::time::timeout(PATIENCE, presigned).await {
                Ok(Ok(presigned)) => presigned,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no URL of the far store");
                    None
                }
                Err(_) => None,
            }
        };
        let Presigned { url, expires } = urls.get_with(found.sha256, Box::pin(presign)).await?;
        let life = expires.duration_since(SystemTime::now()).ok()?.checked_sub(SHORTEST_LIFE)?;
        Some(Elsewhere { url, life })
    }

    /// Drops a near copy that was found to be damaged. `false`: there is no other one.
    pub(super) async fn drop_damaged(&self, found: &Found) -> Result<bool, Fault> {
        match &self.tiers {
            None => Ok(false),
            Some(tiers) => Ok(tiers.store.drop_damaged(&found.sha256, found.size).await?),
        }
    }
}
