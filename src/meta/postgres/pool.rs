//! The pool that serves requests: limits of time, connections that lead nowhere, and poolers on the way.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode,
    RecyclingMethod, Runtime, Timeouts, WeakPool,
};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::connect::{Database, FIRST};
use crate::meta::MetaError;

/// A connection that rested longer than this is asked for a sign of life before it is used.
const RESTED: Duration = Duration::from_secs(1);

/// How long an answer on a connection of a pool is waited for: the server gives up a statement earlier.
pub(super) fn patience(pool: &Pool) -> Duration {
    pool.timeouts().wait.map_or(Duration::MAX, |half| half * 5 / 2)
}

impl Database {
    /// The pool, with one connection made.
    pub async fn pool(&self) -> Result<Pool, MetaError> {
        self.pooled.warn_of_strangers();
        let limited = self.build(&self.limits())?;
        let (pool, first, takes_options) = match first(&limited).await {
            // A pooler, which gives one session of the server to many, takes no limits of a session.
            Err(PoolError::Backend(error)) if refuses_options(&error) => {
                self.is_pooled.store(true, Ordering::Relaxed);
                let pool = self.build("")?;
                let first = first(&pool).await;
                (pool, first, false)
            }
            first => (limited, first, true),
        };
        let first = first.map_err(|error| match error {
            PoolError::Backend(error) => self.pooled.unreachable(&error),
            _ => self.pooled.silent(),
        })?;
        let name = self.pooled.name();
        if is_unlimited(&first).await.map_err(|error| self.pooled.unreachable(&error))? {
            let advice =
                "ALTER ROLE ... SET statement_timeout, lock_timeout and idle_in_transaction_session_timeout";
            tracing::warn!(database = name, advice, "statements have no limit of time");
        }
        if (self.direct.is_some() || !takes_options) && forgets_statements(&pool, first).await {
            return Err(MetaError::Broken(format!(
                "{name} forgets prepared statements: a pooler in transaction mode has to know them, as PgBouncer \
                 does from 1.21 on with max_prepared_statements above 0"
            )));
        }
        tracing::info!(database = name, connections = self.connections, "PostgreSQL holds the metadata");
        Ok(pool)
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
        let mut config = self.pooled.config(self.timeout);
        // What the URL says comes later, and counts.
        let options = [limits, config.get_options().unwrap_or_default()].join(" ");
        if !options.trim().is_empty() {
            config.options(options.trim());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(half);
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let itself = Arc::new(OnceLock::new());
        let pool = Pool::builder(Manager::from_config(config, self.pooled.tls.clone(), recycling))
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
}

async fn first(pool: &Pool) -> Result<Object, PoolError> {
    pool.timeout_get(&Timeouts { wait: Some(FIRST), create: Some(FIRST), recycle: Some(FIRST) }).await
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

/// Poolers in transaction mode refuse what they would have to keep for a session.
fn refuses_options(error: &Error) -> bool {
    let answer = error.as_db_error();
    answer.is_some_and(|answer| {
        *answer.code() == SqlState::PROTOCOL_VIOLATION && answer.message().contains("startup parameter")
    })
}

/// Whether the server lets statements run for ever, as it does behind a pooler unless the role has limits of its own.
async fn is_unlimited(client: &Client) -> Result<bool, Error> {
    let answers = client.simple_query("SHOW statement_timeout").await?;
    let zero = |answer: &SimpleQueryMessage| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("0"));
    Ok(answers.iter().any(zero))
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
