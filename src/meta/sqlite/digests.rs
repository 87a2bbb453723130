//! Every digest that some repository has, in byte order, and which of them a tag leads to.

use rusqlite::{Connection, OptionalExtension, Row};

use super::rows::sha256;
use crate::digest::Sha256;

/// The first link of a blob behind a digest. However many repositories have a digest, it is stepped over at once.
pub(super) const NEXT_BLOB: &str =
    "SELECT sha256, size FROM blob_links WHERE sha256 > ?1 ORDER BY sha256 LIMIT 1";
/// The first manifest behind a digest.
pub(super) const NEXT_MANIFEST: &str =
    "SELECT sha256, size FROM manifests WHERE sha256 > ?1 ORDER BY sha256 LIMIT 1";

/// Whether a tag points to the digest.
pub(super) const IS_TAGGED: &str = "SELECT 1 FROM manifests AS m
     CROSS JOIN tags AS t ON t.repository = m.repository AND t.manifest = m.sha256
     WHERE m.sha256 = ?1 LIMIT 1";
/// Whether a manifest with a tag refers to the digest. `CROSS` keeps the joins in this order: a repository may have
/// a million tags, and few manifests that refer to one digest. Asked before [`IS_REACHED`], which gathers all that refer
/// to it: of a digest that everything refers to, such as the empty config, the first answers.
pub(super) const IS_REFERRED_TO: &str = "SELECT 1 FROM
     (SELECT repository FROM blob_links WHERE sha256 = ?1
      UNION ALL SELECT repository FROM manifests WHERE sha256 = ?1) AS holding
     CROSS JOIN manifest_references AS r ON r.repository = holding.repository AND r.target = ?1
     CROSS JOIN tags AS t ON t.repository = r.repository AND t.manifest = r.manifest LIMIT 1";
/// Whether a manifest with a tag leads to the digest, over however many indexes.
pub(super) const IS_REACHED: &str = "WITH RECURSIVE
     holding (repository) AS (SELECT repository FROM blob_links WHERE sha256 = ?1
                              UNION ALL SELECT repository FROM manifests WHERE sha256 = ?1),
     above (repository, manifest) AS (
         SELECT r.repository, r.manifest FROM holding
         CROSS JOIN manifest_references AS r ON r.repository = holding.repository AND r.target = ?1
         UNION SELECT r.repository, r.manifest FROM above
         CROSS JOIN manifest_references AS r ON r.repository = above.repository AND r.target = above.manifest)
     SELECT 1 FROM above
     CROSS JOIN tags AS t ON t.repository = above.repository AND t.manifest = above.manifest LIMIT 1";

/// Digests that one look takes up, however few of them are hot: so long it keeps a connection to itself.
const LOOK: usize = 1000;

/// What one look found, and where the next goes on.
pub(super) struct Found {
    pub digests: Vec<(Sha256, u64)>,
    /// `None`: the end was reached.
    pub seen: Option<Sha256>,
}

/// At most `limit` digests behind one, with their sizes.
pub(super) fn list(
    db: &Connection,
    after: Option<Sha256>,
    limit: usize,
) -> rusqlite::Result<Vec<(Sha256, u64)>> {
    // One moment, and one look at the locks.
    let _snapshot = db.unchecked_transaction()?;
    let (mut digests, mut after) = (Vec::new(), after);
    while digests.len() < limit
        && let Some(found) = next(db, after)?
    {
        after = Some(found.0);
        digests.push(found);
    }
    Ok(digests)
}

/// At most `limit` hot digests among the next ones.
pub(super) fn list_hot(db: &Connection, after: Option<Sha256>, limit: usize) -> rusqlite::Result<Found> {
    let _snapshot = db.unchecked_transaction()?;
    let (mut digests, mut seen) = (Vec::new(), after);
    for _ in 0..LOOK {
        if digests.len() == limit {
            break;
        }
        let Some(found) = next(db, seen)? else { return Ok(Found { digests, seen: None }) };
        seen = Some(found.0);
        if is_hot(db, &found.0)? {
            digests.push(found);
        }
    }
    Ok(Found { digests, seen })
}

/// The first digest behind one, as a blob or as a manifest.
fn next(db: &Connection, after: Option<Sha256>) -> rusqlite::Result<Option<(Sha256, u64)>> {
    let after = after.as_ref().map_or(&[][..], |after| &after.0);
    let blob = db.prepare_cached(NEXT_BLOB)?.query_row((after,), digest_and_size).optional()?;
    let manifest = db.prepare_cached(NEXT_MANIFEST)?.query_row((after,), digest_and_size).optional()?;
    Ok(match (blob, manifest) {
        (Some(blob), Some(manifest)) => Some(if manifest.0 < blob.0 { manifest } else { blob }),
        (blob, manifest) => blob.or(manifest),
    })
}

fn is_hot(db: &Connection, digest: &Sha256) -> rusqlite::Result<bool> {
    for statement in [IS_TAGGED, IS_REFERRED_TO, IS_REACHED] {
        if db.prepare_cached(statement)?.exists((digest.0,))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn digest_and_size(row: &Row<'_>) -> rusqlite::Result<(Sha256, u64)> {
    Ok((sha256(&row.get::<_, Vec<u8>>(0)?)?, row.get(1)?))
}
