//! Upload sessions, and the nodes that have their bytes.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::repositories::name;
use super::rows::{damaged, millis, size};
use crate::meta::{NODE_MEMORY, Node, Upload};
use crate::staging::Checkpoint;

pub(super) fn announce(db: &Connection, node: &Node) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO nodes (id, run, url, started_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET run = excluded.run, url = excluded.url, started_at = excluded.started_at",
    )?
    .execute((node.id.as_bytes(), node.run.as_bytes(), &node.url, millis(SystemTime::now())))?;
    db.prepare_cached(
        "DELETE FROM nodes WHERE started_at <= ?1 AND id <> ?2
         AND NOT EXISTS (SELECT 1 FROM uploads WHERE node = nodes.id)",
    )?
    .execute((latest(NODE_MEMORY), node.id.as_bytes()))?;
    Ok(())
}

pub(super) fn create(db: &Connection, upload: &Upload) -> rusqlite::Result<()> {
    let now = millis(SystemTime::now());
    if let Some(node) = &upload.home {
        db.prepare_cached(
            "INSERT INTO nodes (id, run, url, started_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute((node.id.as_bytes(), node.run.as_bytes(), &node.url, now))?;
    }
    db.prepare_cached(
        "INSERT INTO uploads (id, repository, subject, received, hash_state, created_at, touched_at, node)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
    )?
    .execute((
        upload.id.as_bytes(),
        upload.repository.as_str(),
        &upload.subject,
        size(upload.checkpoint.offset)?,
        &upload.checkpoint.hash_state,
        now,
        upload.home.as_ref().map(|node| node.id.as_bytes()),
    ))?;
    Ok(())
}

pub(super) fn find(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Upload>> {
    db.prepare_cached(
        "SELECT repository, subject, received, hash_state, node, run, url
         FROM uploads LEFT JOIN nodes ON nodes.id = uploads.node WHERE uploads.id = ?1",
    )?
    .query_row((id.as_bytes(),), |row| {
        let checkpoint = Checkpoint { offset: row.get(2)?, hash_state: row.get(3)? };
        Ok(Upload {
            id,
            repository: name(&row.get::<_, String>(0)?)?,
            subject: row.get(1)?,
            checkpoint,
            home: home(row)?,
        })
    })
    .optional()
}

/// Reads the columns 4 to 6: `node, run, url`.
fn home(row: &Row<'_>) -> rusqlite::Result<Option<Node>> {
    let Some(id) = row.get::<_, Option<Vec<u8>>>(4)? else { return Ok(None) };
    Ok(Some(Node { id: uuid(&id)?, run: uuid(&row.get::<_, Vec<u8>>(5)?)?, url: row.get(6)? }))
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

pub(super) fn stale(
    db: &Connection,
    node: Option<Uuid>,
    idle: Duration,
    limit: usize,
) -> rusqlite::Result<Vec<Uuid>> {
    let mut statement = db.prepare_cached(
        "SELECT id FROM uploads WHERE touched_at <= ?1 AND (?2 IS NULL OR node IS NULL OR node = ?2)
         ORDER BY touched_at LIMIT ?3",
    )?;
    let node = node.map(Uuid::into_bytes);
    let rows = statement.query_map((latest(idle), node, limit), |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|row| uuid(&row?)).collect()
}

fn uuid(bytes: &[u8]) -> rusqlite::Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| damaged("an id"))
}
