//! The composition root: a configuration becomes stores, a registry and a server, and jobs beside it.

mod blobs;
mod metadata;

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::blobs::{Blobs, FarFrom, tier_options};
use self::metadata::Metadata;
use crate::access::Policy;
use crate::blob::BlobStore;
use crate::blob::far::FarStore;
use crate::blob::local::LocalStore;
use crate::callers::Callers;
use crate::config::Config;
use crate::digest;
use crate::http::route::RouteKind;
use crate::http::{Forwarder, KeptAnswers, RateLimits, Server, serve};
use crate::issuers::{Issuers, IssuersError};
use crate::meta::migrate::{Migration, Schema};
use crate::meta::{AccessChanges, KeyRecord, MetaError, MetaStore, Node};
use crate::node_id;
use crate::registry::{Here, Limits, Registry};
use crate::staging::Staging;
use crate::telemetry::Telemetry;
use crate::token::node::NodeKey;
use crate::token::{
    AdminToken, SigningKey, TOKEN_LIFE, TokenError, Tokens, VerifyingKey, load_or_make_admin_token,
};

/// How often durations are folded into their buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How often the store is asked whether access changed, and how long for an answer: together with a change that
/// comes right behind an answer, a revocation by another node is seen within two seconds.
const POLL_EVERY: Duration = Duration::from_millis(500);
const POLL_PATIENCE: Duration = Duration::from_millis(700);

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("this build or processor computes wrong digests: {0}")]
    SelfTest(&'static str),
    #[error("{path}: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error("{0}: another quire is using this folder")]
    InUse(PathBuf),
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    #[error("no client for other nodes: {0}")]
    Forwarder(String),
    #[error("{0}")]
    FarStore(String),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
}

impl StartError {
    /// Whether a later start may succeed without anything being changed here.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Meta(MetaError::Unavailable(_)))
    }
}

/// Keeps other servers out of the data folder until it is dropped.
#[must_use = "blocking work may go on after the last request, so this is dropped after the runtime"]
pub struct DataLock(#[expect(dead_code, reason = "the lock ends with the open file")] File);

/// A server that is ready to run.
pub struct App {
    server: Arc<Server>,
    listener: TcpListener,
    drain: Duration,
    sweep_every: Duration,
    started: SystemTime,
    blobs: Blobs,
    /// Set when the admin token was made by this start: it is shown once.
    new_admin_token: Option<String>,
    admin_token_path: PathBuf,
    lock: DataLock,
}

impl App {
    /// Opens or makes everything below the data folder, and binds the address.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, |store| store, |store| store).await
    }

    /// Like [`App::start`], in front of a far store that the settings do not name.
    pub async fn start_before(config: &Config, far: Arc<dyn FarStore>) -> Result<Self, StartError> {
        Self::start_all(config, FarFrom::Given(far), |store| store, |store| store).await
    }

    /// Like [`App::start`], with something around the stores.
    pub async fn start_with(
        config: &Config,
        wrap_blobs: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>,
        wrap_meta: impl FnOnce(Arc<dyn MetaStore>) -> Arc<dyn MetaStore>,
    ) -> Result<Self, StartError> {
        Self::start_all(config, FarFrom::Settings, wrap_blobs, wrap_meta).await
    }

    async fn start_all(
        config: &Config,
        far: FarFrom,
        wrap_blobs: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>,
        wrap_meta: impl FnOnce(Arc<dyn MetaStore>) -> Arc<dyn MetaStore>,
    ) -> Result<Self, StartError> {
        let started = SystemTime::now();
        digest::self_test().map_err(StartError::SelfTest)?;
        let telemetry = Telemetry::new(&RouteKind::ALL.map(RouteKind::label));
        let Stores { lock, staging, local, meta } = open_stores(config, &telemetry).await?;

        let admin_token_path = config.data.join("admin.token");
        let (admin_token, new) = match &config.admin_token {
            Some(token) => (token.clone(), false),
            None => load_or_make_admin_token(&admin_token_path).map_err(in_folder(&admin_token_path))?,
        };
        let tokens = token_keys(&*meta, config.token_key.as_deref()).await?;
        let node = announce(&*meta, config).await?;
        let forwarder = Forwarder::new(node.id, node_key(&*meta).await?);
        let limits = Limits {
            max_blob_bytes: config.max_blob_bytes,
            max_plugin_bytes: config.max_plugin_upload_bytes,
            cache_bytes: config.cache_bytes,
            upload_expiry: config.upload_expiry,
        };
        let policy = Policy { anonymous_pull: config.anonymous_pull };
        let issuers = match &config.issuers {
            Some(path) => Issuers::load(path)?,
            None => Issuers::none(),
        };
        let blobs = Blobs::open(config, local, &staging, far, &telemetry).await?;
        let meta = wrap_meta(meta);
        let changes = Arc::new(AccessChanges::default());
        let callers = Callers::new(
            AdminToken::new(&admin_token),
            tokens,
            issuers,
            Arc::clone(&meta),
            Arc::clone(&changes),
            config.auth_grace,
            config.failed_logins,
        );
        let counters = telemetry.cache.clone();
        let store = wrap_blobs(Arc::clone(&blobs.store));
        let here = Here { node, staging };
        let mut registry = Registry::new(store, meta, here, policy, limits, changes, counters);
        if let Some(tiers) = &blobs.tiers {
            registry = registry.in_front_of(tiers.clone(), tier_options(config), telemetry.sync.clone());
        }
        let since_1970 = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let server = Arc::new(Server {
            registry: Arc::new(registry),
            callers,
            rates: RateLimits::new(config.caller_rate, config.address_rate),
            telemetry,
            kept: KeptAnswers::default(),
            forwarder: forwarder.map_err(StartError::Forwarder)?,
            public_url: config.public_url.clone(),
            read_only: config.read_only,
            stopping: false.into(),
            request_prefix: format!("{:x}", since_1970.as_millis()),
            requests: 0.into(),
        });
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        Ok(Self {
            server,
            listener: listener.map_err(|error| StartError::Listen { address, error })?,
            drain: config.drain_timeout,
            sweep_every: (config.upload_expiry / 4).clamp(Duration::from_secs(1), Duration::from_secs(600)),
            started,
            blobs,
            new_admin_token: new.then_some(admin_token),
            admin_token_path,
            lock,
        })
    }

    /// Where it listens; the port that was found when the configured one was 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The admin token and its file, if this start made it.
    pub fn new_admin_token(&self) -> Option<(&str, &Path)> {
        self.new_admin_token.as_deref().map(|token| (token, self.admin_token_path.as_path()))
    }

    /// Serves until `stop` resolves and requests under way have ended.
    pub async fn run(self, stop: impl Future<Output = ()>) -> DataLock {
        let sweeper = sweep(Arc::clone(&self.server), self.started, self.sweep_every);
        let upkeep = upkeep(Arc::clone(&self.server));
        let poll = poll(Arc::clone(&self.server));
        let mut jobs = self.blobs.jobs();
        let registry = Arc::clone(&self.server.registry);
        jobs.spawn(async move { registry.sync().await });
        let followed = Arc::clone(&self.server.registry);
        let follow = tokio::spawn(async move { followed.follow().await });
        // Later the first look would end what was read until then. A store that is silent keeps nobody waiting.
        let _ = tokio::time::timeout(POLL_PATIENCE, self.server.registry.followed()).await;
        serve::serve(self.server, self.listener, stop, self.drain).await;
        sweeper.abort();
        upkeep.abort();
        poll.abort();
        drop(jobs);
        follow.abort();
        self.lock
    }
}

/// What stands in the data folder.
struct Stores {
    lock: DataLock,
    staging: Staging,
    local: LocalStore,
    meta: Arc<dyn MetaStore>,
}

async fn open_stores(config: &Config, telemetry: &Telemetry) -> Result<Stores, StartError> {
    // A mistake in it is told before anything is made.
    let metadata = Metadata::of(config)?;
    let data = &config.data;
    let lock = take_folder(data)?;
    let staging_folder = data.join("staging");
    let staging = Staging::open(staging_folder.clone()).map_err(in_folder(&staging_folder))?;
    let blobs_folder = data.join("blobs");
    let local = LocalStore::open(&blobs_folder, telemetry.local.clone());
    let local = local.map_err(in_folder(&blobs_folder))?;
    let meta = metadata.open(telemetry).await?;
    Ok(Stores { lock, staging, local, meta })
}

/// Reads what the settings say about the metadata store. Nothing is opened.
pub fn check(config: &Config) -> Result<(), StartError> {
    Ok(Metadata::of(config).map(drop)?)
}

/// How the schema of the metadata store stands to this program. Nothing is written.
pub async fn schema(config: &Config) -> Result<Schema, StartError> {
    Ok(Metadata::of(config)?.schema().await?)
}

/// Runs the steps that the schema of the metadata store lacks, and returns those that this process ran.
pub async fn migrate(config: &Config) -> Result<Vec<&'static Migration>, StartError> {
    let metadata = Metadata::of(config)?;
    // A server that has the file open would meet a schema that it did not expect.
    let lock = match &metadata {
        Metadata::Sqlite(_) => Some(take_folder(&config.data)?),
        #[cfg(feature = "postgres")]
        Metadata::Postgres(_) => None,
    };
    let ran = metadata.migrate().await?;
    drop(lock);
    Ok(ran)
}

/// Makes the data folder, and keeps others out of it.
fn take_folder(data: &Path) -> Result<DataLock, StartError> {
    // Keys, tokens and private artifacts: for its owner alone.
    let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    private.map_err(in_folder(data))?;
    // Its name has to last as well; a relative path of one component has no parent to name.
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(in_folder(parent))?;
    lock(data)
}

fn in_folder(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::Folder { path, error }
}

/// Two processes on one folder would each believe that they alone write to it.
fn lock(data: &Path) -> Result<DataLock, StartError> {
    let path = data.join("quire.lock");
    let opened = File::options().create(true).write(true).truncate(false).open(&path);
    let file = opened.map_err(in_folder(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(DataLock(file)),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(StartError::Folder { path, error }),
    }
}

/// The key that signs short tokens: the one given, or the one kept, or a new one.
async fn token_keys(meta: &dyn MetaStore, given: Option<&str>) -> Result<Tokens, StartError> {
    const PURPOSE: &str = "token";
    let (key, private) = match given {
        Some(pem) => (SigningKey::from_pem(pem)?, None),
        None => {
            let (key, pkcs8) = SigningKey::generate()?;
            (key, Some(pkcs8))
        }
    };
    let VerifyingKey { id, public } = key.verifying().clone();
    let candidate = KeyRecord { id, public, private, retired: None };
    let kept = meta.ensure_key(PURPOSE, candidate, given.is_some()).await?;
    let signing = match kept.first().and_then(|current| current.private.as_deref()) {
        Some(pkcs8) if given.is_none() => SigningKey::from_pkcs8(pkcs8)?,
        Some(_) | None => key,
    };
    // Tokens of a replaced key live on until they expire.
    let alive = |key: &&KeyRecord| {
        let retired = key.retired.and_then(|retired| retired.elapsed().ok());
        retired.is_some_and(|since| since < TOKEN_LIFE)
    };
    let earlier: Vec<VerifyingKey> = kept
        .iter()
        .filter(alive)
        .map(|key| VerifyingKey { id: key.id.clone(), public: key.public.clone() })
        .collect();
    Ok(Tokens::new(signing, &earlier))
}

/// Tells other nodes where this one is, as which it may have been here before.
async fn announce(meta: &dyn MetaStore, config: &Config) -> Result<Node, StartError> {
    let path = config.data.join("node");
    let id = node_id::load_or_make(&path).map_err(in_folder(&path))?;
    let node = Node { id, run: Uuid::now_v7(), url: config.node_url.clone() };
    meta.announce_node(&node).await?;
    Ok(node)
}

/// The key by which nodes know each other: the one kept, or a new one.
async fn node_key(meta: &dyn MetaStore) -> Result<NodeKey, StartError> {
    const PURPOSE: &str = "node";
    let bytes = NodeKey::generate()?;
    let id = Uuid::now_v7().to_string();
    let candidate = KeyRecord { id, public: Vec::new(), private: Some(bytes), retired: None };
    let kept = meta.ensure_key(PURPOSE, candidate, false).await?;
    let current = kept.into_iter().find(|key| key.retired.is_none()).and_then(|key| key.private);
    Ok(NodeKey::new(&current.ok_or_else(|| MetaError::Broken("no key of the nodes is kept".into()))?))
}

/// Keeps the memory of the metrics small.
fn upkeep(server: Arc<Server>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            server.telemetry.upkeep();
            server.rates.forget_idle();
        }
    })
}

/// Looks for changes that other nodes made to tokens, organisations, rules and blocks.
fn poll(server: Arc<Server>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut answers = true;
        loop {
            let look = async {
                server.callers.poll().await.map_err(|error| error.to_string())?;
                server.registry.keep_blocked_current().await.map_err(|error| error.to_string())
            };
            let failure = match tokio::time::timeout(POLL_PATIENCE, look).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(_) => Some("no answer in time".to_owned()),
            };
            // Told when it begins and when it ends, and not every second between.
            match &failure {
                Some(error) if answers => tracing::warn!(error, "the metadata store does not answer"),
                None if !answers => tracing::info!("the metadata store answers again"),
                Some(_) | None => {}
            }
            answers = failure.is_none();
            tokio::time::sleep(POLL_EVERY).await;
        }
    })
}

/// Cleans up beside serving: first what an earlier process left, then sessions as they go stale.
fn sweep(server: Arc<Server>, started: SystemTime, every: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let registry = &server.registry;
        match registry.sweep_files(started).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed what an earlier process left in staging"),
            Err(error) => tracing::warn!(%error, "staging could not be swept"),
        }
        loop {
            match registry.sweep_sessions().await {
                Ok(0) => {}
                Ok(sessions) => tracing::info!(sessions, "dropped stale upload sessions"),
                Err(error) => tracing::warn!(%error, "stale upload sessions could not be dropped"),
            }
            tokio::time::sleep(every).await;
        }
    })
}
