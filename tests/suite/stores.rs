//! The metadata stores that the laws are about, each fresh and with some organisations.

use std::path::PathBuf;
use std::sync::Arc;

use quire::access::Actor;
use quire::meta::MetaStore;
use quire::meta::sqlite::{SqliteCounters, SqliteMeta};

#[cfg(feature = "postgres")]
use crate::harness::postgres::{Database, cluster};

/// A store, and what has to live as long as it.
#[derive(Clone)]
pub struct Fixture {
    pub store: Arc<dyn MetaStore>,
    /// Behind the store, as what is dropped first is closed first.
    place: Arc<Place>,
}

enum Place {
    Folder(tempfile::TempDir),
    #[cfg(feature = "postgres")]
    Database(Database),
}

impl Fixture {
    async fn of(store: Arc<dyn MetaStore>, place: Place) -> Self {
        for id in ["a", "b", "c", "x"] {
            store.create_organisation(id, id, None, &Actor::internal("tester")).await.unwrap();
        }
        Self { store, place: Arc::new(place) }
    }

    /// Opens what is stored once more, as another process would.
    pub async fn again(&self) -> Arc<dyn MetaStore> {
        match &*self.place {
            Place::Folder(_) => Arc::new(open(self.sqlite_file()).await),
            #[cfg(feature = "postgres")]
            Place::Database(database) => Arc::new(connected(&database.url())),
        }
    }

    /// The same, by a store that has PostgreSQL tell it of what others write.
    #[cfg(feature = "postgres")]
    pub fn listening(&self) -> Arc<dyn MetaStore> {
        use quire::meta::postgres::{Database, DatabaseSettings};
        let Place::Database(database) = &*self.place else { panic!("SQLite tells nobody") };
        let (url, timeout) = (database.url(), std::time::Duration::from_secs(30));
        let settings = DatabaseSettings { url: url.clone(), direct_url: None, connections: 8, timeout };
        Arc::new(connected(&url).listening(Database::new(&settings).unwrap()))
    }

    /// The same store as another node has it, where there can be one.
    #[cfg(any(feature = "interop", feature = "postgres"))]
    pub async fn on_another_node(&self) -> Arc<dyn MetaStore> {
        match &*self.place {
            Place::Folder(_) => Arc::clone(&self.store),
            #[cfg(feature = "postgres")]
            Place::Database(_) => self.again().await,
        }
    }

    /// The database file of SQLite.
    pub fn sqlite_file(&self) -> PathBuf {
        match &*self.place {
            Place::Folder(folder) => folder.path().join("quire.db"),
            #[cfg(feature = "postgres")]
            Place::Database(_) => panic!("there is no file"),
        }
    }
}

async fn open(file: PathBuf) -> SqliteMeta {
    SqliteMeta::open(&file, SqliteCounters::noop()).await.unwrap()
}

pub async fn sqlite() -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().join("quire.db")).await;
    Some(Fixture::of(Arc::new(store), Place::Folder(folder)).await)
}

/// `None`: there is no PostgreSQL, which was told.
#[cfg(feature = "postgres")]
pub async fn postgres() -> Option<Fixture> {
    let database = tokio::task::spawn_blocking(|| Some(cluster()?.database())).await.unwrap()?;
    let store = connected(&database.url());
    Some(Fixture::of(Arc::new(store), Place::Database(database)).await)
}

/// A store with a pool of its own, as another node has it.
#[cfg(feature = "postgres")]
pub fn connected(url: &str) -> quire::meta::postgres::PgMeta {
    connected_by(url, 8)
}

/// The same over at most so many connections.
#[cfg(feature = "postgres")]
pub fn connected_by(url: &str, connections: usize) -> quire::meta::postgres::PgMeta {
    use deadpool_postgres::{Manager, Pool, Runtime};
    use quire::meta::postgres::{PgCounters, PgMeta};
    let manager = Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
    let pool = Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().unwrap();
    PgMeta::new(pool, PgCounters::noop())
}

/// Stamps laws as one test each for every store, alone and among sixteen writers. Those that have writers of their own
/// are `contended`.
macro_rules! laws {
    (contended: $($law:ident)+) => {
        $crate::stores::laws! { @sqlite: $($law)+ }
        #[cfg(feature = "postgres")]
        $crate::stores::laws! { @postgres: $($law)+ }
    };
    (@$store:ident: $($law:ident)+) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let Some(fixture) = $crate::stores::$store().await else { return };
                super::$law(fixture).await;
            })+
        }
    };
    (@$store:ident as $module:ident: $($law:ident)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let Some(fixture) = $crate::stores::$store().await else { return };
                $crate::among_writers::among_sixteen_writers(fixture, super::$law).await;
            })+
        }
    };
    ($($law:ident)+) => {
        $crate::stores::laws! { contended: $($law)+ }
        #[cfg(feature = "interop")]
        $crate::stores::laws! { @sqlite as sqlite_among_sixteen_writers: $($law)+ }
        #[cfg(feature = "postgres")]
        $crate::stores::laws! { @postgres as postgres_among_sixteen_writers: $($law)+ }
    };
}
pub(crate) use laws;
