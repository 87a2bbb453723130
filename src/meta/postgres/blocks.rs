//! Digests that are blocked, and everything that is because of them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use super::db::Db;
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::plugin_versions::refresh;
use super::rows::{most, now, page, text, time, unsigned};
use super::transaction::Work;
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::digest::{Digest, Sha256};
use crate::meta::{BLOCKED, Block, Change, Page, PutManifest, SetBlock};
use crate::name::RepositoryName;
use crate::version::Version;

/// Why a manifest may not come in: one of these is blocked.
pub(super) async fn refusal(db: &Db, digests: &[Sha256]) -> Result<Option<PutManifest>> {
    let row = db
        .row(
            "SELECT wanted.sha256, b.reason FROM unnest($1::bytea[]) WITH ORDINALITY AS wanted (sha256, place)
             JOIN blocked_digests AS d ON d.sha256 = wanted.sha256 JOIN blocks AS b ON b.sha256 = d.cause
             ORDER BY wanted.place LIMIT 1",
            &[&digests],
        )
        .await?;
    row.map(|row| Ok(PutManifest::Blocked { digest: row.try_get(0)?, reason: row.try_get(1)? })).transpose()
}

const SELECT: &str = "SELECT b.sha256, b.reason, b.actor, b.created_at,
         (SELECT count(*) FROM blocked_digests WHERE cause = b.sha256)
     FROM blocks AS b";

fn block(row: &Row) -> Result<Block> {
    Ok(Block {
        digest: row.try_get(0)?,
        reason: row.try_get(1)?,
        actor: row.try_get(2)?,
        created: time(row.try_get(3)?),
        digests: unsigned(row, 4)?,
    })
}

async fn find(db: &Db, digest: &Sha256) -> Result<Option<Block>> {
    let row = db.row(&format!("{SELECT} WHERE b.sha256 = $1"), &[digest]).await?;
    row.as_ref().map(block).transpose()
}

pub(super) async fn list(db: &Db, after: Option<Sha256>, limit: usize) -> Result<Page<Block>> {
    let after = after.map_or(Vec::new(), |after| after.0.to_vec());
    let sql = format!("{SELECT} WHERE b.sha256 > $1 ORDER BY b.sha256 LIMIT $2");
    let rows = db.rows(&sql, &[&after, &most(limit.saturating_add(1))]).await?;
    Ok(page(rows.iter().map(block).collect::<Result<_>>()?, limit))
}

pub(super) async fn all(db: &Db) -> Result<Vec<(Sha256, Arc<str>)>> {
    let rows = db
        .rows(
            "SELECT DISTINCT ON (d.sha256) d.sha256, b.reason
             FROM blocked_digests AS d JOIN blocks AS b ON b.sha256 = d.cause ORDER BY d.sha256, b.reason DESC",
            &[],
        )
        .await?;
    // Most fall with another one: each reason is kept once.
    let mut reasons: HashMap<&str, Arc<str>> = HashMap::new();
    let mut blocked = Vec::with_capacity(rows.len());
    for row in &rows {
        let reason: &str = row.try_get(1)?;
        let kept = reasons.entry(reason).or_insert_with_key(|reason| (*reason).into());
        blocked.push((row.try_get(0)?, Arc::clone(kept)));
    }
    Ok(blocked)
}

/// What falls with a digest: packages that have it as a file or are it, and of plugins the manifest with its
/// package and the package with its manifest.
const FALLS: &str = "
    WITH hit (package) AS (
        SELECT f.package FROM package_files AS f WHERE f.sha256 = $1
        UNION SELECT k.id FROM packages AS k WHERE k.sha256 = $1
        UNION SELECT v.package FROM plugin_versions AS v WHERE v.manifest = $1)
    SELECT $1::bytea
    UNION SELECT k.sha256 FROM packages AS k WHERE k.id IN (SELECT package FROM hit)
    UNION SELECT v.manifest FROM plugin_versions AS v WHERE v.package IN (SELECT package FROM hit)
    LIMIT $2";

pub(super) async fn set(work: &mut Work, digest: &Sha256, reason: &str, actor: &Actor) -> Result<SetBlock> {
    // Nobody publishes anything meanwhile.
    work.lock([(Lock::Plugins, Mode::Alone)]).await?;
    let known = find(work, digest).await?;
    if let Some(known) = known.as_ref().filter(|known| known.reason == reason) {
        return Ok(SetBlock::Set { block: known.clone(), made: false });
    }
    let others = work.row("SELECT count(*) FROM blocked_digests WHERE cause <> $1", &[digest]).await?;
    let others = others.map_or(Ok(0), |row| unsigned(&row, 0))?;
    let left = BLOCKED.saturating_sub(usize::try_from(others).unwrap_or(usize::MAX));
    let rows = work.rows(FALLS, &[digest, &most(left.saturating_add(1))]).await?;
    let falls: Vec<Sha256> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    if falls.len() > left {
        return Ok(SetBlock::TooMany);
    }
    work.execute(
        "INSERT INTO blocks (sha256, reason, actor, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (sha256) DO UPDATE SET reason = excluded.reason",
        &[digest, &text(reason), &text(&actor.subject), &now()],
    )
    .await?;
    work.execute(
        "INSERT INTO blocked_digests (sha256, cause) SELECT fallen, $2 FROM unnest($1::bytea[]) AS fallen
         ON CONFLICT DO NOTHING",
        &[&falls, digest],
    )
    .await?;
    changed(work, &falls, "block.set", digest, actor).await?;
    let block = find(work, digest).await?.ok_or(Failure::Damaged("no block"))?;
    Ok(SetBlock::Set { block, made: known.is_none() })
}

pub(super) async fn delete(work: &mut Work, digest: &Sha256, actor: &Actor) -> Result<bool> {
    work.lock([(Lock::Plugins, Mode::Alone)]).await?;
    let sql = "DELETE FROM blocked_digests WHERE cause = $1 RETURNING sha256";
    let rows = work.rows(sql, &[digest]).await?;
    if work.execute("DELETE FROM blocks WHERE sha256 = $1", &[digest]).await? == 0 {
        return Ok(false);
    }
    let freed: Vec<Sha256> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    changed(work, &freed, "block.delete", digest, actor).await?;
    Ok(true)
}

/// Tells every plugin that lost or got back a version.
async fn changed(
    work: &mut Work,
    digests: &[Sha256],
    action: &str,
    digest: &Sha256,
    actor: &Actor,
) -> Result<()> {
    let rows = work
        .rows(
            "SELECT r.id, r.name, v.version, v.manifest FROM plugin_versions AS v
             JOIN repositories AS r ON r.id = v.repository
             WHERE v.manifest = ANY ($1) AND v.deleted_at IS NULL ORDER BY v.manifest, r.name",
            &[&digests],
        )
        .await?;
    for row in &rows {
        let (id, repository, version): (_, RepositoryName, Version) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let tag = version.as_str().parse().map_err(|_| Failure::Damaged("a version"))?;
        work.changed(&repository, Change::VersionChanged { tag, digest: row.try_get(3)? }, actor);
        refresh(work, id, &repository, actor).await?;
    }
    work.raise_access_version();
    work.tell(actor, action, Some(SYSTEM_CATALOG), &Digest::from(*digest).to_string());
    Ok(())
}
