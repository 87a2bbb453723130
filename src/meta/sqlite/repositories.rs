//! Rows of catalogs and repositories, and where a read scope lets one look.

use rusqlite::{Connection, OptionalExtension, Row};

use super::organisations;
use super::rows::{damaged, millis, page, size};
use crate::access::{CatalogScope, ReadScope};
use crate::digest::Sha256;
use crate::meta::{CatalogRefusal, Holder, Page, Usage};
use crate::name::RepositoryName;

pub(super) fn find(db: &Connection, repository: &RepositoryName) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?
        .query_row((repository.as_str(),), |row| row.get(0))
        .optional()
}

/// The row of the repository, made if it was not there, once its catalog admits that and so many bytes more.
pub(super) fn find_or_make(
    db: &Connection,
    repository: &RepositoryName,
    bytes: u64,
) -> rusqlite::Result<Result<i64, CatalogRefusal>> {
    let (catalog, known) = (repository.catalog(), find(db, repository)?);
    let more = Usage { bytes, repositories: known.is_none().into() };
    if let Err(refusal) = organisations::admit(db, catalog, more)? {
        return Ok(Err(refusal));
    }
    organisations::count(db, catalog, size(bytes)?, known.is_none().into())?;
    if let Some(id) = known {
        return Ok(Ok(id));
    }
    let now = millis(std::time::SystemTime::now());
    db.prepare_cached(
        "INSERT INTO repositories (catalog, name, created_at) VALUES (?1, ?2, ?3) RETURNING id",
    )?
    .query_row((catalog, repository.as_str(), now), |row| row.get(0))
    .map(Ok)
}

/// Removes the row of a repository that holds nothing any more, and that nobody has to remember anything of.
pub(super) fn forget_if_empty(db: &Connection, repository: &RepositoryName, id: i64) -> rusqlite::Result<()> {
    let forgotten = db
        .prepare_cached(
            "DELETE FROM repositories WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM blob_links WHERE repository = ?1)
             AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository = ?1)
             AND NOT EXISTS (SELECT 1 FROM tombstones WHERE repository = ?1)",
        )?
        .execute((id,))?;
    if forgotten > 0 { organisations::count(db, repository.catalog(), 0, -1) } else { Ok(()) }
}

/// A repository of the scope that has the digest, as a blob or as a manifest.
pub(super) fn holder(
    db: &Connection,
    sha256: &Sha256,
    scope: &ReadScope,
) -> rusqlite::Result<Option<Holder>> {
    for table in ["blob_links", "manifests"] {
        let held = match scope {
            ReadScope::Everything => {
                let mut statement = db.prepare_cached(&format!(
                    "SELECT r.name, held.size FROM {table} AS held JOIN repositories AS r
                     ON r.id = held.repository WHERE held.sha256 = ?1 LIMIT 1"
                ))?;
                statement.query_row((sha256.0,), name_and_size).optional()?
            }
            ReadScope::Only { catalogs, repositories } => {
                let mut in_catalog = db.prepare_cached(&format!(
                    "SELECT r.name, held.size FROM {table} AS held JOIN repositories AS r
                     ON r.id = held.repository WHERE held.sha256 = ?1 AND held.catalog = ?2"
                ))?;
                let mut in_repository = db.prepare_cached(&format!(
                    "SELECT r.name, held.size FROM repositories AS r JOIN {table} AS held
                     ON held.repository = r.id WHERE held.sha256 = ?1 AND r.name = ?2"
                ))?;
                let mut held = None;
                for scope in catalogs {
                    if held.is_none() {
                        let rows = in_catalog.query_map((sha256.0, &scope.catalog), name_and_size)?;
                        held = first_admitted(scope, rows, |(repository, _)| repository)?;
                    }
                }
                for repository in repositories {
                    if held.is_none() {
                        let row = (sha256.0, repository.as_str());
                        held = in_repository.query_row(row, name_and_size).optional()?;
                    }
                }
                held
            }
        };
        if let Some((repository, size)) = held {
            return Ok(Some(Holder { repository: name(&repository)?, size }));
        }
    }
    Ok(None)
}

/// The first row whose repository is in the scope. Without globs that is the first one.
pub(super) fn first_admitted<R>(
    scope: &CatalogScope,
    rows: impl Iterator<Item = rusqlite::Result<R>>,
    repository: impl Fn(&R) -> &str,
) -> rusqlite::Result<Option<R>> {
    for row in rows {
        let row = row?;
        if scope.only.is_none() || scope.admits(&name(repository(&row))?) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn name_and_size(row: &Row<'_>) -> rusqlite::Result<(String, u64)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Each catalog of the scope is read in its own order from its own place in the index, at most a page of it.
pub(super) fn list(
    db: &Connection,
    scope: &ReadScope,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Page<RepositoryName>> {
    let most = limit.saturating_add(1);
    let mut names = Vec::new();
    match scope {
        ReadScope::Everything => {
            let mut all =
                db.prepare_cached("SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2")?;
            for row in all.query_map((after, most), |row| row.get::<_, String>(0))? {
                names.push(name(&row?)?);
            }
        }
        ReadScope::Only { catalogs, repositories } => {
            for scope in catalogs {
                match &scope.only {
                    None => list_in(db, &scope.catalog, "", after, most, |_| true, &mut names)?,
                    Some(globs) => {
                        for glob in globs {
                            let matches = |name: &RepositoryName| glob.matches(name);
                            list_in(db, &scope.catalog, glob.prefix(), after, most, matches, &mut names)?;
                        }
                    }
                }
            }
            for repository in repositories.iter().filter(|repository| repository.as_str() > after) {
                if find(db, repository)?.is_some() {
                    names.push(repository.clone());
                }
            }
            names.sort();
            names.dedup();
        }
    }
    Ok(page(names, limit))
}

/// At most so many repositories of a catalog that begin with a prefix and are admitted.
fn list_in(
    db: &Connection,
    catalog: &str,
    prefix: &str,
    after: &str,
    most: usize,
    admits: impl Fn(&RepositoryName) -> bool,
    names: &mut Vec<RepositoryName>,
) -> rusqlite::Result<()> {
    // No name holds a character behind 'z'.
    let mut statement = db.prepare_cached(
        "SELECT name FROM repositories
         WHERE catalog = ?1 AND name > ?2 AND name >= ?3 AND name < ?3 || '{' ORDER BY name",
    )?;
    let mut rows = statement.query((catalog, after, prefix))?;
    let full = names.len().saturating_add(most);
    while names.len() < full
        && let Some(row) = rows.next()?
    {
        let found = name(&row.get::<_, String>(0)?)?;
        if admits(&found) {
            names.push(found);
        }
    }
    Ok(())
}

pub(super) fn name(text: &str) -> rusqlite::Result<RepositoryName> {
    text.parse().map_err(|_| damaged("a repository name"))
}
