//! Keys that replicas share.

use super::db::Db;
use super::failure::Result;
use super::locks::{Lock, Mode};
use super::rows::{now, time};
use super::transaction::Work;
use crate::meta::KeyRecord;

pub(super) async fn ensure(
    work: &mut Work,
    purpose: &str,
    candidate: &KeyRecord,
    replace: bool,
) -> Result<Vec<KeyRecord>> {
    work.lock([(Lock::Keys(purpose), Mode::Alone)]).await?;
    let kept = list(work, purpose).await?;
    let current = kept.iter().find(|key| key.retired.is_none());
    let stays = match current {
        Some(current) if replace => current.id == candidate.id,
        Some(current) => current.private.is_some(),
        None => false,
    };
    if stays {
        return Ok(kept);
    }
    let now = now();
    let retire = "UPDATE signing_keys SET retired_at = $2 WHERE purpose = $1 AND retired_at IS NULL";
    work.execute(retire, &[&purpose, &now]).await?;
    work.execute(
        "INSERT INTO signing_keys (purpose, id, public, private, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (purpose, id) DO UPDATE SET retired_at = NULL, private = excluded.private",
        &[&purpose, &candidate.id, &candidate.public, &candidate.private, &now],
    )
    .await?;
    list(work, purpose).await
}

async fn list(db: &Db, purpose: &str) -> Result<Vec<KeyRecord>> {
    let rows = db
        .rows(
            "SELECT id, public, private, retired_at FROM signing_keys WHERE purpose = $1
             ORDER BY retired_at IS NOT NULL, retired_at DESC",
            &[&purpose],
        )
        .await?;
    let record = |row: &tokio_postgres::Row| {
        Ok(KeyRecord {
            id: row.try_get(0)?,
            public: row.try_get(1)?,
            private: row.try_get(2)?,
            retired: row.try_get::<_, Option<i64>>(3)?.map(time),
        })
    };
    rows.iter().map(record).collect()
}
