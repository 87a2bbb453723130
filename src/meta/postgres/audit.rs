//! The audit log: lines in, lines out, none changed.

use tokio_postgres::Row;

use super::db::Db;
use super::failure::{Failure, Result};
use super::locks::Lock;
use super::rows::{most, texts, time, unsigned};
use super::transaction::Work;
use crate::meta::{AuditEntry, AuditRecord, Outcome};

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
