//! The lines that a transaction adds to the audit log.

use tokio_postgres::Statement;

use super::db::{Db, Parameters};
use super::failure::Result;
use super::locks::Lock;
use super::rows::{now, text};
use crate::meta::AuditEntry;

/// The lock comes before the ids: who holds it alone knows that no lower id is still to come.
const INSERT: &str = "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1) IS NOT NULL AS now)
     INSERT INTO audit (at, actor, action, catalog, object, outcome, rule, address, request_id)
     SELECT $2, line.* FROM held, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
         $8::text[], $9::text[], $10::text[]) AS line
     WHERE held.now";

/// The lines of a transaction, ready to be sent.
pub(super) struct AuditLines<'a> {
    /// `None`: there is nothing to tell.
    statement: Option<Statement>,
    entries: &'a [AuditEntry],
}

impl<'a> AuditLines<'a> {
    pub(super) async fn prepare(db: &Db, entries: &'a [AuditEntry]) -> Result<Self> {
        let statement = if entries.is_empty() { None } else { Some(db.prepare(INSERT).await?) };
        Ok(Self { statement, entries })
    }

    pub(super) async fn run(&self, db: &Db) -> Result<()> {
        let Some(statement) = &self.statement else { return Ok(()) };
        let entries = self.entries;
        let column =
            |of: fn(&AuditEntry) -> &String| entries.iter().map(|entry| text(of(entry))).collect::<Vec<_>>();
        let catalogs: Vec<_> = entries.iter().map(|entry| entry.catalog.as_deref().map(text)).collect();
        let outcomes: Vec<&str> = entries.iter().map(|entry| entry.outcome.as_str()).collect();
        let addresses: Vec<_> = entries.iter().map(|entry| entry.address.map(|it| it.to_string())).collect();
        let parameters: Parameters<'_> = &[
            &Lock::Audit.key(),
            &now(),
            &column(|entry| &entry.actor),
            &column(|entry| &entry.action),
            &catalogs,
            &column(|entry| &entry.object),
            &outcomes,
            &column(|entry| &entry.rule),
            &addresses,
            &column(|entry| &entry.request_id),
        ];
        db.execute_prepared(statement, parameters).await?;
        Ok(())
    }
}
