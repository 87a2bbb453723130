//! What catalogs hold, as transactions change it: in shards, so that writers to one catalog seldom wait for each other.

use std::collections::BTreeMap;

use tokio_postgres::Statement;

use super::db::Db;
use super::failure::Result;

/// Over how many rows writers of a catalog spread what they count.
const SHARDS: i32 = 16;

/// What a catalog gained, or with negative numbers lost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    pub bytes: i64,
    pub repositories: i64,
}

const COUNT: &str = "INSERT INTO catalog_usage AS u (catalog, shard, bytes, repositories)
     SELECT g.catalog, pg_backend_pid() % $1, g.bytes, g.repositories
     FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS g (catalog, bytes, repositories)
     ON CONFLICT (catalog, shard) DO UPDATE
     SET bytes = u.bytes + excluded.bytes, repositories = u.repositories + excluded.repositories";

/// What a transaction counted, ready to be sent.
pub(super) struct UsageUpdate<'a> {
    /// `None`: nothing changed.
    statement: Option<Statement>,
    /// In the order of the catalogs.
    growth: Vec<(&'a str, Growth)>,
}

impl<'a> UsageUpdate<'a> {
    pub(super) async fn prepare(db: &Db, growth: &'a BTreeMap<String, Growth>) -> Result<Self> {
        let changed = growth.iter().filter(|(_, growth)| **growth != Growth::default());
        let growth: Vec<_> = changed.map(|(catalog, growth)| (catalog.as_str(), *growth)).collect();
        let statement = if growth.is_empty() { None } else { Some(db.prepare(COUNT).await?) };
        Ok(Self { statement, growth })
    }

    pub(super) async fn run(&self, db: &Db) -> Result<()> {
        let Some(statement) = &self.statement else { return Ok(()) };
        let catalogs: Vec<&str> = self.growth.iter().map(|(catalog, _)| *catalog).collect();
        let bytes: Vec<i64> = self.growth.iter().map(|(_, growth)| growth.bytes).collect();
        let repositories: Vec<i64> = self.growth.iter().map(|(_, growth)| growth.repositories).collect();
        db.execute_prepared(statement, &[&SHARDS, &catalogs, &bytes, &repositories]).await?;
        Ok(())
    }
}
