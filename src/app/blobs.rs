//! The blob stores that a configuration asks for, and the jobs that run beside them.

use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;

use tokio::task::JoinSet;

use super::{StartError, in_folder};
use crate::blob::BlobStore;
use crate::blob::far::FarStore;
use crate::blob::local::LocalStore;
#[cfg(feature = "s3")]
use crate::blob::s3::{CredentialSource, S3Settings, S3Store, S3Tuning, S3Unusable};
use crate::blob::tiered::{Acknowledge, TieredOptions, TieredStore};
use crate::config::{self, Config, S3Config, S3Mode};
use crate::registry::{ReadyWhen, TierOptions};
use crate::staging::Staging;
use crate::telemetry::Telemetry;

/// How often the bucket is looked through for what was never finished.
#[cfg(feature = "s3")]
const SWEEP_BUCKET_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Where the far store comes from.
pub(super) enum FarFrom {
    /// From the settings, if they name one.
    Settings,
    /// A test has one.
    Given(Arc<dyn FarStore>),
}

/// The blob stores of a server.
pub(super) struct Blobs {
    pub(super) store: Arc<dyn BlobStore>,
    /// `None`: blobs are in the data folder alone.
    pub(super) tiers: Option<TieredStore>,
    #[cfg(feature = "s3")]
    bucket: Option<Arc<S3Store>>,
}

impl Blobs {
    /// Puts the far store behind the local one, if there is one.
    pub(super) async fn open(
        config: &Config,
        local: LocalStore,
        staging: &Staging,
        far: FarFrom,
        telemetry: &Telemetry,
    ) -> Result<Self, StartError> {
        #[cfg(feature = "s3")]
        let mut bucket = None;
        let far: Option<Arc<dyn FarStore>> = match (far, &config.s3) {
            (FarFrom::Given(far), _) => Some(far),
            (FarFrom::Settings, None) => None,
            #[cfg(feature = "s3")]
            (FarFrom::Settings, Some(s3)) => {
                bucket = connect(s3, telemetry).await?;
                bucket.clone().map(|bucket| bucket as _)
            }
            #[cfg(not(feature = "s3"))]
            (FarFrom::Settings, Some(S3Config { bucket, .. })) => {
                let message = format!("this program was built without S3, and s3_bucket is {bucket:?}");
                return Err(StartError::FarStore(message));
            }
        };
        let outbox = config.data.join("outbox");
        let Some(far) = far else {
            if config.near_max_bytes.is_some() {
                tracing::warn!(
                    "near_max_bytes has no effect: the data folder has the only copy of each blob"
                );
            }
            // A look at the first file; how many there are does not matter.
            if std::fs::read_dir(&outbox).is_ok_and(|mut waiting| waiting.next().is_some()) {
                tracing::warn!("blobs wait in the outbox for S3, which this server goes without");
            }
            return Ok(Self {
                store: Arc::new(local),
                tiers: None,
                #[cfg(feature = "s3")]
                bucket,
            });
        };
        let options = TieredOptions {
            acknowledge: acknowledge(config.s3.as_ref()),
            near_max_bytes: config.near_max_bytes,
            outbox: outbox.clone(),
        };
        let counters = telemetry.tiers.clone();
        let tiers = TieredStore::open(local, far, staging.clone(), options, counters);
        let tiers = tiers.map_err(in_folder(&outbox))?;
        Ok(Self {
            store: Arc::new(tiers.clone()),
            tiers: Some(tiers),
            #[cfg(feature = "s3")]
            bucket,
        })
    }

    /// The jobs that the stores need. They end when the set is dropped.
    pub(super) fn jobs(&self) -> JoinSet<()> {
        let mut jobs = JoinSet::new();
        if let Some(tiers) = &self.tiers {
            let (ship, evict) = (tiers.clone(), tiers.clone());
            jobs.spawn(async move { ship.ship().await });
            jobs.spawn(async move { evict.evict().await });
        }
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            jobs.spawn(sweep_bucket(Arc::clone(bucket)));
        }
        jobs
    }
}

pub(super) fn tier_options(config: &Config) -> TierOptions {
    TierOptions {
        redirects: config.s3_redirect,
        sync_fetches: config.sync_fetches.into(),
        ready: match config.ready {
            config::ReadyWhen::Always => ReadyWhen::Always,
            config::ReadyWhen::Hot => ReadyWhen::Hot,
            config::ReadyWhen::All => ReadyWhen::All,
        },
    }
}

fn acknowledge(s3: Option<&S3Config>) -> Acknowledge {
    match s3.map(|s3| s3.mode) {
        Some(S3Mode::Async) => Acknowledge::Near,
        Some(S3Mode::Auto | S3Mode::Required) | None => Acknowledge::Far,
    }
}

/// `None`: the mode is `auto`, and nobody may use the bucket with what credentials there are.
#[cfg(feature = "s3")]
async fn connect(s3: &S3Config, telemetry: &Telemetry) -> Result<Option<Arc<S3Store>>, StartError> {
    let settings = S3Settings {
        bucket: s3.bucket.clone(),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        prefix: s3.prefix.clone(),
        path_style: s3.path_style,
        checksums: s3.checksums,
        connect_timeout: s3.connect_timeout,
        stall_timeout: s3.timeout,
    };
    let counters = telemetry.s3.clone();
    match S3Store::connect(settings, &CredentialSource::Chain, S3Tuning::default(), counters).await {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(error @ (S3Unusable::NoCredentials { .. } | S3Unusable::Refused { .. }))
            if s3.mode == S3Mode::Auto =>
        {
            tracing::warn!(
                %error,
                "S3 is skipped: blobs are kept in the data folder alone until a start with credentials that work"
            );
            Ok(None)
        }
        Err(error) => Err(StartError::FarStore(error.to_string())),
    }
}

#[cfg(feature = "s3")]
async fn sweep_bucket(bucket: Arc<S3Store>) {
    loop {
        match bucket.sweep().await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "removed what nobody finished in the bucket"),
            Err(error) => tracing::warn!(%error, "the bucket could not be swept"),
        }
        tokio::time::sleep(SWEEP_BUCKET_EVERY).await;
    }
}
