//! The audit log: lines in, lines out, none changed.

use tokio_postgres::{Row, Statement};

use super::db::{Db, Parameters};
use super::failure::{Failure, Result};
use super::locks::Lock;
use super::rows::{most, now, text, texts, time, unsigned};
use super::transaction::Work;
use crate::meta::{AuditEntry, AuditRecord, Outcome};

/// The lock comes before the ids: who holds it alone knows that no lower id is still to come.
const INSERT: &str = "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1) IS NOT NULL AS now)
     INSERT INTO audit (at, actor, action, catalog, object, outcome, rule, address, request_id)
     SELECT $2, line.* FROM held, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
         $8::text[], $9::text[], $10::text[]) AS line
     WHERE held.now";

/// The lines of a transaction, ready to be sent.
pub(super) struct Insertion<'a> {
    /// `None`: there is nothing to tell.
    statement: Option<Statement>,
    entries: &'a [AuditEntry],
}

impl<'a> Insertion<'a> {
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

/// Tells the log about something that changed nothing.
pub(super) async fn record(work: &mut Work, entry: &AuditEntry) -> Result<()> {
    work.record(entry.clone());
    Ok(())
}

/// The highest id of which, and of all below, it is known whether they are there: lines get their numbers before
/// they can be seen, and nothing is shown above a number that may still come.
async fn settled(db: &mut Db) -> Result<i64> {
    // Each statement of the text sees what was committed before it began.
    let text = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({}); SELECT max(id) FROM audit; COMMIT",
        Lock::Audit.key()
    );
    let highest = db.run_at_once(&text).await?;
    highest.map_or(Ok(0), |id| id.parse().map_err(|_| Failure::Damaged("a number")))
}

pub(super) const LIST: &str =
    "SELECT id, at, actor, action, catalog, object, outcome, rule, address, request_id
     FROM audit WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
/// Each catalog is read from its own place in the index, at most a page of it.
pub(super) const LIST_OF_CATALOGS: &str =
    "SELECT line.* FROM (SELECT DISTINCT unnest($4::text[]) AS id) AS wanted CROSS JOIN LATERAL
         (SELECT id, at, actor, action, catalog, object, outcome, rule, address, request_id
          FROM audit WHERE catalog = wanted.id AND id > $1 AND id <= $2 ORDER BY id LIMIT $3) AS line
     ORDER BY line.id LIMIT $3";

pub(super) async fn list(
    db: &mut Db,
    catalogs: Option<&[String]>,
    after: u64,
    limit: usize,
) -> Result<Vec<AuditRecord>> {
    let settled = settled(db).await?;
    let (after, most) = (i64::try_from(after).unwrap_or(i64::MAX), most(limit));
    let rows = match catalogs {
        None => db.rows(LIST, &[&after, &settled, &most]).await?,
        Some(catalogs) => db.rows(LIST_OF_CATALOGS, &[&after, &settled, &most, &texts(catalogs)]).await?,
    };
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> Result<AuditRecord> {
    let address: Option<&str> = row.try_get(8)?;
    Ok(AuditRecord {
        id: unsigned(row, 0)?,
        at: time(row.try_get(1)?),
        entry: AuditEntry {
            actor: row.try_get(2)?,
            action: row.try_get(3)?,
            catalog: row.try_get(4)?,
            object: row.try_get(5)?,
            outcome: match row.try_get(6)? {
                "done" => Outcome::Done,
                "refused" => Outcome::Refused,
                _ => return Err(Failure::Damaged("an outcome")),
            },
            rule: row.try_get(7)?,
            address: address
                .map(|text| text.parse().map_err(|_| Failure::Damaged("an address")))
                .transpose()?,
            request_id: row.try_get(9)?,
        },
    })
}
