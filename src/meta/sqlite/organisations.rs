//! Catalogs as organisations: their names, quotas, and what they hold.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};

use super::rows::{millis, page, size, time};
use super::{audit, plugin_versions};
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::meta::{
    CatalogRefusal, DeleteOrganisation, Organisation, OrganisationChange, Page, Quota, Usage,
    WriteOrganisation,
};

const SELECT: &str = "SELECT c.id, c.name, c.domain, c.quota_bytes, c.quota_repositories, u.bytes, u.repositories,
     c.created_at FROM catalogs AS c LEFT JOIN catalog_usage AS u ON u.catalog = c.id WHERE c.deleted_at IS NULL";

fn organisation(row: &Row<'_>) -> rusqlite::Result<Organisation> {
    Ok(Organisation {
        id: row.get(0)?,
        name: row.get(1)?,
        domain: row.get(2)?,
        quota: Quota { bytes: row.get(3)?, repositories: row.get(4)? },
        usage: Usage {
            bytes: row.get::<_, Option<u64>>(5)?.unwrap_or(0),
            repositories: row.get::<_, Option<u64>>(6)?.unwrap_or(0),
        },
        created: time(row.get(7)?),
    })
}

pub(super) fn find(db: &Connection, id: &str) -> rusqlite::Result<Option<Organisation>> {
    db.prepare_cached(&format!("{SELECT} AND c.id = ?1"))?.query_row((id,), organisation).optional()
}

pub(super) fn list(
    db: &Connection,
    among: Option<&[String]>,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Page<Organisation>> {
    let Some(among) = among else {
        let mut all =
            db.prepare_cached(&format!("{SELECT} AND c.id > ?1 AND c.id <> ?2 ORDER BY c.id LIMIT ?3"))?;
        let rows = all.query_map((after, SYSTEM_CATALOG, limit.saturating_add(1)), organisation)?;
        return Ok(page(rows.collect::<rusqlite::Result<_>>()?, limit));
    };
    let mut names: Vec<&String> =
        among.iter().filter(|id| id.as_str() > after && id.as_str() != SYSTEM_CATALOG).collect();
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for id in names {
        found.extend(find(db, id)?);
        if found.len() > limit {
            break;
        }
    }
    Ok(page(found, limit))
}

/// Whether something more may come into a catalog.
pub(super) fn admit(
    db: &Connection,
    catalog: &str,
    more: Usage,
) -> rusqlite::Result<Result<(), CatalogRefusal>> {
    match find(db, catalog)? {
        None => Ok(Err(CatalogRefusal::Unknown)),
        Some(found) => Ok(found.quota.admits(found.usage, more)),
    }
}

/// Counts what came into a catalog, or with negative numbers what left it.
pub(super) fn count(db: &Connection, catalog: &str, bytes: i64, repositories: i64) -> rusqlite::Result<()> {
    if (bytes, repositories) != (0, 0) {
        db.prepare_cached(
            "INSERT INTO catalog_usage (catalog, bytes, repositories) VALUES (?1, ?2, ?3)
             ON CONFLICT (catalog) DO UPDATE
             SET bytes = bytes + excluded.bytes, repositories = repositories + excluded.repositories",
        )?
        .execute((catalog, bytes, repositories))?;
    }
    Ok(())
}

/// To be called by every change of tokens, organisations and rules.
pub(super) fn raise_access_version(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE access_version SET version = version + 1")?.execute(())?;
    Ok(())
}

pub(super) fn access_version(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT version FROM access_version")?.query_row((), |row| row.get(0))
}

fn domain_taken(db: &Connection, domain: Option<&str>, by_other_than: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM catalogs WHERE domain = ?1 AND id <> ?2 AND deleted_at IS NULL")?
        .exists((domain, by_other_than))
}

pub(super) fn create(
    db: &Connection,
    id: &str,
    name: &str,
    domain: Option<&str>,
    actor: &Actor,
) -> rusqlite::Result<WriteOrganisation> {
    // An id is given out once: what its events, audit lines and versions meant stays with those who it was of.
    if db.prepare_cached("SELECT 1 FROM catalogs WHERE id = ?1")?.exists((id,))? {
        return Ok(WriteOrganisation::Conflict);
    }
    if domain_taken(db, domain, id)? {
        return Ok(WriteOrganisation::DomainTaken);
    }
    db.prepare_cached("INSERT INTO catalogs (id, name, domain, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((id, name, domain, millis(SystemTime::now())))?;
    written(db, id, "organisation.create", actor)
}

pub(super) fn update(
    db: &Connection,
    id: &str,
    change: &OrganisationChange,
    actor: &Actor,
) -> rusqlite::Result<WriteOrganisation> {
    let Some(now) = find(db, id)?.filter(|found| found.id != SYSTEM_CATALOG) else {
        return Ok(WriteOrganisation::Conflict);
    };
    let changed = Organisation {
        name: change.name.clone().unwrap_or_else(|| now.name.clone()),
        domain: change.domain.clone().unwrap_or_else(|| now.domain.clone()),
        quota: Quota {
            bytes: change.quota_bytes.unwrap_or(now.quota.bytes),
            repositories: change.quota_repositories.unwrap_or(now.quota.repositories),
        },
        ..now.clone()
    };
    if changed == now {
        return Ok(WriteOrganisation::Written(now));
    }
    let Organisation { name, domain, quota, .. } = changed;
    if domain_taken(db, domain.as_deref(), id)? {
        return Ok(WriteOrganisation::DomainTaken);
    }
    let limit = |limit: Option<u64>| limit.map(size).transpose();
    db.prepare_cached(
        "UPDATE catalogs SET name = ?2, domain = ?3, quota_bytes = ?4, quota_repositories = ?5 WHERE id = ?1",
    )?
    .execute((id, name, domain, limit(quota.bytes)?, limit(quota.repositories)?))?;
    written(db, id, "organisation.update", actor)
}

fn written(db: &Connection, id: &str, action: &str, actor: &Actor) -> rusqlite::Result<WriteOrganisation> {
    raise_access_version(db)?;
    audit::done(db, actor, action, Some(id), id)?;
    Ok(find(db, id)?.map_or(WriteOrganisation::Conflict, WriteOrganisation::Written))
}

pub(super) fn delete(db: &Connection, id: &str, actor: &Actor) -> rusqlite::Result<DeleteOrganisation> {
    if find(db, id)?.is_none_or(|found| found.id == SYSTEM_CATALOG) {
        return Ok(DeleteOrganisation::Unknown);
    }
    for table in ["blob_links", "manifests"] {
        let sql = format!(
            "SELECT 1 FROM repositories AS r JOIN {table} AS held ON held.repository = r.id
             WHERE r.catalog = ?1 LIMIT 1"
        );
        if db.prepare_cached(&sql)?.exists((id,))? {
            return Ok(DeleteOrganisation::NotEmpty);
        }
    }
    // No repository of this name comes again, so nothing has to be remembered of its versions.
    db.prepare_cached(
        "DELETE FROM tombstones WHERE repository IN (SELECT id FROM repositories WHERE catalog = ?1)",
    )?
    .execute((id,))?;
    plugin_versions::forget_catalog(db, id)?;
    db.prepare_cached("DELETE FROM repositories WHERE catalog = ?1")?.execute((id,))?;
    db.prepare_cached("DELETE FROM catalog_usage WHERE catalog = ?1")?.execute((id,))?;
    db.prepare_cached("DELETE FROM tag_rules WHERE catalog = ?1")?.execute((id,))?;
    db.prepare_cached("DELETE FROM token_grants WHERE catalog = ?1")?.execute((id,))?;
    db.prepare_cached("DELETE FROM enablements WHERE organisation = ?1")?.execute((id,))?;
    db.prepare_cached("UPDATE catalogs SET deleted_at = ?2 WHERE id = ?1")?
        .execute((id, millis(SystemTime::now())))?;
    raise_access_version(db)?;
    audit::done(db, actor, "organisation.delete", Some(id), id)?;
    Ok(DeleteOrganisation::Deleted)
}
