//! The metadata store that the settings name: its schema, and the store itself.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::meta::migrate::{Migration, Schema};
#[cfg(feature = "postgres")]
use crate::meta::postgres::{Database, DatabaseSettings, PgMeta};
use crate::meta::sqlite::SqliteMeta;
use crate::meta::{MetaError, MetaStore};
use crate::telemetry::Telemetry;

/// A metadata store that is not open yet.
pub enum Metadata {
    /// The file in the data folder, which belongs to one server.
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<Database>),
}

impl Metadata {
    /// Reads the settings. Nothing is opened.
    pub fn of(config: &Config) -> Result<Self, MetaError> {
        let Some(url) = &config.database_url else {
            return Ok(Self::Sqlite(config.data.join("quire.db")));
        };
        #[cfg(feature = "postgres")]
        return Database::new(&DatabaseSettings {
            url: url.clone(),
            direct_url: config.database_direct_url.clone(),
            connections: config.database_connections.get(),
            timeout: config.database_timeout,
        })
        .map(|database| Self::Postgres(Box::new(database)));
        #[cfg(not(feature = "postgres"))]
        {
            let _ = url;
            Err(MetaError::Broken("database_url: this quire was built without PostgreSQL".into()))
        }
    }

    /// How the schema stands to this program. Nothing is written.
    pub async fn schema(&self) -> Result<Schema, MetaError> {
        match self {
            Self::Sqlite(path) => SqliteMeta::schema(path).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.schema(PgMeta::MIGRATIONS).await,
        }
    }

    /// Runs the steps that are pending, and returns those that this process ran.
    pub async fn migrate(&self) -> Result<Vec<&'static Migration>, MetaError> {
        match self {
            Self::Sqlite(path) => SqliteMeta::migrate(path).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.migrate(PgMeta::MIGRATIONS).await,
        }
    }

    /// Runs the steps that are pending, and opens the store.
    pub async fn open(&self, telemetry: &Telemetry) -> Result<Arc<dyn MetaStore>, MetaError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteMeta::open(path, telemetry.sqlite.clone()).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                database.migrate(PgMeta::MIGRATIONS).await?;
                let store = PgMeta::new(database.pool().await?, telemetry.postgres.clone());
                Arc::new(store.listening((**database).clone()))
            }
        })
    }
}
