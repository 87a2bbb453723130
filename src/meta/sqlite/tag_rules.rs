//! Rules that make tags immutable, and tombstones of immutable tags that were deleted.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension};

use super::rows::{damaged, millis, sha256};
use super::{audit, organisations};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::ImmutableTags;
use crate::name::{RepositoryName, Tag};

pub(super) fn list(db: &Connection, catalog: &str) -> rusqlite::Result<Vec<ImmutableTags>> {
    let mut statement =
        db.prepare_cached("SELECT repositories, tags FROM tag_rules WHERE catalog = ?1 ORDER BY position")?;
    let rows =
        statement.query_map((catalog,), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (repositories, tags) = row?;
        match (repositories.parse(), tags.parse()) {
            (Ok(repositories), Ok(tags)) => Ok(ImmutableTags { repositories, tags }),
            _ => Err(damaged("a glob")),
        }
    })
    .collect()
}

pub(super) fn replace(
    db: &Connection,
    catalog: &str,
    rules: &[ImmutableTags],
    actor: &Actor,
) -> rusqlite::Result<bool> {
    if organisations::find(db, catalog)?.is_none() {
        return Ok(false);
    }
    if list(db, catalog)? == rules {
        return Ok(true);
    }
    db.prepare_cached("DELETE FROM tag_rules WHERE catalog = ?1")?.execute((catalog,))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO tag_rules (catalog, position, repositories, tags) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, rule) in rules.iter().enumerate() {
        insert.execute((catalog, position, rule.repositories.as_str(), rule.tags.as_str()))?;
    }
    organisations::raise_access_version(db)?;
    audit::done(db, actor, "tag_rules.set", Some(catalog), catalog)?;
    Ok(true)
}

/// The rules of a catalog, read once for all the tags of a transaction.
pub(super) struct Rules(Vec<ImmutableTags>);

impl Rules {
    pub(super) fn of(db: &Connection, catalog: &str) -> rusqlite::Result<Self> {
        Ok(Self(list(db, catalog)?))
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

pub(super) fn tombstone(db: &Connection, repository: i64, tag: &Tag) -> rusqlite::Result<Option<Tombstone>> {
    let row = db
        .prepare_cached("SELECT manifest, version FROM tombstones WHERE repository = ?1 AND tag = ?2")?
        .query_row((repository, tag.as_str()), |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(manifest, version)| Ok(Tombstone { manifest: sha256(&manifest)?, version })).transpose()
}

pub(super) fn bury(
    db: &Connection,
    repository: i64,
    tag: &Tag,
    tombstone: &Tombstone,
) -> rusqlite::Result<()> {
    // What a version meant once it means for ever; what a rule kept is what it was when it was deleted last.
    db.prepare_cached(
        "INSERT INTO tombstones (repository, tag, manifest, version, deleted_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (repository, tag) DO UPDATE
         SET manifest = excluded.manifest, version = excluded.version, deleted_at = excluded.deleted_at
         WHERE version = 0",
    )?
    .execute((
        repository,
        tag.as_str(),
        tombstone.manifest.0,
        tombstone.version,
        millis(SystemTime::now()),
    ))?;
    Ok(())
}
