//! Connections: the pool that serves requests, and single ones past a pooler, each with its limits of time.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode,
    RecyclingMethod, Runtime, Timeouts, WeakPool,
};
use rustls::Error as RustlsError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::SslMode;
use super::url::{Target, UrlError};
use crate::meta::MetaError;

/// A connection that rested longer than this is asked for a sign of life before it is used.
const RESTED: Duration = Duration::from_secs(1);
/// How long a first connection may take: the server, or a name of it, may have just been started.
const FIRST: Duration = Duration::from_secs(5);
/// After how much silence the kernel asks whether the other side is there, and how often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;
/// Messages of the server that wait to be read.
const TOLD: usize = 1024;

type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Where the database is, and how long it is waited for.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// A secret: it may hold a password.
    pub url: String,
    /// The same database past a pooler. A secret, too.
    pub direct_url: Option<String>,
    /// Connections of the pool.
    pub connections: usize,
    /// For one statement. Getting a connection takes as long at most.
    pub timeout: Duration,
}

/// A database that can be connected to.
#[derive(Clone)]
pub struct Database {
    pooled: Target,
    /// Where a session is one session of the server, if that is not where the pool leads.
    direct: Option<Target>,
    connections: usize,
    timeout: Duration,
    /// What the pool leads to is a pooler in transaction mode.
    is_pooled: Arc<AtomicBool>,
}

impl Database {
    /// Reads the URLs. Nothing is connected to.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, MetaError> {
        let read = |setting: &str, url: &str| {
            let target: Result<Target, UrlError> = url.parse();
            target.map_err(|error| MetaError::Broken(format!("{setting}: {error}")))
        };
        let direct = settings.direct_url.as_deref().map(|url| read("database_direct_url", url));
        Ok(Self {
            pooled: read("database_url", &settings.url)?,
            direct: direct.transpose()?,
            connections: settings.connections,
            timeout: settings.timeout,
            is_pooled: Arc::default(),
        })
    }

    /// Host, port and user, for messages.
    pub fn name(&self) -> &str {
        &self.pooled.name
    }

    /// The pool, with one connection made.
    pub async fn pool(&self) -> Result<Pool, MetaError> {
        let target = &self.pooled;
        warn_of_strangers(target);
        let pool = self.build(&self.limits())?;
        let first = match self.first(&pool).await {
            Err(PoolError::Backend(error)) if refuses_options(&error) => None,
            first => Some(first),
        };
        let is_pooled = self.direct.is_some() || first.is_none();
        let (pool, first) = match first {
            Some(first) => (pool, first),
            // A pooler, which gives one session of the server to many: it takes no limits of a session.
            None => {
                self.is_pooled.store(true, Ordering::Relaxed);
                let pool = self.build("")?;
                let first = self.first(&pool).await;
                (pool, first)
            }
        };
        let first = first.map_err(|error| match error {
            PoolError::Backend(error) => unreachable(target, &error),
            error => MetaError::Unavailable(format!("cannot reach {}: {error}", target.name)),
        })?;
        self.warn_of_no_limit(&first).await.map_err(|error| unreachable(target, &error))?;
        if is_pooled && forgets_statements(&pool, first).await {
            return Err(MetaError::Broken(format!(
                "{} forgets prepared statements: a pooler in transaction mode has to know them, as PgBouncer does \
                 from 1.21 on with max_prepared_statements above 0",
                target.name
            )));
        }
        tracing::info!(
            database = target.name,
            connections = self.connections,
            "PostgreSQL holds the metadata"
        );
        Ok(pool)
    }

    /// A connection of its own, past a pooler if there is a way.
    pub(super) async fn session(&self) -> Result<Session, MetaError> {
        let (client, connection) = self.connect().await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection to PostgreSQL was lost");
            }
        });
        Ok(Session { client, task })
    }

    /// The same, with what the server tells on a channel. Through a pooler nothing is told, and nothing is left behind.
    pub(super) async fn listening(
        &self,
        channel: &str,
    ) -> Result<(Session, mpsc::Receiver<String>), MetaError> {
        let (client, mut connection) = self.connect().await?;
        let (tell, told) = mpsc::channel(TOLD);
        let task = tokio::spawn(async move {
            // Ends with the connection, and the channel with it: whoever listens begins again.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    // What finds no room is found by looking.
                    let _ = tell.try_send(notification.payload().to_owned());
                }
            }
        });
        let session = Session { client, task };
        if self.direct.is_some() || !self.is_pooled.load(Ordering::Relaxed) {
            let listened = session.batch_execute(&format!("LISTEN {channel}")).await;
            listened.map_err(|error| self.failure(&error))?;
        }
        Ok((session, told))
    }

    async fn connect(&self) -> Result<(Client, Connection<Socket, TlsStream>), MetaError> {
        let target = self.direct.as_ref().unwrap_or(&self.pooled);
        let (config, tls) = (configured(target, FIRST), tls(target)?);
        match timeout(FIRST, config.connect(tls)).await {
            Ok(connected) => connected.map_err(|error| unreachable(target, &error)),
            Err(_) => {
                let name = &target.name;
                Err(MetaError::Unavailable(format!("cannot reach {name}: no answer within {FIRST:?}")))
            }
        }
    }

    /// Tells of an error on a session.
    pub(super) fn failure(&self, error: &tokio_postgres::Error) -> MetaError {
        unreachable(self.direct.as_ref().unwrap_or(&self.pooled), error)
    }

    async fn first(&self, pool: &Pool) -> Result<Object, PoolError> {
        let patient = Timeouts { wait: Some(FIRST), create: Some(FIRST), recycle: Some(FIRST) };
        pool.timeout_get(&patient).await
    }

    /// What the server is told at the beginning of a session, so that it costs nothing later. A transaction whose
    /// process does not go on with it is ended, so that nobody waits for its locks for long.
    fn limits(&self) -> String {
        let limit = self.timeout.as_millis();
        format!(
            "-c statement_timeout={limit} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
            limit * 3 / 4,
            limit * 10,
        )
    }

    fn build(&self, limits: &str) -> Result<Pool, MetaError> {
        let half = self.timeout / 2;
        let mut config = configured(&self.pooled, self.timeout);
        // What the URL says comes later, and counts.
        let options = [limits, config.get_options().unwrap_or_default()].join(" ");
        if !options.trim().is_empty() {
            config.options(options.trim());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(half);
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tls(&self.pooled)?, recycling);
        let itself = Arc::new(OnceLock::new());
        let pool = Pool::builder(manager)
            .max_size(self.connections)
            .runtime(Runtime::Tokio1)
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait: Some(half), create: Some(half), recycle: Some(half) })
            .pre_recycle(sign_of_life(Arc::clone(&itself), half))
            .build()
            .map_err(|error| MetaError::Broken(error.to_string()))?;
        // It was empty.
        let _ = itself.set(pool.weak());
        Ok(pool)
    }

    /// Behind a pooler the limits have to be the role's own.
    async fn warn_of_no_limit(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let answers = client.simple_query("SHOW statement_timeout").await?;
        let unlimited = answers
            .iter()
            .any(|answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("0")));
        if unlimited {
            let advice =
                "ALTER ROLE ... SET statement_timeout, lock_timeout and idle_in_transaction_session_timeout";
            tracing::warn!(database = self.name(), advice, "the pooler takes no limits of time");
        }
        Ok(())
    }
}

/// How long an answer on a connection of a pool is waited for: the server gives up a statement earlier.
pub(super) fn patience(pool: &Pool) -> Duration {
    pool.timeouts().wait.map_or(Duration::MAX, |half| half * 5 / 2)
}

/// A connection that ends when it is dropped.
pub(super) struct Session {
    client: Client,
    task: JoinHandle<()>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What every connection has: a name that the server shows, and a kernel that notices when the other side is gone.
fn configured(target: &Target, silence: Duration) -> Config {
    let mut config = target.config.clone();
    if config.get_application_name().is_none() {
        config.application_name("quire");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(silence);
    }
    config.keepalives_idle(KEEPALIVE_IDLE);
    config.keepalives_interval(KEEPALIVE_INTERVAL);
    config.keepalives_retries(KEEPALIVE_RETRIES);
    config
}

fn tls(target: &Target) -> Result<MakeRustlsConnect, MetaError> {
    let config = target.tls.client_config();
    Ok(MakeRustlsConnect::new(config.map_err(|error| MetaError::Broken(format!("TLS: {error}")))?))
}

/// Asks connections that rested whether they still lead somewhere. When one does not, neither do the others that
/// rested: none of them is waited for.
fn sign_of_life(pool: Arc<OnceLock<WeakPool>>, patience: Duration) -> Hook {
    Hook::async_fn(move |client: &mut ClientWrapper, metrics| {
        let (pool, rested) = (Arc::clone(&pool), metrics.last_used() > RESTED);
        Box::pin(async move {
            if !rested || client.is_closed() {
                return Ok(());
            }
            match timeout(patience, client.simple_query("")).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(HookError::Backend(error)),
                Err(_) => {
                    if let Some(pool) = pool.get().and_then(WeakPool::upgrade) {
                        pool.retain(|_, metrics| metrics.last_used() <= RESTED);
                    }
                    Err(HookError::message("no sign of life"))
                }
            }
        })
    })
}

/// Whether a statement that was prepared through a pooler is gone when the next transaction is on another session.
async fn forgets_statements(pool: &Pool, first: Object) -> bool {
    let forgets = async {
        let statement = first.prepare("SELECT 1").await.ok()?;
        // Most likely takes the session that was used last, so that the statement meets another.
        let other = pool.get().await.ok()?;
        other.batch_execute("BEGIN").await.ok()?;
        let answer = first.query_opt(&statement, &[]).await;
        other.batch_execute("ROLLBACK").await.ok()?;
        answer.err()?.code().map(|code| *code == SqlState::INVALID_SQL_STATEMENT_NAME)
    };
    // Where there is no second session, nothing is found out.
    timeout(FIRST, forgets).await.ok().flatten().unwrap_or(false)
}

/// Poolers in transaction mode refuse what they would have to keep for a session.
fn refuses_options(error: &tokio_postgres::Error) -> bool {
    let answer = error.as_db_error();
    answer.is_some_and(|answer| {
        *answer.code() == SqlState::PROTOCOL_VIOLATION && answer.message().contains("startup parameter")
    })
}

/// Why there is no connection: a server that may come back, or one that will never let us in like this.
fn unreachable(target: &Target, error: &tokio_postgres::Error) -> MetaError {
    let name = &target.name;
    if let Some(answer) = error.as_db_error() {
        let said = format!("{name}: {} ({})", answer.message(), answer.code().code());
        // Authorization, a database that is not there, a right that the user lacks.
        let for_good = ["28", "3D", "42"].iter().any(|class| answer.code().code().starts_with(class));
        return if for_good {
            MetaError::Broken(format!("refused by {said}"))
        } else {
            MetaError::Unavailable(format!("cannot use {said}"))
        };
    }
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let network = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let passes = network
        .map_or(error.is_closed(), |cause| !cause.get_ref().is_some_and(|inner| inner.is::<RustlsError>()));
    if passes {
        MetaError::Unavailable(format!("cannot reach {name}: {cause}"))
    } else {
        MetaError::Broken(format!("cannot trust {name}: {cause}"))
    }
}

/// A certificate that nobody looks at keeps listeners out, and nobody who stands in between.
fn warn_of_strangers(target: &Target) {
    let near = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(host) => {
            host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    };
    let checked = matches!(target.tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    if !checked && !target.config.get_hosts().iter().all(near) {
        let advice = "sslmode=verify-full";
        tracing::warn!(database = target.name, advice, "the certificate of PostgreSQL is not checked");
    }
}
