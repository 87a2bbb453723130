//! API tokens and their grants.

use tokio_postgres::Row;
use uuid::Uuid;

use super::db::Db;
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::organisations;
use super::rows::{millis, most, now, page, text, texts, time};
use super::transaction::Work;
use crate::access::{Actor, RepositoryGlob, Role, SYSTEM_CATALOG};
use crate::digest::Sha256;
use crate::meta::{CreateToken, Page, TokenRecord};

const SELECT: &str =
    "SELECT t.id, t.name, t.sha256, t.repositories, t.created_by, t.created_at, t.expires_at,
         ARRAY (SELECT g.catalog FROM token_grants AS g WHERE g.token = t.id ORDER BY g.catalog, g.role),
         ARRAY (SELECT g.role FROM token_grants AS g WHERE g.token = t.id ORDER BY g.catalog, g.role)
     FROM api_tokens AS t WHERE t.revoked_at IS NULL";

fn token(row: &Row) -> Result<TokenRecord> {
    let globs: Option<Vec<&str>> = row.try_get(3)?;
    let globs: Option<std::result::Result<Vec<RepositoryGlob>, _>> =
        globs.map(|globs| globs.iter().map(|glob| glob.parse()).collect());
    let (catalogs, roles): (Vec<String>, Vec<&str>) = (row.try_get(7)?, row.try_get(8)?);
    let grant = |(catalog, role)| Ok((catalog, Role::parse(role).ok_or(Failure::Damaged("a role"))?));
    Ok(TokenRecord {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        sha256: row.try_get(2)?,
        grants: catalogs.into_iter().zip(roles).map(grant).collect::<Result<_>>()?,
        repositories: globs.transpose().map_err(|_| Failure::Damaged("globs"))?,
        created_by: row.try_get(4)?,
        created: time(row.try_get(5)?),
        expires: row.try_get::<_, Option<i64>>(6)?.map(time),
    })
}

pub(super) async fn create(work: &mut Work, token: &TokenRecord, actor: &Actor) -> Result<CreateToken> {
    work.lock(token.grants.iter().map(|(catalog, _)| (Lock::Catalog(catalog), Mode::Shared))).await?;
    for (catalog, _) in &token.grants {
        if !organisations::exists(work, catalog).await? {
            return Ok(CreateToken::CatalogUnknown(catalog.clone()));
        }
    }
    let globs: Option<Vec<&str>> =
        token.repositories.as_ref().map(|globs| globs.iter().map(RepositoryGlob::as_str).collect());
    work.execute(
        "INSERT INTO api_tokens (id, name, sha256, repositories, created_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &token.id,
            &text(&token.name),
            &token.sha256,
            &globs,
            &text(&token.created_by),
            &millis(token.created),
            &token.expires.map(millis),
        ],
    )
    .await?;
    let (catalogs, roles): (Vec<&str>, Vec<&str>) =
        token.grants.iter().map(|(catalog, role)| (catalog.as_str(), role.as_str())).unzip();
    work.execute(
        "INSERT INTO token_grants (token, catalog, role) SELECT $1, g.* FROM unnest($2::text[], $3::text[]) AS g",
        &[&token.id, &catalogs, &roles],
    )
    .await?;
    tell(work, token, "token.create", actor);
    Ok(CreateToken::Created)
}

/// Each organisation that a token has a grant on is told.
fn tell(work: &mut Work, token: &TokenRecord, action: &str, actor: &Actor) {
    let mut catalogs: Vec<&str> = token.grants.iter().map(|(catalog, _)| catalog.as_str()).collect();
    catalogs.sort_unstable();
    catalogs.dedup();
    if catalogs.is_empty() {
        catalogs.push(SYSTEM_CATALOG);
    }
    for catalog in catalogs {
        work.tell(actor, action, Some(catalog), &format!("token:{}", token.id));
    }
}

pub(super) async fn by_secret(db: &Db, secret: &Sha256) -> Result<Option<TokenRecord>> {
    let row = db.row(&format!("{SELECT} AND t.sha256 = $1"), &[secret]).await?;
    row.as_ref().map(token).transpose()
}

pub(super) async fn find(db: &Db, id: Uuid) -> Result<Option<TokenRecord>> {
    let row = db.row(&format!("{SELECT} AND t.id = $1"), &[&id]).await?;
    row.as_ref().map(token).transpose()
}

/// Tokens with a grant on one of some catalogs, each catalog from its own place in the index.
const IDS: &str = "SELECT DISTINCT found.token FROM unnest($3::text[]) AS wanted (catalog) CROSS JOIN LATERAL
     (SELECT DISTINCT g.token FROM token_grants AS g JOIN api_tokens AS n ON n.id = g.token
      WHERE g.catalog = wanted.catalog AND g.token > $1 AND n.revoked_at IS NULL ORDER BY g.token LIMIT $2)
     AS found ORDER BY found.token LIMIT $2";

pub(super) async fn list(
    db: &Db,
    catalogs: Option<&[String]>,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Page<TokenRecord>> {
    let (after, most) = (after.unwrap_or(Uuid::nil()), most(limit.saturating_add(1)));
    let rows = match catalogs {
        None => {
            let sql = format!("{SELECT} AND t.id > $1 ORDER BY t.id LIMIT $2");
            db.rows(&sql, &[&after, &most]).await?
        }
        Some(catalogs) => {
            let sql = format!("{SELECT} AND t.id = ANY (ARRAY ({IDS})) ORDER BY t.id LIMIT $2");
            db.rows(&sql, &[&after, &most, &texts(catalogs)]).await?
        }
    };
    Ok(page(rows.iter().map(token).collect::<Result<_>>()?, limit))
}

/// Takes the grants on some catalogs away, or all; a token without grants is revoked.
pub(super) async fn revoke(
    work: &mut Work,
    id: Uuid,
    catalogs: Option<&[String]>,
    actor: &Actor,
) -> Result<bool> {
    // Of two who revoke, the second finds what the first left.
    work.row("SELECT id FROM api_tokens WHERE id = $1 FOR UPDATE", &[&id]).await?;
    let Some(mut token) = find(work, id).await? else { return Ok(false) };
    if let Some(catalogs) = catalogs {
        let all = token.grants.len();
        token.grants.retain(|(catalog, _)| catalogs.contains(catalog));
        if token.grants.is_empty() {
            return Ok(false);
        }
        if token.grants.len() < all {
            let sql = "DELETE FROM token_grants WHERE token = $1 AND catalog = ANY ($2)";
            work.execute(sql, &[&id, &texts(catalogs)]).await?;
            work.raise_access_version();
            tell(work, &token, "token.revoke", actor);
            return Ok(true);
        }
    }
    work.execute("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1", &[&id, &now()]).await?;
    work.raise_access_version();
    tell(work, &token, "token.revoke", actor);
    Ok(true)
}
