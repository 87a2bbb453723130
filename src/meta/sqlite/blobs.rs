//! Links of blobs to repositories.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::events::Log;
use super::repositories::first_admitted;
use super::rows::{self, millis, sha256, sha512, size};
use super::{audit, organisations, repositories, uploads};
use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Digests, Sha256};
use crate::meta::{BlobRecord, CatalogRefusal, Change, MountBlob, MountSource};
use crate::name::RepositoryName;

pub(super) fn find(
    db: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
) -> rusqlite::Result<Option<BlobRecord>> {
    match repositories::find(db, repository)? {
        Some(id) => find_in(db, id, digest),
        None => Ok(None),
    }
}

pub(super) fn find_in(
    db: &Connection,
    repository: i64,
    digest: &Digest,
) -> rusqlite::Result<Option<BlobRecord>> {
    let column = rows::column(digest);
    let sql = format!("SELECT sha256, sha512, size FROM blob_links WHERE repository = ?1 AND {column} = ?2");
    db.prepare_cached(&sql)?.query_row((repository, digest.as_bytes()), record).optional()
}

fn record(row: &Row<'_>) -> rusqlite::Result<BlobRecord> {
    Ok(BlobRecord {
        digests: Digests { sha256: sha256(&row.get::<_, Vec<u8>>(0)?)?, sha512: sha512(row.get(1)?)? },
        size: row.get(2)?,
    })
}

/// Whether some repository of the catalog links it already, so that it counts no more.
pub(super) fn is_counted(db: &Connection, catalog: &str, sha256: &Sha256) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM blob_links WHERE sha256 = ?1 AND catalog = ?2 LIMIT 1")?
        .exists((sha256.0, catalog))
}

pub(super) fn link(
    db: &Connection,
    repository: &RepositoryName,
    blob: &BlobRecord,
    upload: Option<Uuid>,
    actor: &Actor,
) -> rusqlite::Result<Result<(), CatalogRefusal>> {
    let linked = link_as(db, repository, blob, "blob.push", actor)?;
    if let (Ok(()), Some(upload)) = (linked, upload) {
        uploads::drop(db, upload)?;
    }
    Ok(linked)
}

fn link_as(
    db: &Connection,
    repository: &RepositoryName,
    blob: &BlobRecord,
    action: &str,
    actor: &Actor,
) -> rusqlite::Result<Result<(), CatalogRefusal>> {
    let (catalog, digest) = (repository.catalog(), blob.digests.sha256);
    let bytes = if is_counted(db, catalog, &digest)? { 0 } else { blob.size };
    let id = match repositories::find_or_make(db, repository, bytes)? {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let inserted = db
        .prepare_cached(
            "INSERT INTO blob_links (repository, catalog, sha256, sha512, size, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (repository, sha256) DO NOTHING",
        )?
        .execute((
            id,
            catalog,
            digest.0,
            blob.digests.sha512.as_ref().map(|bytes| bytes.as_slice()),
            size(blob.size)?,
            millis(std::time::SystemTime::now()),
        ))?;
    if inserted > 0 {
        audit::done(db, actor, action, Some(catalog), &format!("{repository}@{digest}"))?;
    } else if let Some(sha512) = &blob.digests.sha512 {
        db.prepare_cached("UPDATE blob_links SET sha512 = ?3 WHERE repository = ?1 AND sha256 = ?2")?
            .execute((id, digest.0, sha512.as_slice()))?;
    }
    Ok(Ok(()))
}

/// Where a blob can be mounted from.
pub(super) fn find_source(
    db: &Connection,
    digest: &Digest,
    source: &MountSource,
) -> rusqlite::Result<Option<BlobRecord>> {
    match source {
        MountSource::Repository(from) => find(db, from, digest),
        MountSource::Scope(scope) => find_anywhere(db, digest, scope),
    }
}

pub(super) fn mount(
    db: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    source: &MountSource,
    actor: &Actor,
) -> rusqlite::Result<MountBlob> {
    let Some(blob) = find_source(db, digest, source)? else { return Ok(MountBlob::Absent) };
    let linked = link_as(db, repository, &blob, "blob.mount", actor)?;
    Ok(linked.map_or_else(MountBlob::Refused, |()| MountBlob::Mounted(blob)))
}

/// The blob in any repository of the scope.
fn find_anywhere(
    db: &Connection,
    digest: &Digest,
    scope: &ReadScope,
) -> rusqlite::Result<Option<BlobRecord>> {
    let column = rows::column(digest);
    let select = format!("SELECT sha256, sha512, size FROM blob_links WHERE {column} = ?1");
    match scope {
        ReadScope::Everything => {
            let mut anywhere = db.prepare_cached(&format!("{select} LIMIT 1"))?;
            anywhere.query_row((digest.as_bytes(),), record).optional()
        }
        ReadScope::Only { catalogs, repositories } => {
            let mut in_catalog = db.prepare_cached(&format!(
                "SELECT b.sha256, b.sha512, b.size, r.name FROM blob_links AS b
                 JOIN repositories AS r ON r.id = b.repository WHERE b.{column} = ?1 AND b.catalog = ?2"
            ))?;
            for scope in catalogs {
                let rows = in_catalog.query_map((digest.as_bytes(), &scope.catalog), |row| {
                    Ok((record(row)?, row.get::<_, String>(3)?))
                })?;
                if let Some((blob, _)) = first_admitted(scope, rows, |(_, repository)| repository)? {
                    return Ok(Some(blob));
                }
            }
            for repository in repositories {
                if let Some(blob) = find(db, repository, digest)? {
                    return Ok(Some(blob));
                }
            }
            Ok(None)
        }
    }
}

pub(super) fn unlink(
    db: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &Actor,
) -> rusqlite::Result<bool> {
    let Some(id) = repositories::find(db, repository)? else { return Ok(false) };
    let Some(blob) = find_in(db, id, digest)? else { return Ok(false) };
    let digest = blob.digests.sha256;
    db.prepare_cached("DELETE FROM blob_links WHERE repository = ?1 AND sha256 = ?2")?
        .execute((id, digest.0))?;
    if !is_counted(db, repository.catalog(), &digest)? {
        organisations::count(db, repository.catalog(), -size(blob.size)?, 0)?;
    }
    let mut log = Log::new(repository, actor);
    log.add(Change::BlobDeleted { digest });
    log.write(db)?;
    repositories::forget_if_empty(db, repository, id)?;
    Ok(true)
}
