//! API tokens and their grants.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::rows::{damaged, millis, page, sha256, time};
use super::{audit, organisations};
use crate::access::{Actor, RepositoryGlob, Role, SYSTEM_CATALOG};
use crate::digest::Sha256;
use crate::meta::{CreateToken, Page, TokenRecord};

const COLUMNS: &str = "id, name, sha256, repositories, created_by, created_at, expires_at";

pub(super) fn create(db: &Connection, token: &TokenRecord, actor: &Actor) -> rusqlite::Result<CreateToken> {
    for (catalog, _) in &token.grants {
        if organisations::find(db, catalog)?.is_none() {
            return Ok(CreateToken::CatalogUnknown(catalog.clone()));
        }
    }
    let globs: Option<Vec<&str>> =
        token.repositories.as_ref().map(|globs| globs.iter().map(RepositoryGlob::as_str).collect());
    let globs = globs.map(|globs| serde_json::to_string(&globs)).transpose().map_err(|_| damaged("globs"))?;
    db.prepare_cached(
        "INSERT INTO api_tokens (id, name, sha256, repositories, created_by, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        token.id.as_bytes(),
        &token.name,
        token.sha256.0,
        globs,
        &token.created_by,
        millis(token.created),
        token.expires.map(millis),
    ))?;
    let mut insert =
        db.prepare_cached("INSERT INTO token_grants (token, catalog, role) VALUES (?1, ?2, ?3)")?;
    for (catalog, role) in &token.grants {
        insert.execute((token.id.as_bytes(), catalog, role.as_str()))?;
    }
    tell(db, token, "token.create", actor)?;
    Ok(CreateToken::Created)
}

/// Each organisation that a token has a grant on is told.
fn tell(db: &Connection, token: &TokenRecord, action: &str, actor: &Actor) -> rusqlite::Result<()> {
    let mut catalogs: Vec<&str> = token.grants.iter().map(|(catalog, _)| catalog.as_str()).collect();
    catalogs.sort_unstable();
    catalogs.dedup();
    if catalogs.is_empty() {
        catalogs.push(SYSTEM_CATALOG);
    }
    for catalog in catalogs {
        audit::done(db, actor, action, Some(catalog), &format!("token:{}", token.id))?;
    }
    Ok(())
}

pub(super) fn by_secret(db: &Connection, secret: &Sha256) -> rusqlite::Result<Option<TokenRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE sha256 = ?1 AND revoked_at IS NULL");
    let row = db.prepare_cached(&sql)?.query_row((secret.0,), Columns::read).optional()?;
    row.map(|columns| columns.with_grants(db)).transpose()
}

pub(super) fn find(db: &Connection, id: Uuid) -> rusqlite::Result<Option<TokenRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE id = ?1 AND revoked_at IS NULL");
    let row = db.prepare_cached(&sql)?.query_row((id.as_bytes(),), Columns::read).optional()?;
    row.map(|columns| columns.with_grants(db)).transpose()
}

pub(super) fn list(
    db: &Connection,
    catalogs: Option<&[String]>,
    after: Option<Uuid>,
    limit: usize,
) -> rusqlite::Result<Page<TokenRecord>> {
    let after = after.map_or(Vec::new(), |id| id.as_bytes().to_vec());
    let most = limit.saturating_add(1);
    let mut found = Vec::new();
    match catalogs {
        None => {
            let sql = format!(
                "SELECT {COLUMNS} FROM api_tokens WHERE id > ?1 AND revoked_at IS NULL ORDER BY id LIMIT ?2"
            );
            let mut statement = db.prepare_cached(&sql)?;
            for row in statement.query_map((after, most), Columns::read)? {
                found.push(row?);
            }
        }
        Some(catalogs) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM api_tokens WHERE revoked_at IS NULL AND id IN
                     (SELECT token FROM token_grants WHERE catalog = ?1 AND token > ?2)
                 ORDER BY id LIMIT ?3"
            );
            let mut statement = db.prepare_cached(&sql)?;
            for catalog in catalogs {
                for row in statement.query_map((catalog, &after, most), Columns::read)? {
                    found.push(row?);
                }
            }
            found.sort_by_key(|columns| columns.0.id);
            found.dedup_by_key(|columns| columns.0.id);
        }
    }
    let tokens = found.into_iter().take(most).map(|columns| columns.with_grants(db));
    Ok(page(tokens.collect::<rusqlite::Result<_>>()?, limit))
}

/// Takes the grants on some catalogs away, or all; a token without grants is revoked.
pub(super) fn revoke(
    db: &Connection,
    id: Uuid,
    catalogs: Option<&[String]>,
    actor: &Actor,
) -> rusqlite::Result<bool> {
    let Some(mut token) = find(db, id)? else { return Ok(false) };
    if let Some(catalogs) = catalogs {
        let all = token.grants.len();
        token.grants.retain(|(catalog, _)| catalogs.contains(catalog));
        if token.grants.is_empty() {
            return Ok(false);
        }
        if token.grants.len() < all {
            let mut drop = db.prepare_cached("DELETE FROM token_grants WHERE token = ?1 AND catalog = ?2")?;
            for (catalog, _) in &token.grants {
                drop.execute((id.as_bytes(), catalog))?;
            }
            organisations::raise_access_version(db)?;
            tell(db, &token, "token.revoke", actor)?;
            return Ok(true);
        }
    }
    db.prepare_cached("UPDATE api_tokens SET revoked_at = ?2 WHERE id = ?1")?
        .execute((id.as_bytes(), millis(SystemTime::now())))?;
    organisations::raise_access_version(db)?;
    tell(db, &token, "token.revoke", actor)?;
    Ok(true)
}

/// A row of `api_tokens`, still without the grants.
struct Columns(TokenRecord);

impl Columns {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let globs: Option<String> = row.get(3)?;
        let globs = globs.map(|text| serde_json::from_str::<Vec<String>>(&text)).transpose();
        let globs = globs.map_err(|_| damaged("globs"))?;
        let globs = globs.map(|globs| globs.iter().map(|glob| glob.parse()).collect::<Result<_, _>>());
        Ok(Self(TokenRecord {
            id: Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).map_err(|_| damaged("a token id"))?,
            name: row.get(1)?,
            sha256: sha256(&row.get::<_, Vec<u8>>(2)?)?,
            grants: Vec::new(),
            repositories: globs.transpose().map_err(|_| damaged("globs"))?,
            created_by: row.get(4)?,
            created: time(row.get(5)?),
            expires: row.get::<_, Option<i64>>(6)?.map(time),
        }))
    }

    fn with_grants(self, db: &Connection) -> rusqlite::Result<TokenRecord> {
        let Self(mut token) = self;
        let mut statement = db.prepare_cached(
            "SELECT catalog, role FROM token_grants WHERE token = ?1 ORDER BY catalog, role",
        )?;
        let rows =
            statement.query_map((token.id.as_bytes(),), |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        for row in rows {
            let (catalog, role) = row?;
            token.grants.push((catalog, Role::parse(&role).ok_or_else(|| damaged("a role"))?));
        }
        Ok(token)
    }
}
