//! The steps of the schema, run by one process at a time, each in a transaction with its rows.

use std::time::{Duration, SystemTime};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::connect::{Database, Session};
use crate::meta::MetaError;
use crate::meta::migrate::{Applied, MigrateError, Migration, Schema};

/// The number of the advisory lock: `quire` and a one.
const LOCK: i64 = 0x71_75_69_72_65_00_00_01;
/// How long a step waits for a table: all who come later wait behind it meanwhile.
const TABLE_PATIENCE: Duration = Duration::from_secs(1);
/// How often a step tries to get its tables, and the pause between, in which others go on.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

const TABLES: &str = "
    CREATE TABLE schema_migrations (
        version    bigint NOT NULL PRIMARY KEY,
        name       text   NOT NULL,
        sha256     text   NOT NULL,
        applied_at bigint NOT NULL
    );
    CREATE TABLE schema_programs (
        step   bigint NOT NULL PRIMARY KEY,
        oldest text   NOT NULL
    )";

impl Database {
    /// How the schema stands to this program. Nothing is written.
    pub async fn schema(&self, steps: &'static [Migration]) -> Result<Schema, MetaError> {
        let session = self.session().await?;
        read(&session, steps).await.map_err(|failure| failed(&session, failure))
    }

    /// Runs the steps that the database lacks, and gives those that this process ran.
    ///
    /// Each runs under a lock that ends with its transaction, so that it works through a pooler as well. Whoever waited for the
    /// lock reads again what is still to do.
    pub async fn migrate(&self, steps: &'static [Migration]) -> Result<Vec<&'static Migration>, MetaError> {
        let session = self.session().await?;
        let mut ran = Vec::new();
        // A database that lacks nothing is not locked: so most starts find it.
        let lacks = async || {
            let schema = read(&session, steps).await.map_err(|failure| failed(&session, failure))?;
            Ok::<_, MetaError>(!schema.pending.is_empty())
        };
        while lacks().await? {
            ran.extend(patient_step(&session, steps).await?);
        }
        Ok(ran)
    }
}

/// Runs the next step, and tries again while others use its tables.
async fn patient_step(
    session: &Session,
    steps: &'static [Migration],
) -> Result<Option<&'static Migration>, MetaError> {
    for _ in 1..ATTEMPTS {
        match step(session, steps).await {
            Err(Failure::Database(error)) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tracing::info!("a migration waits for tables that others use");
                tokio::time::sleep(PAUSE).await;
            }
            done => return done.map_err(|failure| failed(session, failure)),
        }
    }
    step(session, steps).await.map_err(|failure| failed(session, failure))
}

fn failed(session: &Session, failure: Failure) -> MetaError {
    match failure {
        Failure::Database(error) => session.failure(&error),
        Failure::Schema(error) => MetaError::Broken(error.to_string()),
    }
}

enum Failure {
    Database(Error),
    Schema(MigrateError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        Self::Schema(error)
    }
}

/// Runs the next step, if nobody else has run it.
async fn step(session: &Session, steps: &'static [Migration]) -> Result<Option<&'static Migration>, Failure> {
    // The role may have limits of time, which are not meant for this.
    session.batch_execute("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    let ran = locked_step(session, steps).await;
    match &ran {
        Ok(_) => session.batch_execute("COMMIT").await?,
        // What went wrong is told; a connection that is gone has nothing to undo.
        Err(_) => drop(session.batch_execute("ROLLBACK").await),
    }
    ran
}

async fn locked_step(
    session: &Session,
    steps: &'static [Migration],
) -> Result<Option<&'static Migration>, Failure> {
    let tried = session.query_typed("SELECT pg_try_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    if !tried.first().map_or(Ok(false), |row| row.try_get(0))? {
        tracing::info!("another process migrates the database; this one waits for it");
        session.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    }
    if !has_tables(session).await? {
        session.batch_execute(TABLES).await?;
    }
    let Some(step) = read(session, steps).await?.pending.first() else { return Ok(None) };
    tracing::info!(version = step.version, name = step.name, "migrating the database");
    let patience = TABLE_PATIENCE.as_millis();
    session.batch_execute(&format!("SET LOCAL lock_timeout = {patience}")).await?;
    session.batch_execute(step.sql).await?;
    record(session, step).await?;
    Ok(Some(step))
}

async fn record(session: &Client, step: &Migration) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let (sha256, oldest) = (step.sha256().hex(), step.oldest_program.to_string());
    session
        .query_typed(
            "INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)",
            &[
                (&step.version, Type::INT8),
                (&step.name, Type::TEXT),
                (&sha256, Type::TEXT),
                (&now, Type::INT8),
            ],
        )
        .await?;
    session
        .query_typed(
            "INSERT INTO schema_programs VALUES ($1, $2)",
            &[(&step.version, Type::INT8), (&oldest, Type::TEXT)],
        )
        .await?;
    Ok(())
}

async fn has_tables(session: &Client) -> Result<bool, Error> {
    // Not by `to_regclass`: that remembers within a transaction what was not there before it waited for a lock.
    let visible = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema_migrations' AND pg_table_is_visible(oid))";
    let found = session.query_typed(visible, &[]).await?;
    found.first().map_or(Ok(false), |row| row.try_get(0))
}

async fn read(session: &Client, steps: &'static [Migration]) -> Result<Schema, Failure> {
    let mut applied = Vec::new();
    if has_tables(session).await? {
        let rows = session
            .query_typed(
                "SELECT m.version, m.name, m.sha256, p.oldest
                 FROM schema_migrations AS m LEFT JOIN schema_programs AS p ON p.step = m.version
                 ORDER BY m.version",
                &[],
            )
            .await?;
        for row in rows {
            let oldest: Option<&str> = row.try_get(3)?;
            applied.push(Applied {
                version: row.try_get(0)?,
                name: row.try_get(1)?,
                sha256: row.try_get(2)?,
                oldest_program: oldest.map(str::parse).transpose()?,
            });
        }
    }
    Ok(Schema::of(steps, applied)?)
}
