//! Upload sessions.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::repositories::name;
use super::rows::{damaged, millis, size};
use crate::meta::Upload;
use crate::staging::Checkpoint;

pub(super) fn create(db: &Connection, upload: &Upload) -> rusqlite::Result<()> {
    let now = millis(SystemTime::now());
    db.prepare_cached(
        "INSERT INTO uploads (id, repository, subject, received, hash_state, created_at, touched_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute((
        upload.id.as_bytes(),
        upload.repository.as_str(),
        &upload.subject,
        size(upload.checkpoint.offset)?,
        &upload.checkpoint.hash_state,
        now,
    ))?;
    Ok(())
}

pub(super) fn find(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Upload>> {
    let row = db
        .prepare_cached("SELECT repository, subject, received, hash_state FROM uploads WHERE id = ?1")?
        .query_row((id.as_bytes(),), |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    row.map(|(repository, subject, offset, hash_state)| {
        let checkpoint = Checkpoint { offset, hash_state };
        Ok(Upload { id, repository: name(&repository)?, subject, checkpoint })
    })
    .transpose()
}

pub(super) fn checkpoint(db: &Connection, id: Uuid, checkpoint: &Checkpoint) -> rusqlite::Result<bool> {
    let changed = db
        .prepare_cached("UPDATE uploads SET received = ?2, hash_state = ?3, touched_at = ?4 WHERE id = ?1")?
        .execute((
            id.as_bytes(),
            size(checkpoint.offset)?,
            &checkpoint.hash_state,
            millis(SystemTime::now()),
        ))?;
    Ok(changed == 1)
}

pub(super) fn drop(db: &Connection, id: Uuid) -> rusqlite::Result<bool> {
    let removed = db.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute((id.as_bytes(),))?;
    Ok(removed == 1)
}

pub(super) fn expire(db: &Connection, id: Uuid, idle: Duration) -> rusqlite::Result<bool> {
    let removed = db
        .prepare_cached("DELETE FROM uploads WHERE id = ?1 AND touched_at <= ?2")?
        .execute((id.as_bytes(), latest(idle)))?;
    Ok(removed == 1)
}

/// The latest time that lies as far back as given.
fn latest(idle: Duration) -> i64 {
    millis(SystemTime::now()).saturating_sub(idle.as_millis().try_into().unwrap_or(i64::MAX))
}

/// How many bytes wait in the sessions of a catalog.
pub(super) fn staged_bytes(db: &Connection, catalog: &str) -> rusqlite::Result<u64> {
    // '0' comes right behind '/'.
    db.prepare_cached(
        "SELECT coalesce(sum(received), 0) FROM uploads WHERE repository > ?1 || '/' AND repository < ?1 || '0'",
    )?
    .query_row((catalog,), |row| row.get(0))
}

pub(super) fn stale(db: &Connection, idle: Duration, limit: usize) -> rusqlite::Result<Vec<Uuid>> {
    let before = latest(idle);
    let mut statement =
        db.prepare_cached("SELECT id FROM uploads WHERE touched_at <= ?1 ORDER BY touched_at LIMIT ?2")?;
    let rows = statement.query_map((before, limit), |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|row| Uuid::from_slice(&row?).map_err(|_| damaged("an upload id"))).collect()
}
