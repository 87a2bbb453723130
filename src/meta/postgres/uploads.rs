//! Upload sessions.

use std::time::Duration;

use uuid::Uuid;

use super::db::Db;
use super::failure::Result;
use super::rows::{most, now, size, text, unsigned};
use super::transaction::Work;
use crate::meta::Upload;
use crate::staging::Checkpoint;

pub(super) async fn create(work: &Work, upload: &Upload) -> Result<()> {
    work.execute(
        "INSERT INTO uploads (id, repository, subject, received, hash_state, created_at, touched_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
        &[
            &upload.id,
            &upload.repository,
            &text(&upload.subject),
            &size(upload.checkpoint.offset)?,
            &upload.checkpoint.hash_state,
            &now(),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn find(db: &Db, id: Uuid) -> Result<Option<Upload>> {
    let sql = "SELECT repository, subject, received, hash_state FROM uploads WHERE id = $1";
    let Some(row) = db.row(sql, &[&id]).await? else { return Ok(None) };
    let checkpoint = Checkpoint { offset: unsigned(&row, 2)?, hash_state: row.try_get(3)? };
    Ok(Some(Upload { id, repository: row.try_get(0)?, subject: row.try_get(1)?, checkpoint }))
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

/// How many bytes wait in the sessions of a catalog.
pub(super) async fn staged_bytes(db: &Db, catalog: &str) -> Result<u64> {
    // '0' comes right behind '/'.
    let row = db
        .row(
            "SELECT coalesce(sum(received), 0)::bigint FROM uploads
             WHERE repository > $1::text || '/' AND repository < $1::text || '0'",
            &[&text(catalog)],
        )
        .await?;
    row.map_or(Ok(0), |row| unsigned(&row, 0))
}

pub(super) async fn stale(db: &Db, idle: Duration, limit: usize) -> Result<Vec<Uuid>> {
    let sql = "SELECT id FROM uploads WHERE touched_at <= $1 ORDER BY touched_at LIMIT $2";
    let rows = db.rows(sql, &[&latest(idle), &most(limit)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
