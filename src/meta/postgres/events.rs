//! The event log: what changed in a catalog, numbered without gaps.

use tokio_postgres::{Row, Statement};

use super::db::{Db, Parameters};
use super::failure::{Failure, Result};
use super::news::Written;
use super::rows::{most, now, page, size, text, time, unsigned};
use crate::digest::Sha256;
use crate::meta::{Change, Event, Page};
use crate::name::{RepositoryName, Tag};

/// A change that is about to become an event.
pub(super) struct NewEvent {
    pub repository: RepositoryName,
    pub change: Change,
    pub actor: String,
}

/// Numbers events and writes them. The catalog's row is held from here to the commit, so that numbers have no
/// gaps and are in the order of the commits.
const INSERT: &str =
    "WITH counted AS (UPDATE catalogs SET sequence = sequence + $2 WHERE id = $1 RETURNING sequence),
     written AS (
         INSERT INTO events (catalog, sequence, at, kind, repository, tag, digest, previous, actor)
         SELECT $1, counted.sequence - $2 + e.place, $3, e.kind, e.repository, e.tag, e.digest, e.previous, e.actor
         FROM counted, unnest($4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::text[])
             WITH ORDINALITY AS e (kind, repository, tag, digest, previous, actor, place))
     SELECT sequence FROM counted";

/// The events of a transaction in one catalog, ready to be sent.
pub(super) struct Insertion<'a> {
    statement: Statement,
    catalog: &'a str,
    changes: &'a [NewEvent],
}

impl<'a> Insertion<'a> {
    pub(super) async fn prepare(db: &Db, catalog: &'a str, changes: &'a [NewEvent]) -> Result<Self> {
        Ok(Self { statement: db.prepare(INSERT).await?, catalog, changes })
    }

    pub(super) async fn run(&self, db: &Db) -> Result<Written> {
        let columns: Vec<_> = self.changes.iter().map(|event| columns(&event.change)).collect();
        let repositories: Vec<&RepositoryName> = self.changes.iter().map(|event| &event.repository).collect();
        let actors: Vec<_> = self.changes.iter().map(|event| text(&event.actor)).collect();
        let parameters: Parameters<'_> = &[
            &self.catalog,
            &size(self.changes.len() as u64)?,
            &now(),
            &columns.iter().map(|column| column.0).collect::<Vec<_>>(),
            &repositories,
            &columns.iter().map(|column| column.1).collect::<Vec<_>>(),
            &columns.iter().map(|column| column.2).collect::<Vec<_>>(),
            &columns.iter().map(|column| column.3).collect::<Vec<_>>(),
            &actors,
        ];
        let rows = db.rows_prepared(&self.statement, parameters).await?;
        let last = unsigned(rows.first().ok_or(Failure::Damaged("no sequence"))?, 0)?;
        let first = last + 1 - self.changes.len() as u64;
        Ok(Written { catalog: self.catalog.to_owned(), first, last })
    }
}

fn columns(change: &Change) -> (&'static str, Option<&Tag>, Sha256, Option<Sha256>) {
    match change {
        Change::ManifestPushed { digest } => ("manifest_pushed", None, *digest, None),
        Change::ManifestDeleted { digest } => ("manifest_deleted", None, *digest, None),
        Change::TagSet { tag, digest, previous } => ("tag_set", Some(tag), *digest, *previous),
        Change::TagDeleted { tag, digest } => ("tag_deleted", Some(tag), *digest, None),
        Change::BlobDeleted { digest } => ("blob_deleted", None, *digest, None),
        Change::VersionChanged { tag, digest } => ("version_changed", Some(tag), *digest, None),
    }
}

/// The action and the object that the audit log names.
pub(super) fn told(repository: &RepositoryName, change: &Change) -> (&'static str, String) {
    match change {
        Change::ManifestPushed { digest } => ("manifest.push", format!("{repository}@{digest}")),
        Change::ManifestDeleted { digest } => ("manifest.delete", format!("{repository}@{digest}")),
        Change::TagSet { tag, digest, .. } => ("tag.set", format!("{repository}:{tag}@{digest}")),
        Change::TagDeleted { tag, digest } => ("tag.delete", format!("{repository}:{tag}@{digest}")),
        Change::BlobDeleted { digest } => ("blob.delete", format!("{repository}@{digest}")),
        Change::VersionChanged { tag, digest } => ("version.change", format!("{repository}:{tag}@{digest}")),
    }
}

pub(super) const LIST: &str =
    "SELECT sequence, kind, repository, tag, digest, previous, actor, at FROM events
     WHERE catalog = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
pub(super) const OF_TAG: &str =
    "SELECT sequence, kind, repository, tag, digest, previous, actor, at FROM events
     WHERE repository = $1 AND tag = $2 AND sequence < $3 AND kind <> 'version_changed'
     ORDER BY sequence DESC LIMIT $4";

pub(super) async fn sequence(db: &Db, catalog: &str) -> Result<u64> {
    let row = db.row("SELECT sequence FROM catalogs WHERE id = $1", &[&text(catalog)]).await?;
    row.map_or(Ok(0), |row| unsigned(&row, 0))
}

pub(super) async fn list(db: &Db, catalog: &str, after: u64, limit: usize) -> Result<Vec<Event>> {
    let rows =
        db.rows(LIST, &[&text(catalog), &i64::try_from(after).unwrap_or(i64::MAX), &most(limit)]).await?;
    rows.iter().map(event).collect()
}

pub(super) async fn of_tag(
    db: &Db,
    repository: &RepositoryName,
    tag: &Tag,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<Event>> {
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let rows = db.rows(OF_TAG, &[repository, tag, &before, &most(limit.saturating_add(1))]).await?;
    Ok(page(rows.iter().map(event).collect::<Result<_>>()?, limit))
}

fn event(row: &Row) -> Result<Event> {
    let digest: Sha256 = row.try_get(4)?;
    let change = match row.try_get(1)? {
        "manifest_pushed" => Change::ManifestPushed { digest },
        "manifest_deleted" => Change::ManifestDeleted { digest },
        "tag_set" => Change::TagSet { tag: row.try_get(3)?, digest, previous: row.try_get(5)? },
        "tag_deleted" => Change::TagDeleted { tag: row.try_get(3)?, digest },
        "blob_deleted" => Change::BlobDeleted { digest },
        "version_changed" => Change::VersionChanged { tag: row.try_get(3)?, digest },
        _ => return Err(Failure::Damaged("a kind of event")),
    };
    Ok(Event {
        sequence: unsigned(row, 0)?,
        change,
        repository: row.try_get(2)?,
        actor: row.try_get(6)?,
        at: time(row.try_get(7)?),
    })
}
