//! The metadata stores that the laws are about, each fresh and with some organisations.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quire::access::Actor;
use quire::meta::sqlite::{SqliteCounters, SqliteMeta};
use quire::meta::{MetaStore, NewManifest, PutManifest, WriteOrganisation};
use quire::name::RepositoryName;
use tokio::task::JoinSet;

use crate::meta_laws::{blob, digests, manifest, tag};
use crate::plugin_laws::{package, publishing};

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
    use deadpool_postgres::{Manager, Pool, Runtime};
    use quire::meta::postgres::{PgCounters, PgMeta};
    let manager = Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
    let pool = Pool::builder(manager).max_size(8).runtime(Runtime::Tokio1).build().unwrap();
    PgMeta::new(pool, PgCounters::noop())
}

/// Runs a law while sixteen others write to the same store, each in an organisation of its own. On PostgreSQL they
/// are on another node.
pub async fn among_sixteen_writers(fixture: Fixture, law: impl AsyncFnOnce(Fixture)) {
    let store = match &*fixture.place {
        Place::Folder(_) => Arc::clone(&fixture.store),
        #[cfg(feature = "postgres")]
        Place::Database(_) => fixture.again().await,
    };
    for number in 0..16 {
        Writer::organisation(&*store, number).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        writers.spawn(async move {
            let mut writer = Writer { store, number, rounds: 0 };
            while !ended.load(Ordering::Relaxed) || writer.rounds < 2 {
                writer.write().await;
                // A store has more to do than this.
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            writer.agrees().await;
        });
    }
    law(fixture.clone()).await;
    ended.store(true, Ordering::Relaxed);
    // What one of them found wrong is told here.
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

/// One of the sixteen. It changes nothing that a law counts over all of the store: neither the access version nor
/// upload sessions.
struct Writer {
    store: Arc<dyn MetaStore>,
    number: u32,
    rounds: u32,
}

impl Writer {
    async fn organisation(store: &dyn MetaStore, number: u32) {
        let id = format!("y{number}");
        let made = store.create_organisation(&id, &id, None, &Self::actor()).await.unwrap();
        assert!(matches!(made, WriteOrganisation::Written(_)));
    }

    fn actor() -> Actor {
        Actor::internal("one of sixteen")
    }

    fn name(&self, of: &str) -> String {
        format!("y{}/{of}", self.number)
    }

    /// Pushes a blob and a manifest, moves a tag and makes another, publishes a plugin, and takes back what it wrote in
    /// the round before.
    async fn write(&mut self) {
        let (store, by) = (&*self.store, Self::actor());
        let (name, plugin) = (self.name("images/app"), self.name("com.acme.tool"));
        let repository: RepositoryName = name.parse().unwrap();
        // No law has digests of these numbers.
        let seed = 1_000_000_000 + self.number * 1_000_000 + self.rounds * 2;
        store.link_blob(&repository, blob(seed), None, &by).await.unwrap().unwrap();
        let new = manifest(&name, seed + 1, &[seed], &["moves", &format!("t{}", self.rounds)]);
        let new = NewManifest { actor: by.clone(), ..new };
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
        let moved = store.tag(&repository, &tag("moves")).await.unwrap().unwrap();
        assert_eq!(moved.digests, digests(seed + 1), "what was written is read");
        let of = format!("1.{}", self.rounds);
        let new = publishing(&plugin, &package("com.acme.tool", &of, &name), "", &["stable"]);
        let new = NewManifest { actor: by.clone(), ..new };
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
        if self.rounds > 0 {
            let (blob, manifest) = (digests(seed - 2).sha256.into(), digests(seed - 1).sha256.into());
            assert!(store.delete_manifest(&repository, &manifest, &by).await.unwrap());
            assert!(store.unlink_blob(&repository, &blob, &by).await.unwrap());
            let before = tag(&format!("1.{}", self.rounds - 1));
            assert!(store.delete_tag(&plugin.parse().unwrap(), &before, &by).await.unwrap());
        }
        self.rounds += 1;
    }

    /// What is there is what was written, and the log of it has no gap.
    async fn agrees(&self) {
        let catalog = format!("y{}", self.number);
        let tags =
            self.store.tags(&self.name("images/app").parse().unwrap(), None, 9).await.unwrap().unwrap();
        assert_eq!(tags.items, [tag("moves"), tag(&format!("t{}", self.rounds - 1))]);
        let events = self.store.events(&catalog, 0, 1_000_000).await.unwrap();
        let numbers = events.iter().map(|event| event.sequence);
        assert!(numbers.eq(1..=events.len() as u64), "{catalog}");
        let usage = self.store.organisation(&catalog).await.unwrap().unwrap().usage;
        assert_eq!(usage.repositories, 2);
        let seed = 1_000_000_000 + self.number * 1_000_000 + (self.rounds - 1) * 2;
        // A blob has as many bytes as its number says, a manifest 100, a package 1000.
        let expected = u64::from(seed) + 100 + u64::from(self.rounds) * 1100;
        assert_eq!(usage.bytes, expected, "{catalog} after {} rounds", self.rounds);
    }
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
                $crate::stores::among_sixteen_writers(fixture, super::$law).await;
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
