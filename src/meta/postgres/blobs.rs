//! Links of blobs to repositories.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use uuid::Uuid;

use super::db::{Db, Parameters};
use super::failure::Result;
use super::locks::{Lock, Mode};
use super::repositories::{self, held_anywhere, held_in_scope, row_in_scope};
use super::rows::{by, digests, now, size, unsigned};
use super::transaction::Work;
use super::{organisations, uploads};
use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Sha256};
use crate::meta::{BlobRecord, CatalogRefusal, Change, MountBlob, MountSource, Usage};
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
    let digests = [blob.digests.sha256];
    let (uncounted, known, room) = tokio::try_join!(
        uncounted(work, catalog, &digests),
        repositories::hold(work, repository),
        organisations::room(work, catalog),
    )?;
    let bytes = if uncounted.is_empty() { 0 } else { blob.size };
    let admitted = match room {
        Some(room) => room.admits(work, Usage { bytes, repositories: known.is_none().into() })?,
        None => Err(CatalogRefusal::Unknown),
    };
    if let Err(refusal) = admitted {
        return Ok(Err(refusal));
    }
    let id = repositories::make(work, repository, known).await?;
    work.count(catalog, size(bytes)?, 0);
    let new = insert(work, id, repository, std::slice::from_ref(blob)).await?;
    tell(work, repository, &new, action, actor);
    Ok(Ok(()))
}

/// Writes links, or the SHA-512 that a link lacked. A row that was there and is changed has a transaction in `xmax`;
/// a new one has none.
const INSERT: &str = "INSERT INTO blob_links AS b (repository, catalog, sha256, sha512, size, created_at)
     SELECT $1, $2, new.sha256, new.sha512, new.size, $3
     FROM unnest($4::bytea[], $5::bytea[], $6::bigint[]) AS new (sha256, sha512, size)
     ON CONFLICT (repository, sha256) DO UPDATE SET sha512 = excluded.sha512
     WHERE excluded.sha512 IS NOT NULL AND b.sha512 IS DISTINCT FROM excluded.sha512
     RETURNING b.sha256, b.xmax = 0";

/// Writes links of blobs, and gives the digests of those that are new.
pub(super) async fn insert(
    db: &Db,
    id: i64,
    repository: &RepositoryName,
    blobs: &[BlobRecord],
) -> Result<Vec<Sha256>> {
    // No row can be written twice by one statement.
    let blobs: BTreeMap<Sha256, &BlobRecord> = blobs.iter().map(|blob| (blob.digests.sha256, blob)).collect();
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let sha256: Vec<Sha256> = blobs.keys().copied().collect();
    let sha512: Vec<Option<&[u8]>> =
        blobs.values().map(|blob| blob.digests.sha512.as_ref().map(|bytes| bytes.as_slice())).collect();
    let sizes: Vec<i64> = blobs.values().map(|blob| size(blob.size)).collect::<Result<_>>()?;
    let parameters: Parameters<'_> = &[&id, &repository.catalog(), &now(), &sha256, &sha512, &sizes];
    let mut new = Vec::new();
    for row in db.rows(INSERT, parameters).await? {
        if row.try_get(1)? {
            new.push(row.try_get(0)?);
        }
    }
    Ok(new)
}

/// Tells the audit log about new links.
pub(super) fn tell(
    work: &mut Work,
    repository: &RepositoryName,
    new: &[Sha256],
    action: &str,
    actor: &Actor,
) {
    for digest in new {
        work.tell(actor, action, Some(repository.catalog()), &format!("{repository}@{digest}"));
    }
}

/// Where a blob can be mounted from: the repository that has it.
pub(super) async fn find_source(
    db: &Db,
    digest: &Digest,
    source: &MountSource,
) -> Result<Option<(RepositoryName, BlobRecord)>> {
    match source {
        MountSource::Repository(from) => Ok(find(db, from, digest).await?.map(|blob| (from.clone(), blob))),
        MountSource::Scope(scope) => find_anywhere(db, digest, scope).await,
    }
}

pub(super) const HOLD: &str = "SELECT 1 FROM repositories AS r JOIN blob_links AS b ON b.repository = r.id
     WHERE r.name = $1 AND b.sha256 = $2 FOR KEY SHARE OF b";

/// A source that stays until the transaction ends: who takes it away waits, and then finds the new link.
async fn hold_source(work: &Work, digest: Sha256, source: &MountSource) -> Result<Option<BlobRecord>> {
    while let Some((repository, blob)) = find_source(work, &digest.into(), source).await? {
        if work.exists(HOLD, &[&repository, &digest]).await? {
            return Ok(Some(blob));
        }
    }
    Ok(None)
}

pub(super) async fn mount(
    work: &mut Work,
    repository: &RepositoryName,
    digest: Sha256,
    source: &MountSource,
    actor: &Actor,
) -> Result<MountBlob> {
    work.lock(locks(repository, digest)).await?;
    let Some(blob) = hold_source(work, digest, source).await? else { return Ok(MountBlob::Absent) };
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
async fn find_anywhere(
    db: &Db,
    digest: &Digest,
    scope: &ReadScope,
) -> Result<Option<(RepositoryName, BlobRecord)>> {
    let (anywhere, in_scope) = (by(digest, SOURCE), by(digest, SOURCE_IN_SCOPE));
    let row = row_in_scope(db, anywhere, in_scope, &digest.as_bytes(), scope).await?;
    row.map(|row| Ok((row.try_get(0)?, record(&row, 1)?))).transpose()
}

pub(super) async fn unlink(
    work: &mut Work,
    repository: &RepositoryName,
    digest: &Digest,
    actor: &Actor,
) -> Result<bool> {
    let Some(seen) = find(work, repository, digest).await? else { return Ok(false) };
    let (catalog, digest) = (repository.catalog(), seen.digests.sha256);
    // No manifest is decided on meanwhile that refers to it.
    let repository_alone = (Lock::Repository(repository), Mode::Alone);
    let counted = (Lock::Blob(catalog, digest), Mode::Alone);
    work.lock([repository_alone, (Lock::Catalog(catalog), Mode::Shared), counted]).await?;
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
