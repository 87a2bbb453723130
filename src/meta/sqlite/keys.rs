//! Keys that replicas share.

use std::time::SystemTime;

use rusqlite::{Connection, Row};

use super::rows::{millis, time};
use crate::meta::KeyRecord;

pub(super) fn ensure(
    db: &Connection,
    purpose: &str,
    candidate: &KeyRecord,
    replace: bool,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let kept = list(db, purpose)?;
    let current = kept.iter().find(|key| key.retired.is_none());
    let stays = match current {
        Some(current) if replace => current.id == candidate.id,
        Some(current) => current.private.is_some(),
        None => false,
    };
    if stays {
        return Ok(kept);
    }
    let now = millis(SystemTime::now());
    db.prepare_cached("UPDATE signing_keys SET retired_at = ?2 WHERE purpose = ?1 AND retired_at IS NULL")?
        .execute((purpose, now))?;
    db.prepare_cached(
        "INSERT INTO signing_keys (purpose, id, public, private, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (purpose, id) DO UPDATE SET retired_at = NULL, private = excluded.private",
    )?
    .execute((purpose, &candidate.id, &candidate.public, &candidate.private, now))?;
    list(db, purpose)
}

fn list(db: &Connection, purpose: &str) -> rusqlite::Result<Vec<KeyRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT id, public, private, retired_at FROM signing_keys WHERE purpose = ?1
         ORDER BY retired_at IS NOT NULL, retired_at DESC",
    )?;
    let rows = statement.query_map((purpose,), |row: &Row<'_>| {
        Ok(KeyRecord {
            id: row.get(0)?,
            public: row.get(1)?,
            private: row.get(2)?,
            retired: row.get::<_, Option<i64>>(3)?.map(time),
        })
    })?;
    rows.collect()
}
