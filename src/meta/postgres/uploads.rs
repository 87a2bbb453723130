//! Upload sessions, and the nodes that have their bytes.

use std::time::Duration;

use uuid::Uuid;

use super::db::Db;
use super::failure::Result;
use super::outcome;
use super::rows::{most, now, size, text, unsigned};
use super::transaction::Work;
use crate::meta::{NODE_MEMORY, Node, Upload};
use crate::staging::Checkpoint;

pub(super) async fn announce(work: &Work, node: &Node) -> Result<()> {
    work.execute(
        "INSERT INTO nodes (id, run, url, started_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET run = excluded.run, url = excluded.url, started_at = excluded.started_at",
        &[&node.id, &node.run, &node.url, &now()],
    )
    .await?;
    // A session that is being made meanwhile is waited for, or makes its node known again.
    work.execute("LOCK TABLE uploads IN SHARE MODE", &[]).await?;
    work.execute(
        "DELETE FROM nodes AS n WHERE n.started_at <= $1 AND n.id <> $2
         AND NOT EXISTS (SELECT FROM uploads AS u WHERE u.node = n.id)",
        &[&latest(NODE_MEMORY), &node.id],
    )
    .await?;
    Ok(())
}

pub(super) async fn create(work: &Work, upload: &Upload) -> Result<()> {
    work.execute(
        "INSERT INTO uploads (id, repository, subject, received, hash_state, created_at, touched_at, node)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        &[
            &upload.id,
            &upload.repository,
            &text(&upload.subject),
            &size(upload.checkpoint.offset)?,
            &upload.checkpoint.hash_state,
            &now(),
            &upload.home.as_ref().map(|node| node.id),
        ],
    )
    .await?;
    if let Some(node) = &upload.home {
        work.execute(
            "INSERT INTO nodes (id, run, url, started_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[&node.id, &node.run, &node.url, &now()],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn find(db: &Db, id: Uuid) -> Result<Option<Upload>> {
    let row = db
        .row(
            "SELECT u.repository, u.subject, u.received, u.hash_state, n.id, n.run, n.url
             FROM uploads AS u LEFT JOIN nodes AS n ON n.id = u.node WHERE u.id = $1",
            &[&id],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let checkpoint = Checkpoint { offset: unsigned(&row, 2)?, hash_state: row.try_get(3)? };
    let home = match row.try_get(4)? {
        Some(id) => Some(Node { id, run: row.try_get(5)?, url: row.try_get(6)? }),
        None => None,
    };
    Ok(Some(Upload { id, repository: row.try_get(0)?, subject: row.try_get(1)?, checkpoint, home }))
}

pub(super) async fn checkpoint(work: &Work, id: Uuid, checkpoint: &Checkpoint) -> Result<bool> {
    let changed = work
        .execute(
            "UPDATE uploads SET received = $2, hash_state = $3, touched_at = $4 WHERE id = $1",
            &[&id, &size(checkpoint.offset)?, &checkpoint.hash_state, &now()],
        )
        .await?;
    Ok(changed == 1)
}

pub(super) async fn drop(work: &Work, id: Uuid) -> Result<bool> {
    Ok(work.execute("DELETE FROM uploads WHERE id = $1", &[&id]).await? == 1)
}

pub(super) async fn expire(work: &Work, id: Uuid, idle: Duration) -> Result<bool> {
    let sql = "DELETE FROM uploads WHERE id = $1 AND touched_at <= $2";
    Ok(work.execute(sql, &[&id, &latest(idle)]).await? == 1)
}

/// The latest time that lies as far back as given.
fn latest(idle: Duration) -> i64 {
    now().saturating_sub(idle.as_millis().try_into().unwrap_or(i64::MAX))
}

/// The character '0' comes right behind '/'.
pub(super) const STAGED: &str = "SELECT coalesce(sum(received), 0)::bigint FROM uploads
     WHERE repository > $1::text || '/' AND repository < $1::text || '0'";

/// How many bytes wait in the sessions of a catalog.
pub(super) async fn staged_bytes(db: &Db, catalog: &str) -> Result<u64> {
    let row = db.row(STAGED, &[&text(catalog)]).await?;
    row.map_or(Ok(0), |row| unsigned(&row, 0))
}

/// Who is just writing to a session is not disturbed, nor is another node that ends it.
pub(super) const STALE: &str =
    "SELECT id FROM uploads WHERE touched_at <= $1 AND ($2::uuid IS NULL OR node IS NULL OR node = $2)
     ORDER BY touched_at LIMIT $3 FOR UPDATE SKIP LOCKED";

pub(super) async fn stale(db: &Db, node: Option<Uuid>, idle: Duration, limit: usize) -> Result<Vec<Uuid>> {
    // Who looks for what is left over also takes away what transactions leave.
    outcome::forget_marks(db).await?;
    let rows = db.rows(STALE, &[&latest(idle), &node, &most(limit)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
