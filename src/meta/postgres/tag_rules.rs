//! Rules that make tags immutable, and tombstones of immutable tags that were deleted.

use super::db::Db;
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::organisations;
use super::rows::{now, text};
use super::transaction::Work;
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::ImmutableTags;
use crate::name::{RepositoryName, Tag};

pub(super) async fn list(db: &Db, catalog: &str) -> Result<Vec<ImmutableTags>> {
    let sql = "SELECT repositories, tags FROM tag_rules WHERE catalog = $1 ORDER BY position";
    let rows = db.rows(sql, &[&text(catalog)]).await?;
    let rule = |row: &tokio_postgres::Row| {
        let (repositories, tags): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        match (repositories.parse(), tags.parse()) {
            (Ok(repositories), Ok(tags)) => Ok(ImmutableTags { repositories, tags }),
            _ => Err(Failure::Damaged("a glob")),
        }
    };
    rows.iter().map(rule).collect()
}

pub(super) async fn replace(
    work: &mut Work,
    catalog: &str,
    rules: &[ImmutableTags],
    actor: &Actor,
) -> Result<bool> {
    // Who writes tags of the catalog is waited for: behind this, all go by the new rules.
    work.lock([(Lock::Catalog(catalog), Mode::Alone)]).await?;
    if !organisations::exists(work, catalog).await? {
        return Ok(false);
    }
    if list(work, catalog).await? == rules {
        return Ok(true);
    }
    work.execute("DELETE FROM tag_rules WHERE catalog = $1", &[&catalog]).await?;
    let (repositories, tags): (Vec<&str>, Vec<&str>) =
        rules.iter().map(|rule| (rule.repositories.as_str(), rule.tags.as_str())).unzip();
    work.execute(
        "INSERT INTO tag_rules (catalog, repositories, tags, position)
         SELECT $1, rule.* FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS rule",
        &[&catalog, &repositories, &tags],
    )
    .await?;
    work.raise_access_version();
    work.tell(actor, "tag_rules.set", Some(catalog), catalog);
    Ok(true)
}

/// The rules of a catalog, read once for all the tags of a transaction.
pub(super) struct Rules(Vec<ImmutableTags>);

impl Rules {
    pub(super) async fn of(db: &Db, catalog: &str) -> Result<Self> {
        Ok(Self(list(db, catalog).await?))
    }

    /// Whether one of them keeps this tag where it is.
    pub(super) fn keep(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        self.0.iter().any(|rule| rule.tags.matches(tag) && rule.repositories.matches(repository))
    }
}

/// A tag that was deleted while it was immutable.
pub(super) struct Tombstone {
    pub manifest: Sha256,
    /// It was a version of a plugin.
    pub version: bool,
}

pub(super) async fn tombstone(db: &Db, repository: i64, tag: &Tag) -> Result<Option<Tombstone>> {
    let sql = "SELECT manifest, version FROM tombstones WHERE repository = $1 AND tag = $2";
    let row = db.row(sql, &[&repository, tag]).await?;
    row.map(|row| Ok(Tombstone { manifest: row.try_get(0)?, version: row.try_get(1)? })).transpose()
}

pub(super) async fn bury(work: &Work, repository: i64, tag: &Tag, tombstone: &Tombstone) -> Result<()> {
    // What a version meant once it means for ever; what a rule kept is what it was when it was deleted last.
    work.execute(
        "INSERT INTO tombstones AS t (repository, tag, manifest, version, deleted_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (repository, tag) DO UPDATE
         SET manifest = excluded.manifest, version = excluded.version, deleted_at = excluded.deleted_at
         WHERE NOT t.version",
        &[&repository, tag, &tombstone.manifest, &tombstone.version, &now()],
    )
    .await?;
    Ok(())
}
