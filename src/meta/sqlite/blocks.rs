//! Digests that are blocked, and everything that is because of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};

use super::events::Log;
use super::plugin_versions::refresh;
use super::repositories::name;
use super::rows::{damaged, millis, page, sha256, time};
use super::{audit, organisations};
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::digest::{Digest, Sha256};
use crate::meta::{BLOCKED, Block, Change, Page, PutManifest, SetBlock};

/// Why a manifest may not come in: one of these is blocked.
pub(super) fn refusal(
    db: &Connection,
    digests: impl Iterator<Item = Sha256>,
) -> rusqlite::Result<Option<PutManifest>> {
    let none: bool = db
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM blocked_digests)")?
        .query_row((), |row| row.get(0))?;
    if none {
        return Ok(None);
    }
    for digest in digests {
        if let Some(reason) = reason(db, &digest)? {
            return Ok(Some(PutManifest::Blocked { digest, reason }));
        }
    }
    Ok(None)
}

pub(super) const REASON: &str = "SELECT b.reason FROM blocked_digests AS d JOIN blocks AS b ON b.sha256 = d.cause WHERE d.sha256 = ?1 LIMIT 1";

fn reason(db: &Connection, digest: &Sha256) -> rusqlite::Result<Option<String>> {
    db.prepare_cached(REASON)?.query_row((digest.0,), |row| row.get(0)).optional()
}

const SELECT: &str = "SELECT b.sha256, b.reason, b.actor, b.created_at,
     (SELECT count(*) FROM blocked_digests WHERE cause = b.sha256) FROM blocks AS b";

fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        digest: sha256(&row.get::<_, Vec<u8>>(0)?)?,
        reason: row.get(1)?,
        actor: row.get(2)?,
        created: time(row.get(3)?),
        digests: row.get(4)?,
    })
}

fn find(db: &Connection, digest: &Sha256) -> rusqlite::Result<Option<Block>> {
    db.prepare_cached(&format!("{SELECT} WHERE b.sha256 = ?1"))?.query_row((digest.0,), block).optional()
}

pub(super) fn list(db: &Connection, after: Option<Sha256>, limit: usize) -> rusqlite::Result<Page<Block>> {
    let after = after.map_or(Vec::new(), |after| after.0.to_vec());
    let mut statement =
        db.prepare_cached(&format!("{SELECT} WHERE b.sha256 > ?1 ORDER BY b.sha256 LIMIT ?2"))?;
    let rows = statement.query_map((after, limit.saturating_add(1)), block)?;
    Ok(page(rows.collect::<rusqlite::Result<_>>()?, limit))
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<(Sha256, Arc<str>)>> {
    let mut statement = db.prepare_cached(
        "SELECT d.sha256, max(b.reason) FROM blocked_digests AS d JOIN blocks AS b ON b.sha256 = d.cause
         GROUP BY d.sha256",
    )?;
    // Most fall with another one: each reason is kept once.
    let mut reasons: HashMap<String, Arc<str>> = HashMap::new();
    let mut rows = statement.query(())?;
    let mut blocked = Vec::new();
    while let Some(row) = rows.next()? {
        let reason: String = row.get(1)?;
        let kept = reasons.entry(reason).or_insert_with_key(|reason| reason.as_str().into());
        blocked.push((sha256(&row.get::<_, Vec<u8>>(0)?)?, Arc::clone(kept)));
    }
    Ok(blocked)
}

/// What falls with a digest: packages that have it as a file or are it, and of plugins the manifest with its
/// package and the package with its manifest.
pub(super) const FALLS: &str = "
    WITH hit (package) AS (
        SELECT f.package FROM package_files AS f WHERE f.sha256 = ?1
        UNION SELECT k.id FROM packages AS k WHERE k.sha256 = ?1
        UNION SELECT v.package FROM plugin_versions AS v WHERE v.manifest = ?1)
    SELECT ?1
    UNION SELECT k.sha256 FROM packages AS k WHERE k.id IN (SELECT package FROM hit)
    UNION SELECT v.manifest FROM plugin_versions AS v WHERE v.package IN (SELECT package FROM hit)";

pub(super) fn set(db: &Connection, digest: &Sha256, text: &str, actor: &Actor) -> rusqlite::Result<SetBlock> {
    let known = find(db, digest)?;
    if let Some(known) = known.as_ref().filter(|known| known.reason == text) {
        return Ok(SetBlock::Set { block: known.clone(), made: false });
    }
    let left = BLOCKED.saturating_sub(
        db.prepare_cached("SELECT count(*) FROM blocked_digests WHERE cause <> ?1")?
            .query_row((digest.0,), |row| row.get(0))?,
    );
    let mut statement = db.prepare_cached(&format!("{FALLS} LIMIT ?2"))?;
    let falls = statement.query_map((digest.0, left.saturating_add(1)), |row| row.get::<_, Vec<u8>>(0))?;
    let falls = falls.collect::<rusqlite::Result<Vec<_>>>()?;
    if falls.len() > left {
        return Ok(SetBlock::TooMany);
    }
    db.prepare_cached(
        "INSERT INTO blocks (sha256, reason, actor, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sha256) DO UPDATE SET reason = excluded.reason",
    )?
    .execute((digest.0, text, &actor.subject, millis(SystemTime::now())))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO blocked_digests (sha256, cause) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for fallen in &falls {
        insert.execute((fallen, digest.0))?;
    }
    changed(db, &falls, "block.set", digest, actor)?;
    let block = find(db, digest)?.ok_or_else(|| damaged("no block"))?;
    Ok(SetBlock::Set { block, made: known.is_none() })
}

pub(super) fn delete(db: &Connection, digest: &Sha256, actor: &Actor) -> rusqlite::Result<bool> {
    if find(db, digest)?.is_none() {
        return Ok(false);
    }
    let mut of_cause = db.prepare_cached("SELECT sha256 FROM blocked_digests WHERE cause = ?1")?;
    let freed = of_cause.query_map((digest.0,), |row| row.get::<_, Vec<u8>>(0))?;
    let freed = freed.collect::<rusqlite::Result<Vec<_>>>()?;
    db.prepare_cached("DELETE FROM blocks WHERE sha256 = ?1")?.execute((digest.0,))?;
    changed(db, &freed, "block.delete", digest, actor)?;
    Ok(true)
}

/// The version that a blocked digest is, in every repository that has it.
pub(super) const VERSIONS: &str = "SELECT r.id, r.name, v.version, v.manifest FROM plugin_versions AS v
     JOIN repositories AS r ON r.id = v.repository WHERE v.manifest = ?1 AND v.deleted_at IS NULL";

/// Tells every plugin that lost or got back a version.
fn changed(
    db: &Connection,
    digests: &[Vec<u8>],
    action: &str,
    digest: &Sha256,
    actor: &Actor,
) -> rusqlite::Result<()> {
    let mut versions = db.prepare_cached(VERSIONS)?;
    for blocked in digests {
        let rows = versions.query_map((blocked,), |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        })?;
        for row in rows.collect::<rusqlite::Result<Vec<_>>>()? {
            let (id, repository, version, manifest) = row;
            let repository = name(&repository)?;
            let tag = version.parse().map_err(|_| damaged("a version"))?;
            let mut log = Log::new(&repository, actor);
            log.add(Change::VersionChanged { tag, digest: sha256(&manifest)? });
            refresh(db, id, &mut log)?;
            log.write(db)?;
        }
    }
    organisations::raise_access_version(db)?;
    audit::done(db, actor, action, Some(SYSTEM_CATALOG), &Digest::from(*digest).to_string())
}
