//! Where the database is: its URLs, single connections to it, and what is said when there is none.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::Error as RustlsError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::SslMode;
use super::url::Target;
use crate::meta::MetaError;

/// How long a first connection may take: the server, or a name of it, may have just been started.
pub(super) const FIRST: Duration = Duration::from_secs(5);
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
    pub(super) pooled: Endpoint,
    /// Where a session is one session of the server, if that is not where the pool leads.
    pub(super) direct: Option<Endpoint>,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    /// What the pool leads to is a pooler in transaction mode.
    pub(super) is_pooled: Arc<AtomicBool>,
}

impl Database {
    /// Reads the URLs, and the certificates that they name. Nothing is connected to.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, MetaError> {
        let direct = settings.direct_url.as_deref();
        Ok(Self {
            pooled: Endpoint::read("database_url", &settings.url)?,
            direct: direct.map(|url| Endpoint::read("database_direct_url", url)).transpose()?,
            connections: settings.connections,
            timeout: settings.timeout,
            is_pooled: Arc::default(),
        })
    }

    /// A connection of its own, past a pooler if there is a way.
    pub(super) async fn session(&self) -> Result<Session, MetaError> {
        let endpoint = self.direct.as_ref().unwrap_or(&self.pooled);
        let (client, connection) = endpoint.connect().await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection to PostgreSQL was lost");
            }
        });
        Ok(Session { client, task, name: endpoint.name().to_owned() })
    }

    /// The same, with what the server tells on a channel. Through a pooler nothing is told, and nothing is left behind.
    pub(super) async fn listening(
        &self,
        channel: &str,
    ) -> Result<(Session, mpsc::Receiver<String>), MetaError> {
        let endpoint = self.direct.as_ref().unwrap_or(&self.pooled);
        let (client, mut connection) = endpoint.connect().await?;
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
        let session = Session { client, task, name: endpoint.name().to_owned() };
        if self.direct.is_some() || !self.is_pooled.load(Ordering::Relaxed) {
            let listened = session.batch_execute(&format!("LISTEN {channel}")).await;
            listened.map_err(|error| session.failure(&error))?;
        }
        Ok((session, told))
    }
}

/// One way to the database.
#[derive(Clone)]
pub(super) struct Endpoint {
    target: Target,
    pub tls: MakeRustlsConnect,
}

impl Endpoint {
    fn read(setting: &str, url: &str) -> Result<Self, MetaError> {
        let target: Target = url.parse().map_err(|error| MetaError::Broken(format!("{setting}: {error}")))?;
        let tls = target.tls.client_config();
        let tls = tls.map_err(|error| MetaError::Broken(format!("{setting}: {error}")))?;
        Ok(Self { target, tls: MakeRustlsConnect::new(tls) })
    }

    /// Host, port and user, for messages.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// What every connection has: a name that the server shows, and a kernel that notices when bytes are not taken for
    /// as long as given.
    pub fn config(&self, silence: Duration) -> Config {
        let mut config = self.target.config.clone();
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

    async fn connect(&self) -> Result<(Client, Connection<Socket, TlsStream>), MetaError> {
        match timeout(FIRST, self.config(FIRST).connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    pub fn silent(&self) -> MetaError {
        MetaError::Unavailable(format!("cannot reach {}: no answer within {FIRST:?}", self.name()))
    }

    pub fn unreachable(&self, error: &Error) -> MetaError {
        unreachable(self.name(), error)
    }

    /// A certificate that nobody looks at keeps listeners out, and nobody who stands in between.
    pub fn warn_of_strangers(&self) {
        let near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(host) => {
                host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        };
        let checked = matches!(self.target.tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
        if !checked && !self.target.config.get_hosts().iter().all(near) {
            let advice = "sslmode=verify-full";
            tracing::warn!(database = self.name(), advice, "the certificate of PostgreSQL is not checked");
        }
    }
}

/// A connection that ends when it is dropped.
pub(super) struct Session {
    client: Client,
    task: JoinHandle<()>,
    name: String,
}

impl Session {
    /// Tells of an error on it.
    pub fn failure(&self, error: &Error) -> MetaError {
        unreachable(&self.name, error)
    }
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

/// Why the database cannot be used: a server that may come back, or one that never lets us in like this.
fn unreachable(name: &str, error: &Error) -> MetaError {
    if let Some(answer) = error.as_db_error() {
        let code = answer.code().code();
        let said = format!("{name}: {} ({code})", answer.message());
        // Authorization, a database that is not there, a right that the user lacks.
        return if ["28", "3D", "42"].iter().any(|class| code.starts_with(class)) {
            MetaError::Broken(format!("refused by {said}"))
        } else {
            MetaError::Unavailable(format!("cannot use {said}"))
        };
    }
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let network = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let of_tls = |cause: &io::Error| cause.get_ref().is_some_and(|inner| inner.is::<RustlsError>());
    if network.map_or(error.is_closed(), |cause| !of_tls(cause)) {
        MetaError::Unavailable(format!("cannot reach {name}: {cause}"))
    } else {
        MetaError::Broken(format!("cannot agree with {name}: {cause}"))
    }
}
