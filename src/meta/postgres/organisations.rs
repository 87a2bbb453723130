//! Catalogs as organisations: their names, quotas, and what they hold.

use tokio_postgres::Row;

use super::db::Db;
use super::failure::Result;
use super::locks::{Lock, Mode};
use super::plugin_versions;
use super::rows::{before_nul, most, now, page, size, text, texts, time, unsigned};
use super::transaction::Work;
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::meta::{
    CatalogRefusal, DeleteOrganisation, Organisation, OrganisationChange, Page, Quota, Usage,
    WriteOrganisation,
};

const SELECT: &str = "SELECT c.id, c.name, c.domain, c.created_at, c.quota_bytes, c.quota_repositories, u.bytes,
         u.repositories
     FROM catalogs AS c CROSS JOIN LATERAL
         (SELECT coalesce(sum(bytes), 0)::bigint AS bytes, coalesce(sum(repositories), 0)::bigint AS repositories
          FROM catalog_usage WHERE catalog = c.id) AS u
     WHERE c.deleted_at IS NULL";

fn quota(row: &Row, from: usize) -> Result<Quota> {
    let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    Ok(Quota { bytes: limit(row.try_get(from)?), repositories: limit(row.try_get(from + 1)?) })
}

fn usage(row: &Row, from: usize) -> Result<Usage> {
    Ok(Usage { bytes: unsigned(row, from)?, repositories: unsigned(row, from + 1)? })
}

fn organisation(row: &Row) -> Result<Organisation> {
    Ok(Organisation {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        domain: row.try_get(2)?,
        quota: quota(row, 4)?,
        usage: usage(row, 6)?,
        created: time(row.try_get(3)?),
    })
}

pub(super) async fn find(db: &Db, id: &str) -> Result<Option<Organisation>> {
    let row = db.row(&format!("{SELECT} AND c.id = $1"), &[&text(id)]).await?;
    row.as_ref().map(organisation).transpose()
}

pub(super) async fn exists(db: &Db, id: &str) -> Result<bool> {
    db.exists("SELECT 1 FROM catalogs WHERE id = $1 AND deleted_at IS NULL", &[&text(id)]).await
}

pub(super) async fn list(
    db: &Db,
    among: Option<&[String]>,
    after: &str,
    limit: usize,
) -> Result<Page<Organisation>> {
    let (after, most) = (before_nul(after), most(limit.saturating_add(1)));
    let rows = match among {
        None => {
            let sql = format!("{SELECT} AND c.id > $1 AND c.id <> $2 ORDER BY c.id LIMIT $3");
            db.rows(&sql, &[&after, &SYSTEM_CATALOG, &most]).await?
        }
        Some(among) => {
            let sql =
                format!("{SELECT} AND c.id > $1 AND c.id <> $2 AND c.id = ANY ($4) ORDER BY c.id LIMIT $3");
            db.rows(&sql, &[&after, &SYSTEM_CATALOG, &most, &texts(among)]).await?
        }
    };
    Ok(page(rows.iter().map(organisation).collect::<Result<_>>()?, limit))
}

/// Without a quota nobody asks what is there.
pub(super) const ROOM: &str =
    "SELECT c.quota_bytes, c.quota_repositories, coalesce(u.bytes, 0), coalesce(u.repositories, 0)
     FROM catalogs AS c LEFT JOIN LATERAL
         (SELECT sum(bytes)::bigint AS bytes, sum(repositories)::bigint AS repositories
          FROM catalog_usage WHERE catalog = c.id) AS u
     ON c.quota_bytes IS NOT NULL OR c.quota_repositories IS NOT NULL
     WHERE c.id = $1 AND c.deleted_at IS NULL";

/// What there is room for in a catalog.
pub(super) struct Room {
    quota: Quota,
    usage: Usage,
}

/// `None`: there is no such catalog.
pub(super) async fn room(db: &Db, catalog: &str) -> Result<Option<Room>> {
    let row = db.row(ROOM, &[&catalog]).await?;
    row.map(|row| Ok(Room { quota: quota(&row, 0)?, usage: usage(&row, 2)? })).transpose()
}

impl Room {
    /// Whether something more may come in. Fails where others may decide the same at this time.
    pub(super) fn admits(&self, db: &Db, more: Usage) -> Result<std::result::Result<(), CatalogRefusal>> {
        if self.quota != Quota::default() {
            db.decide_quota()?;
        }
        Ok(self.quota.admits(self.usage, more))
    }
}

pub(super) async fn access_version(db: &Db) -> Result<u64> {
    let row = db.row("SELECT version FROM access_version", &[]).await?;
    row.map_or(Ok(0), |row| unsigned(&row, 0))
}

async fn domain_taken(work: &Work, domain: Option<&str>, by_other_than: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM catalogs WHERE domain = $1 AND id <> $2 AND deleted_at IS NULL";
    work.exists(sql, &[&domain.map(text), &by_other_than]).await
}

pub(super) async fn create(
    work: &mut Work,
    id: &str,
    name: &str,
    domain: Option<&str>,
    actor: &Actor,
) -> Result<WriteOrganisation> {
    work.lock([(Lock::Organisations, Mode::Alone)]).await?;
    // An id is given out once: what its events, audit lines and versions meant stays with those who it was of.
    if work.exists("SELECT 1 FROM catalogs WHERE id = $1", &[&id]).await? {
        return Ok(WriteOrganisation::Conflict);
    }
    if domain_taken(work, domain, id).await? {
        return Ok(WriteOrganisation::DomainTaken);
    }
    work.execute(
        "INSERT INTO catalogs (id, name, domain, created_at) VALUES ($1, $2, $3, $4)",
        &[&id, &text(name), &domain.map(text), &now()],
    )
    .await?;
    written(work, id, "organisation.create", actor).await
}

pub(super) async fn update(
    work: &mut Work,
    id: &str,
    change: &OrganisationChange,
    actor: &Actor,
) -> Result<WriteOrganisation> {
    // Who writes to the catalog is waited for: nobody decides by a quota that somebody else did not know of.
    work.lock([(Lock::Organisations, Mode::Alone), (Lock::Catalog(id), Mode::Alone)]).await?;
    let Some(now) = find(work, id).await?.filter(|found| found.id != SYSTEM_CATALOG) else {
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
    if domain_taken(work, domain.as_deref(), id).await? {
        return Ok(WriteOrganisation::DomainTaken);
    }
    let limit = |limit: Option<u64>| limit.map(size).transpose();
    work.execute(
        "UPDATE catalogs SET name = $2, domain = $3, quota_bytes = $4, quota_repositories = $5 WHERE id = $1",
        &[&id, &text(&name), &domain.as_deref().map(text), &limit(quota.bytes)?, &limit(quota.repositories)?],
    )
    .await?;
    written(work, id, "organisation.update", actor).await
}

async fn written(work: &mut Work, id: &str, action: &str, actor: &Actor) -> Result<WriteOrganisation> {
    work.raise_access_version();
    work.tell(actor, action, Some(id), id);
    Ok(find(work, id).await?.map_or(WriteOrganisation::Conflict, WriteOrganisation::Written))
}

pub(super) async fn delete(work: &mut Work, id: &str, actor: &Actor) -> Result<DeleteOrganisation> {
    work.lock([
        (Lock::Organisations, Mode::Alone),
        (Lock::Plugins, Mode::Alone),
        (Lock::Enablements(id), Mode::Alone),
        (Lock::Catalog(id), Mode::Alone),
    ])
    .await?;
    if find(work, id).await?.is_none_or(|found| found.id == SYSTEM_CATALOG) {
        return Ok(DeleteOrganisation::Unknown);
    }
    let held = "SELECT 1 FROM repositories AS r WHERE r.catalog = $1
         AND (EXISTS (SELECT 1 FROM blob_links WHERE repository = r.id)
              OR EXISTS (SELECT 1 FROM manifests WHERE repository = r.id)) LIMIT 1";
    if work.exists(held, &[&id]).await? {
        return Ok(DeleteOrganisation::NotEmpty);
    }
    // No repository of this name comes again, so nothing has to be remembered of its versions.
    let tombstones = "DELETE FROM tombstones
         WHERE repository = ANY (ARRAY (SELECT id FROM repositories WHERE catalog = $1))";
    work.execute(tombstones, &[&id]).await?;
    plugin_versions::forget_catalog(work, id).await?;
    for emptied in [
        "DELETE FROM repositories WHERE catalog = $1",
        "DELETE FROM catalog_usage WHERE catalog = $1",
        "DELETE FROM tag_rules WHERE catalog = $1",
        "DELETE FROM token_grants WHERE catalog = $1",
        "DELETE FROM enablements WHERE organisation = $1",
    ] {
        work.execute(emptied, &[&id]).await?;
    }
    work.execute("UPDATE catalogs SET deleted_at = $2 WHERE id = $1", &[&id, &now()]).await?;
    work.raise_access_version();
    work.tell(actor, "organisation.delete", Some(id), id);
    Ok(DeleteOrganisation::Deleted)
}
