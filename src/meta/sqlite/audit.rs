//! The audit log: lines in, lines out, none changed.

use std::time::SystemTime;

use rusqlite::{Connection, Row};

use super::rows::{damaged, millis, time};
use crate::access::Actor;
use crate::meta::{AuditEntry, AuditRecord, Outcome};

/// Tells about a change, inside the transaction that makes it.
pub(super) fn done(
    db: &Connection,
    actor: &Actor,
    action: &str,
    catalog: Option<&str>,
    object: &str,
) -> rusqlite::Result<()> {
    insert(
        db,
        &AuditEntry {
            actor: actor.subject.clone(),
            action: action.to_owned(),
            catalog: catalog.map(str::to_owned),
            object: object.to_owned(),
            outcome: Outcome::Done,
            rule: actor.rule.clone(),
            address: actor.address,
            request_id: actor.request_id.clone(),
        },
    )
}

pub(super) fn insert(db: &Connection, entry: &AuditEntry) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO audit (at, actor, action, catalog, object, outcome, rule, address, request_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        millis(SystemTime::now()),
        &entry.actor,
        &entry.action,
        &entry.catalog,
        &entry.object,
        entry.outcome.as_str(),
        &entry.rule,
        entry.address.map(|address| address.to_string()),
        &entry.request_id,
    ))?;
    Ok(())
}

const COLUMNS: &str = "id, at, actor, action, catalog, object, outcome, rule, address, request_id";

/// Each catalog is read from its own place in the index, at most a page of it.
pub(super) fn list(
    db: &Connection,
    catalogs: Option<&[String]>,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<AuditRecord>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let Some(catalogs) = catalogs else {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2");
        return db.prepare_cached(&sql)?.query_map((after, limit), record)?.collect();
    };
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE catalog = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let mut of_catalog = db.prepare_cached(&sql)?;
    let mut records = Vec::new();
    for catalog in catalogs {
        for record in of_catalog.query_map((catalog, after, limit), record)? {
            records.push(record?);
        }
    }
    records.sort_by_key(|record| record.id);
    records.truncate(limit);
    Ok(records)
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let outcome: String = row.get(6)?;
    let address: Option<String> = row.get(8)?;
    Ok(AuditRecord {
        id: row.get(0)?,
        at: time(row.get(1)?),
        entry: AuditEntry {
            actor: row.get(2)?,
            action: row.get(3)?,
            catalog: row.get(4)?,
            object: row.get(5)?,
            outcome: match outcome.as_str() {
                "done" => Outcome::Done,
                "refused" => Outcome::Refused,
                _ => return Err(damaged("an outcome")),
            },
            rule: row.get(7)?,
            address: address.map(|text| text.parse().map_err(|_| damaged("an address"))).transpose()?,
            request_id: row.get(9)?,
        },
    })
}
