//! The steps of the schema, run in one transaction that no other process gets between.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::broken;
use super::rows::millis;
use crate::meta::MetaError;
use crate::meta::migrate::{Applied, MigrateError, Migration, Program, Schema};

/// Programs before 0.2.0 refuse a database with steps that they do not know.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "registry",
        sql: include_str!("../../../migrations/sqlite/0001_registry.sql"),
        oldest_program: Program::new(0, 1, 0),
    },
    Migration {
        version: 2,
        name: "access",
        sql: include_str!("../../../migrations/sqlite/0002_access.sql"),
        oldest_program: Program::new(0, 1, 0),
    },
    Migration {
        version: 3,
        name: "plugins",
        sql: include_str!("../../../migrations/sqlite/0003_plugins.sql"),
        oldest_program: Program::new(0, 1, 0),
    },
    Migration {
        version: 4,
        name: "programs",
        sql: include_str!("../../../migrations/sqlite/0004_programs.sql"),
        oldest_program: Program::new(0, 2, 0),
    },
    Migration {
        version: 5,
        name: "nodes",
        sql: include_str!("../../../migrations/sqlite/0005_nodes.sql"),
        oldest_program: Program::new(0, 2, 0),
    },
];

/// Runs the steps that the database lacks, and returns those.
pub(super) fn run(connection: &mut Connection) -> Result<Vec<&'static Migration>, MetaError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_migrations (
                 version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
                 sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
        )
        .map_err(broken)?;
    let pending = schema(&transaction)?.pending;
    for step in pending {
        tracing::info!(version = step.version, name = step.name, "migrating the database");
        apply(&transaction, step).map_err(broken)?;
    }
    transaction.commit().map_err(broken)?;
    Ok(pending.iter().collect())
}

/// How the database in a file stands to this program. Nothing is written, also when there is no file.
pub(super) fn look(path: &Path) -> Result<Schema, MetaError> {
    if !path.try_exists().map_err(|error| MetaError::Broken(format!("{}: {error}", path.display())))? {
        return Ok(Schema { applied: Vec::new(), pending: MIGRATIONS });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    schema(&Connection::open_with_flags(path, flags).map_err(broken)?)
}

fn schema(connection: &Connection) -> Result<Schema, MetaError> {
    let applied = applied(connection).map_err(broken)?;
    let schema = applied.into_iter().collect::<Result<_, _>>();
    let schema = schema.and_then(|applied| Schema::of(MIGRATIONS, applied));
    schema.map_err(|error| MetaError::Broken(error.to_string()))
}

fn apply(connection: &Connection, step: &Migration) -> rusqlite::Result<()> {
    connection.execute_batch(step.sql)?;
    connection.execute(
        "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)",
        (step.version, step.name, step.sha256().hex(), millis(SystemTime::now())),
    )?;
    if has_table(connection, "schema_programs")? {
        connection.execute(
            "INSERT INTO schema_programs VALUES (?1, ?2)",
            (step.version, step.oldest_program.to_string()),
        )?;
    }
    Ok(())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<Result<Applied, MigrateError>>> {
    if !has_table(connection, "schema_migrations")? {
        return Ok(Vec::new());
    }
    // Of a database that was never opened by 0.2.0 or newer, nothing is recorded.
    let oldest = if has_table(connection, "schema_programs")? {
        "(SELECT oldest FROM schema_programs WHERE step = version)"
    } else {
        "NULL"
    };
    let mut statement = connection.prepare(&format!(
        "SELECT version, name, sha256, {oldest} FROM schema_migrations ORDER BY version"
    ))?;
    let rows = statement.query_map((), |row| {
        let (version, name, sha256) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let oldest: Option<String> = row.get(3)?;
        let oldest = oldest.map(|text| text.parse()).transpose();
        Ok(oldest.map(|oldest_program| Applied { version, name, sha256, oldest_program }))
    })?;
    rows.collect()
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let found = connection.query_row(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        (name,),
        |_| Ok(()),
    );
    Ok(found.optional()?.is_some())
}
