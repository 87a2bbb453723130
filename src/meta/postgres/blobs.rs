//! Links of blobs to repositories.

use tokio_postgres::Row;
use uuid::Uuid;

use super::db::Db;
use super::failure::Result;
use super::locks::{Lock, Mode};
use super::repositories::{self, held_anywhere, held_in_scope, row_in_scope};
use super::rows::{by, digests, now, size, unsigned};
use super::transaction::Work;
use super::uploads;
use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Sha256};
use crate::meta::{BlobRecord, CatalogRefusal, Change, MountBlob, MountSource};
use crate::name::RepositoryName;

/// Reads the columns `sha256, sha512, size` from a place on.
fn record(row: &Row, from: usize) -> Result<BlobRecord> {
    Ok(BlobRecord { digests: digests(row, from)?, size: unsigned(row, from + 2)? })
}

/// By each of the two algorithms.
pub(super) const FIND: [&str; 2] = [
    "SELECT b.sha256, b.sha512, b.size FROM repositories AS r JOIN blob_links AS b ON b.repository = r.id
     WHERE r.name = $1 AND b.sha256 = $2",
    "SELECT b.sha256, b.sha512, b.size FROM repositories AS r JOIN blob_links AS b ON b.repository = r.id
     WHERE r.name = $1 AND b.sha512 = $2",
];

pub(super) async fn find(
    db: &Db,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<BlobRecord>> {
    let row = db.row(by(digest, FIND), &[repository, &digest.as_bytes()]).await?;
    row.map(|row| record(&row, 0)).transpose()
}

pub(super) const UNCOUNTED: &str =
    "SELECT wanted.sha256 FROM unnest($2::bytea[]) AS wanted (sha256) WHERE NOT EXISTS
         (SELECT 1 FROM blob_links AS b WHERE b.sha256 = wanted.sha256 AND b.catalog = $1)";

/// Of these, those that no repository of the catalog links yet, so that they will count.
pub(super) async fn uncounted(db: &Db, catalog: &str, digests: &[Sha256]) -> Result<Vec<Sha256>> {
    let rows = db.rows(UNCOUNTED, &[&catalog, &digests]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The locks under which a blob comes into a repository, or goes.
fn locks<'a>(repository: &'a RepositoryName, digest: Sha256) -> [(Lock<'a>, Mode); 2] {
    let catalog = repository.catalog();
    [(Lock::Catalog(catalog), Mode::Writer), (Lock::Blob(catalog, digest), Mode::Alone)]
}

pub(super) async fn link(
    work: &mut Work,
    repository: &RepositoryName,
    blob: &BlobRecord,
    upload: Option<Uuid>,
    actor: &Actor,
) -> Result<std::result::Result<(), CatalogRefusal>> {
    work.lock(locks(repository, blob.digests.sha256)).await?;
    let linked = link_as(work, repository, blob, "blob.push", actor).await?;
    if let (Ok(()), Some(upload)) = (linked, upload) {
        uploads::drop(work, upload).await?;
    }
    Ok(linked)
}

async fn link_as(
    work: &mut Work,
    repository: &RepositoryName,
    blob: &BlobRecord,
    action: &str,
    actor: &Actor,
) -> Result<std::result::Result<(), CatalogRefusal>> {
    let catalog = repository.catalog();
    let counts = !uncounted(work, catalog, &[blob.digests.sha256]).await?.is_empty();
    let bytes = if counts { blob.size } else { 0 };
    let id = match repositories::find_or_make(work, repository, bytes).await? {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    work.count(catalog, size(bytes)?, 0);
    insert(work, id, repository, blob, action, actor).await?;
    Ok(Ok(()))
}

/// Writes the link, or the SHA-512 that a link lacked.
pub(super) async fn insert(
    work: &mut Work,
    id: i64,
    repository: &RepositoryName,
    blob: &BlobRecord,
    action: &str,
    actor: &Actor,
) -> Result<()> {
    let digest = blob.digests.sha256;
    let sha512 = blob.digests.sha512.as_ref().map(|bytes| bytes.as_slice());
    // A row that was there and is changed has a transaction in `xmax`; a new one has none.
    let written = work
        .row(
            "INSERT INTO blob_links AS b (repository, catalog, sha256, sha512, size, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (repository, sha256) DO UPDATE
             SET sha512 = excluded.sha512
             WHERE excluded.sha512 IS NOT NULL AND b.sha512 IS DISTINCT FROM excluded.sha512
             RETURNING b.xmax = 0",
            &[&id, &repository.catalog(), &digest, &sha512, &size(blob.size)?, &now()],
        )
        .await?;
    if written.map(|row| row.try_get(0)).transpose()? == Some(true) {
        work.tell(actor, action, Some(repository.catalog()), &format!("{repository}@{digest}"));
    }
    Ok(())
}

/// Where a blob can be mounted from.
pub(super) async fn find_source(
    db: &Db,
    digest: &Digest,
    source: &MountSource,
) -> Result<Option<BlobRecord>> {
    match source {
        MountSource::Repository(from) => find(db, from, digest).await,
        MountSource::Scope(scope) => find_anywhere(db, digest, scope).await,
    }
}

pub(super) async fn mount(
    work: &mut Work,
    repository: &RepositoryName,
    seen: &BlobRecord,
    source: &MountSource,
    actor: &Actor,
) -> Result<MountBlob> {
    let digest = seen.digests.sha256;
    work.lock(locks(repository, digest)).await?;
    let Some(blob) = find_source(work, &digest.into(), source).await? else { return Ok(MountBlob::Absent) };
    let linked = link_as(work, repository, &blob, "blob.mount", actor).await?;
    Ok(linked.map_or_else(MountBlob::Refused, |()| MountBlob::Mounted(blob)))
}

pub(super) const SOURCE: [&str; 2] = [
    held_anywhere!("held.sha256, held.sha512, held.size", "blob_links", "sha256"),
    held_anywhere!("held.sha256, held.sha512, held.size", "blob_links", "sha512"),
];
pub(super) const SOURCE_IN_SCOPE: [&str; 2] = [
    concat!(held_in_scope!("held.sha256, held.sha512, held.size", "blob_links", "sha256"), " LIMIT 1"),
    concat!(held_in_scope!("held.sha256, held.sha512, held.size", "blob_links", "sha512"), " LIMIT 1"),
];

/// The blob in any repository of the scope.
async fn find_anywhere(db: &Db, digest: &Digest, scope: &ReadScope) -> Result<Option<BlobRecord>> {
    let (anywhere, in_scope) = (by(digest, SOURCE), by(digest, SOURCE_IN_SCOPE));
    let row = row_in_scope(db, anywhere, in_scope, &digest.as_bytes(), scope).await?;
    row.map(|row| record(&row, 1)).transpose()
}

pub(super) async fn unlink(
    work: &mut Work,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &Actor,
) -> Result<bool> {
    let Some(seen) = find(work, repository, digest).await? else { return Ok(false) };
    let (catalog, digest) = (repository.catalog(), seen.digests.sha256);
    work.lock([(Lock::Catalog(catalog), Mode::Shared), (Lock::Blob(catalog, digest), Mode::Alone)]).await?;
    let deleted = work
        .row(
            "DELETE FROM blob_links AS b USING repositories AS r
             WHERE r.name = $1 AND b.repository = r.id AND b.sha256 = $2 RETURNING r.id, b.size",
            &[repository, &digest],
        )
        .await?;
    let Some(row) = deleted else { return Ok(false) };
    if !uncounted(work, catalog, &[digest]).await?.is_empty() {
        work.count(catalog, -row.try_get::<_, i64>(1)?, 0);
    }
    work.changed(repository, Change::BlobDeleted { digest }, actor);
    repositories::forget_if_empty(work, repository, row.try_get(0)?).await?;
    Ok(true)
}
