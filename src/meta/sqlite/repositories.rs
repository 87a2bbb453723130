//! Rows of catalogs and repositories, and what a read scope lets through.

use rusqlite::{Connection, OptionalExtension, named_params};

use super::rows::{damaged, millis, page};
use crate::access::ReadScope;
use crate::digest::Sha256;
use crate::meta::{Holder, Page};
use crate::name::RepositoryName;

pub(super) fn find(db: &Connection, repository: &RepositoryName) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?
        .query_row((repository.as_str(),), |row| row.get(0))
        .optional()
}

/// The row of the repository, made with its catalog if it was not there.
pub(super) fn find_or_make(db: &Connection, repository: &RepositoryName) -> rusqlite::Result<i64> {
    if let Some(id) = find(db, repository)? {
        return Ok(id);
    }
    let now = millis(std::time::SystemTime::now());
    db.prepare_cached("INSERT INTO catalogs (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((repository.catalog(), now))?;
    db.prepare_cached(
        "INSERT INTO repositories (catalog, name, created_at) VALUES (?1, ?2, ?3) RETURNING id",
    )?
    .query_row((repository.catalog(), repository.as_str(), now), |row| row.get(0))
}

/// A scope as the SQL condition [`IN_SCOPE`] takes it.
pub(super) struct ScopeParameters {
    pub(super) everything: bool,
    pub(super) catalogs: String,
    pub(super) repositories: String,
}

impl ScopeParameters {
    pub(super) fn new(scope: &ReadScope) -> Self {
        let json = |texts: Vec<&str>| serde_json::Value::from(texts).to_string();
        match scope {
            ReadScope::Everything => {
                Self { everything: true, catalogs: "[]".into(), repositories: "[]".into() }
            }
            ReadScope::Only { catalogs, repositories } => Self {
                everything: false,
                catalogs: json(catalogs.iter().map(String::as_str).collect()),
                repositories: json(repositories.iter().map(RepositoryName::as_str).collect()),
            },
        }
    }
}

/// A condition on `r`, a row of `repositories`.
pub(super) const IN_SCOPE: &str = "(:everything \
     OR r.catalog IN (SELECT value FROM json_each(:catalogs)) \
     OR r.name IN (SELECT value FROM json_each(:repositories)))";

pub(super) fn holder(
    db: &Connection,
    sha256: &Sha256,
    scope: &ReadScope,
) -> rusqlite::Result<Option<Holder>> {
    let scope = ScopeParameters::new(scope);
    let sql = format!(
        "SELECT r.name, held.size FROM (
             SELECT repository, size FROM blob_links WHERE sha256 = :sha256
             UNION ALL
             SELECT repository, size FROM manifests WHERE sha256 = :sha256
         ) AS held JOIN repositories AS r ON r.id = held.repository
         WHERE {IN_SCOPE} LIMIT 1"
    );
    db.prepare_cached(&sql)?
        .query_row(
            named_params! {
                ":sha256": sha256.0,
                ":everything": scope.everything,
                ":catalogs": scope.catalogs,
                ":repositories": scope.repositories,
            },
            |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
        )
        .optional()?
        .map(|(repository, size)| Ok(Holder { repository: name(&repository)?, size }))
        .transpose()
}

pub(super) fn list(
    db: &Connection,
    scope: &ReadScope,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Page<RepositoryName>> {
    let scope = ScopeParameters::new(scope);
    let sql = format!(
        "SELECT r.name FROM repositories AS r WHERE r.name > :after AND {IN_SCOPE}
         ORDER BY r.name LIMIT :limit"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":after": after,
            ":everything": scope.everything,
            ":catalogs": scope.catalogs,
            ":repositories": scope.repositories,
            ":limit": limit.saturating_add(1),
        },
        |row| row.get::<_, String>(0),
    )?;
    let names = rows.map(|row| name(&row?)).collect::<rusqlite::Result<_>>()?;
    Ok(page(names, limit))
}

pub(super) fn name(text: &str) -> rusqlite::Result<RepositoryName> {
    text.parse().map_err(|_| damaged("a repository name"))
}
