//! The event log: what changed in a catalog, numbered without gaps.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};

use super::audit;
use super::repositories::name;
use super::rows::{damaged, millis, page, sha256, size, time};
use crate::access::Actor;
use crate::digest::Sha256;
use crate::meta::{Change, Event, Page};
use crate::name::{RepositoryName, Tag};

/// The events of one transaction and what the audit log tells of them. They are written last, so that the
/// counter row of the catalog is held for the shortest time.
pub(super) struct Log<'a> {
    repository: &'a RepositoryName,
    actor: &'a Actor,
    changes: Vec<Change>,
}

impl<'a> Log<'a> {
    pub(super) fn new(repository: &'a RepositoryName, actor: &'a Actor) -> Self {
        Self { repository, actor, changes: Vec::new() }
    }

    pub(super) fn repository(&self) -> &'a RepositoryName {
        self.repository
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn add(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn write(self, db: &Connection) -> rusqlite::Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let catalog = self.repository.catalog();
        let count = size(self.changes.len() as u64)?;
        let last: i64 = db
            .prepare_cached("UPDATE catalogs SET sequence = sequence + ?2 WHERE id = ?1 RETURNING sequence")?
            .query_row((catalog, count), |row| row.get(0))?;
        let now = millis(SystemTime::now());
        let mut insert = db.prepare_cached(
            "INSERT INTO events (catalog, sequence, kind, repository, tag, digest, previous, actor, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for (sequence, change) in (last - count + 1..).zip(self.changes) {
            let (kind, tag, digest, previous) = columns(&change);
            insert.execute((
                catalog,
                sequence,
                kind,
                self.repository.as_str(),
                tag,
                digest.0,
                previous.map(|previous| previous.0),
                &self.actor.subject,
                now,
            ))?;
            let (action, object) = told(self.repository, &change);
            audit::done(db, self.actor, action, Some(catalog), &object)?;
        }
        Ok(())
    }
}

fn columns(change: &Change) -> (&'static str, Option<&str>, Sha256, Option<Sha256>) {
    match change {
        Change::ManifestPushed { digest } => ("manifest_pushed", None, *digest, None),
        Change::ManifestDeleted { digest } => ("manifest_deleted", None, *digest, None),
        Change::TagSet { tag, digest, previous } => ("tag_set", Some(tag.as_str()), *digest, *previous),
        Change::TagDeleted { tag, digest } => ("tag_deleted", Some(tag.as_str()), *digest, None),
        Change::BlobDeleted { digest } => ("blob_deleted", None, *digest, None),
        Change::VersionChanged { tag, digest } => ("version_changed", Some(tag.as_str()), *digest, None),
    }
}

/// The action and the object that the audit log names.
fn told(repository: &RepositoryName, change: &Change) -> (&'static str, String) {
    match change {
        Change::ManifestPushed { digest } => ("manifest.push", format!("{repository}@{digest}")),
        Change::ManifestDeleted { digest } => ("manifest.delete", format!("{repository}@{digest}")),
        Change::TagSet { tag, digest, .. } => ("tag.set", format!("{repository}:{tag}@{digest}")),
        Change::TagDeleted { tag, digest } => ("tag.delete", format!("{repository}:{tag}@{digest}")),
        Change::BlobDeleted { digest } => ("blob.delete", format!("{repository}@{digest}")),
        Change::VersionChanged { tag, digest } => ("version.change", format!("{repository}:{tag}@{digest}")),
    }
}

pub(super) fn sequence(db: &Connection, catalog: &str) -> rusqlite::Result<u64> {
    let mut statement = db.prepare_cached("SELECT sequence FROM catalogs WHERE id = ?1")?;
    Ok(statement.query_row((catalog,), |row| row.get(0)).optional()?.unwrap_or(0))
}

pub(super) fn list(db: &Connection, catalog: &str, after: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let mut statement = db.prepare_cached(
        "SELECT sequence, kind, repository, tag, digest, previous, actor, at FROM events
         WHERE catalog = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let rows = statement.query_map((catalog, size(after)?, limit), event)?;
    rows.collect()
}

pub(super) fn of_tag(
    db: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Page<Event>> {
    let mut statement = db.prepare_cached(
        "SELECT sequence, kind, repository, tag, digest, previous, actor, at FROM events
         WHERE repository = ?1 AND tag = ?2 AND sequence < ?3 AND kind <> 'version_changed'
         ORDER BY sequence DESC LIMIT ?4",
    )?;
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let most = limit.saturating_add(1);
    let rows = statement.query_map((repository.as_str(), tag.as_str(), before, most), event)?;
    Ok(page(rows.collect::<rusqlite::Result<_>>()?, limit))
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let kind: String = row.get(1)?;
    let digest = sha256(&row.get::<_, Vec<u8>>(4)?)?;
    let previous: Option<Vec<u8>> = row.get(5)?;
    let tag = || row.get::<_, String>(3)?.parse().map_err(|_| damaged("a tag"));
    let change = match kind.as_str() {
        "manifest_pushed" => Change::ManifestPushed { digest },
        "manifest_deleted" => Change::ManifestDeleted { digest },
        "tag_set" => {
            let previous = previous.map(|bytes| sha256(&bytes)).transpose()?;
            Change::TagSet { tag: tag()?, digest, previous }
        }
        "tag_deleted" => Change::TagDeleted { tag: tag()?, digest },
        "blob_deleted" => Change::BlobDeleted { digest },
        "version_changed" => Change::VersionChanged { tag: tag()?, digest },
        _ => return Err(damaged("a kind of event")),
    };
    Ok(Event {
        sequence: row.get(0)?,
        change,
        repository: name(&row.get::<_, String>(2)?)?,
        actor: row.get(6)?,
        at: time(row.get(7)?),
    })
}
