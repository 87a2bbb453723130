//! Rows of repositories, and where a read scope lets one look.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::db::{Db, Parameters};
use super::failure::{Failure, Result};
use super::rows::{before_nul, most, now, page, unsigned};
use super::scopes::{Globs, Pieces};
use super::transaction::Work;
use crate::access::ReadScope;
use crate::digest::Sha256;
use crate::meta::{Holder, Page};
use crate::name::RepositoryName;

pub(super) async fn find(db: &Db, repository: &RepositoryName) -> Result<Option<i64>> {
    let row = db.row("SELECT id FROM repositories WHERE name = $1", &[repository]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// The row of a repository, which stays until the transaction ends.
pub(super) async fn hold(work: &Work, repository: &RepositoryName) -> Result<Option<i64>> {
    let sql = "SELECT id FROM repositories WHERE name = $1 FOR KEY SHARE";
    let row = work.row(sql, &[repository]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// The row of a repository that was not there a moment ago.
pub(super) async fn make(work: &mut Work, repository: &RepositoryName, known: Option<i64>) -> Result<i64> {
    if let Some(id) = known {
        return Ok(id);
    }
    let catalog = repository.catalog();
    loop {
        let made = work
            .row(
                "INSERT INTO repositories (catalog, name, created_at) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO NOTHING RETURNING id",
                &[&catalog, repository, &now()],
            )
            .await?;
        if let Some(row) = made {
            work.count(catalog, 0, 1);
            return Ok(row.try_get(0)?);
        }
        // Somebody else made it meanwhile. By now it may even be gone again.
        if let Some(id) = hold(work, repository).await? {
            return Ok(id);
        }
    }
}

/// Removes the row of a repository that holds nothing any more, and that nobody has to remember anything of.
pub(super) async fn forget_if_empty(work: &mut Work, repository: &RepositoryName, id: i64) -> Result<()> {
    // Who brings something in, or takes the rest out, is waited for.
    work.row("SELECT id FROM repositories WHERE id = $1 FOR UPDATE", &[&id]).await?;
    let forgotten = work
        .execute(
            "DELETE FROM repositories WHERE id = $1
             AND (SELECT 1 FROM blob_links WHERE repository = $1 ORDER BY sha256 LIMIT 1) IS NULL
             AND (SELECT 1 FROM manifests WHERE repository = $1 ORDER BY sha256 LIMIT 1) IS NULL
             AND (SELECT 1 FROM tombstones WHERE repository = $1 ORDER BY tag LIMIT 1) IS NULL",
            &[&id],
        )
        .await?;
    if forgotten > 0 {
        work.count(repository.catalog(), 0, -1);
    }
    Ok(())
}

// Some digests are in every repository, that of `{}` for one. Where many rows match, PostgreSQL likes to read a table
// from its beginning until it meets one; an order that only the index has keeps it from that. A catalog is a range of
// one for the same reason: rows that are all of one catalog would need no order.

/// The row of a repository that has a digest, as `SELECT r.name` and some columns of what it has as `held`.
macro_rules! held_anywhere {
    ($columns:literal, $table:literal, $digest:literal) => {
        concat!(
            "(SELECT r.name, ",
            $columns,
            " FROM ",
            $table,
            " AS held JOIN repositories AS r ON r.id = held.repository WHERE held.",
            $digest,
            " = $1 ORDER BY held.catalog LIMIT 1)"
        )
    };
}
pub(super) use held_anywhere;

/// The same in a scope: of its catalogs, its repositories, or what its globs match.
macro_rules! held_in_scope {
    ($columns:literal, $table:literal, $digest:literal) => {
        concat!(
            "(SELECT found.* FROM unnest($2::text[]) AS whole (catalog) CROSS JOIN LATERAL
                 (SELECT r.name, ",
            $columns,
            " FROM ",
            $table,
            " AS held JOIN repositories AS r ON r.id = held.repository WHERE held.",
            $digest,
            " = $1 AND held.catalog >= whole.catalog AND held.catalog <= whole.catalog
                  ORDER BY held.catalog LIMIT 1) AS found LIMIT 1)
             UNION ALL (SELECT r.name, ",
            $columns,
            " FROM repositories AS r CROSS JOIN LATERAL (SELECT * FROM ",
            $table,
            " AS held WHERE held.repository = r.id AND held.",
            $digest,
            " = $1 OFFSET 0) AS held WHERE r.name = ANY ($3) LIMIT 1)
             UNION ALL (SELECT found.* FROM unnest($4::text[], $5::text[]) AS g (catalog, pattern)
                 CROSS JOIN LATERAL (SELECT r.name, ",
            $columns,
            " FROM ",
            $table,
            " AS held JOIN repositories AS r ON r.id = held.repository WHERE held.",
            $digest,
            " = $1 AND held.catalog >= g.catalog AND held.catalog <= g.catalog AND r.name ~ g.pattern
                  ORDER BY held.catalog LIMIT 1) AS found LIMIT 1)"
        )
    };
}
pub(super) use held_in_scope;

pub(super) const HOLDER: &str = concat!(
    held_anywhere!("held.size", "blob_links", "sha256"),
    " UNION ALL ",
    held_anywhere!("held.size", "manifests", "sha256"),
    " LIMIT 1"
);
pub(super) const HOLDER_IN_SCOPE: &str = concat!(
    held_in_scope!("held.size", "blob_links", "sha256"),
    " UNION ALL ",
    held_in_scope!("held.size", "manifests", "sha256"),
    " LIMIT 1"
);

/// A repository of the scope that has the digest, as a blob or as a manifest.
pub(super) async fn holder(db: &Db, sha256: &Sha256, scope: &ReadScope) -> Result<Option<Holder>> {
    let row = row_in_scope(db, HOLDER, HOLDER_IN_SCOPE, sha256, scope).await?;
    row.map(|row| Ok(Holder { repository: row.try_get(0)?, size: unsigned(&row, 1)? })).transpose()
}

/// Asks one of two statements, whichever the scope needs, for a row that begins with a repository's name.
pub(super) async fn row_in_scope(
    db: &Db,
    anywhere: &str,
    in_scope: &str,
    digest: &(dyn ToSql + Sync),
    scope: &ReadScope,
) -> Result<Option<Row>> {
    let row = match Pieces::of(scope) {
        None => db.row(anywhere, &[digest]).await?,
        Some(Pieces { whole, repositories, globs }) => {
            db.row(in_scope, &[digest, &whole, &repositories, &globs.catalogs, &globs.patterns]).await?
        }
    };
    // The scope itself has the last word: a statement that matches otherwise shows nobody anything.
    match &row {
        Some(found) if !scope.contains(&found.try_get(0)?) => Err(Failure::Damaged("a repository")),
        _ => Ok(row),
    }
}

pub(super) const LIST: &str = "SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2";
/// Each catalog and each glob is read in order from its own place in the index, at most a page of it.
/// No name holds a character behind 'z'.
pub(super) const LIST_IN_SCOPE: &str = "
    SELECT name FROM (
        SELECT found.name FROM unnest($3::text[]) AS whole (catalog) CROSS JOIN LATERAL
            (SELECT r.name FROM repositories AS r WHERE r.catalog = whole.catalog AND r.name > $1
             ORDER BY r.name LIMIT $2) AS found
        UNION SELECT r.name FROM repositories AS r WHERE r.name = ANY ($4) AND r.name > $1
        UNION SELECT found.name FROM unnest($5::text[], $6::text[], $7::text[]) AS g (catalog, prefix, pattern)
            CROSS JOIN LATERAL
            (SELECT r.name FROM repositories AS r WHERE r.catalog = g.catalog AND r.name > $1
             AND r.name >= g.prefix AND r.name < g.prefix || '{' AND r.name ~ g.pattern
             ORDER BY r.name LIMIT $2) AS found) AS all_of_them
    ORDER BY name LIMIT $2";

pub(super) async fn list(
    db: &Db,
    scope: &ReadScope,
    after: &str,
    limit: usize,
) -> Result<Page<RepositoryName>> {
    let (after, most) = (before_nul(after), most(limit.saturating_add(1)));
    let rows = match Pieces::of(scope) {
        None => db.rows(LIST, &[&after, &most]).await?,
        Some(Pieces { whole, repositories, globs: Globs { catalogs, prefixes, patterns } }) => {
            let parameters: Parameters<'_> =
                &[&after, &most, &whole, &repositories, &catalogs, &prefixes, &patterns];
            db.rows(LIST_IN_SCOPE, parameters).await?
        }
    };
    let names = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?;
    Ok(page(names, limit))
}

/// A row that has to be there because another one refers to it.
pub(super) async fn held(db: &Db, repository: &RepositoryName) -> Result<i64> {
    find(db, repository).await?.ok_or(Failure::Damaged("a manifest of no repository"))
}
