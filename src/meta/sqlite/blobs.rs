//! Links of blobs to repositories.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::events::Log;
use super::repositories::first;
use super::rows::{self, millis, sha256, sha512, size};
use super::{repositories, uploads};
use crate::access::ReadScope;
use crate::digest::{Digest, Digests};
use crate::meta::{BlobRecord, Change, MountSource};
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

pub(super) fn link(
    db: &Connection,
    repository: &RepositoryName,
    blob: &BlobRecord,
    upload: Option<Uuid>,
) -> rusqlite::Result<()> {
    let id = repositories::find_or_make(db, repository)?;
    db.prepare_cached(
        "INSERT INTO blob_links (repository, catalog, sha256, sha512, size, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (repository, sha256) DO UPDATE SET sha512 = coalesce(excluded.sha512, sha512)",
    )?
    .execute((
        id,
        repository.catalog(),
        blob.digests.sha256.0,
        blob.digests.sha512.as_ref().map(|bytes| bytes.as_slice()),
        size(blob.size)?,
        millis(std::time::SystemTime::now()),
    ))?;
    if let Some(upload) = upload {
        uploads::drop(db, upload)?;
    }
    Ok(())
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
) -> rusqlite::Result<Option<BlobRecord>> {
    let found = find_source(db, digest, source)?;
    if let Some(blob) = &found {
        link(db, repository, blob, None)?;
    }
    Ok(found)
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
            let mut in_catalog = db.prepare_cached(&format!("{select} AND catalog = ?2 LIMIT 1"))?;
            let found =
                first(catalogs, |catalog| in_catalog.query_row((digest.as_bytes(), catalog), record))?;
            if found.is_some() {
                return Ok(found);
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
    actor: &str,
) -> rusqlite::Result<bool> {
    let Some(id) = repositories::find(db, repository)? else { return Ok(false) };
    let Some(blob) = find_in(db, id, digest)? else { return Ok(false) };
    let digest = blob.digests.sha256;
    db.prepare_cached("DELETE FROM blob_links WHERE repository = ?1 AND sha256 = ?2")?
        .execute((id, digest.0))?;
    let mut log = Log::new(repository, actor);
    log.add(Change::BlobDeleted { digest });
    log.write(db)?;
    Ok(true)
}
