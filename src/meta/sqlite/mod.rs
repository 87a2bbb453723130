//! Metadata in one SQLite file: write-ahead log, every commit synced, one writer, several readers.

mod api_tokens;
mod audit;
mod blobs;
mod blocks;
mod digests;
mod enablements;
mod events;
mod feed;
mod keys;
mod manifests;
mod migrations;
mod organisations;
mod plugin_lists;
mod plugin_store;
mod plugin_versions;
mod repositories;
mod rows;
mod tag_rules;
mod tag_writes;
mod tags;
mod uploads;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use metrics::Counter;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use self::feed::SqliteFeed;
use self::rows::damaged;
use self::writer::Writer;
use super::feed::{Feed, Nudge};
use super::migrate::{Migration, Schema};
use super::{
    AuditEntry, AuditRecord, BlobRecord, CatalogRefusal, CreateToken, DeleteOrganisation, Event, Holder,
    ImmutableTags, KeyRecord, ManifestRecord, MetaError, MetaStore, MountBlob, MountSource, NewManifest,
    Node, Organisation, OrganisationChange, Page, PutManifest, Referrer, TagWrite, TokenRecord, Upload,
    WriteOrganisation, WriteTags,
};
use crate::access::{Actor, ReadScope};
use crate::digest::{Digest, Sha256};
use crate::name::{RepositoryName, Tag};
use crate::staging::Checkpoint;

/// Connections that read at the same time.
const READERS: usize = 4;

/// How often the database was asked, for `/metrics` and for tests that count.
#[derive(Clone)]
pub struct SqliteCounters {
    pub reads: Counter,
    pub writes: Counter,
    /// Looks at the access version, twice a second, and at what other processes wrote, when they did.
    pub polls: Counter,
}

impl SqliteCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self { reads: Counter::noop(), writes: Counter::noop(), polls: Counter::noop() }
    }
}

/// The SQLite implementation of [`MetaStore`].
pub struct SqliteMeta {
    writer: Writer,
    readers: Arc<Readers>,
    /// For what other nodes change: it has to be seen in time, however busy the others are.
    poller: Arc<Readers>,
    counters: SqliteCounters,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    /// As many as there are connections.
    permits: Arc<Semaphore>,
}

impl Readers {
    fn of(connections: Vec<Connection>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Arc::new(Self { permits, idle: Mutex::new(connections) })
    }
}

/// A connection that goes back when it is dropped, also by a panic, and before its permit does.
struct Borrowed {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.connection.take());
    }
}

impl SqliteMeta {
    /// Opens or makes the database file, and runs the migrations that it lacks.
    pub async fn open(path: &Path, counters: SqliteCounters) -> Result<Self, MetaError> {
        let path = path.to_owned();
        let (writing, mut reading) = spawn_blocking(move || connect(&path))
            .await
            .map_err(|error| MetaError::Broken(error.to_string()))??;
        let writer = Writer::start(writing)?;
        let poller = Readers::of(reading.split_off(READERS));
        Ok(Self { writer, readers: Readers::of(reading), poller, counters })
    }

    /// How the schema of a database file stands to this program. Changes nothing, also where no file is.
    pub async fn schema(path: &Path) -> Result<Schema, MetaError> {
        let path = path.to_owned();
        spawn_blocking(move || migrations::look(&path))
            .await
            .map_err(|error| MetaError::Broken(error.to_string()))?
    }

    /// Runs the migrations that a database file lacks, and returns those.
    pub async fn migrate(path: &Path) -> Result<Vec<&'static Migration>, MetaError> {
        let path = path.to_owned();
        let migrated = spawn_blocking(move || migrations::run(&mut open_writing(&path)?));
        migrated.await.map_err(|error| MetaError::Broken(error.to_string()))?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        self.counters.reads.increment(1);
        look(&self.readers, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        self.counters.writes.increment(1);
        self.writer.write(work).await
    }
}

/// Lends one of the connections to some work on a blocking thread.
async fn look<T: Send + 'static>(
    readers: &Arc<Readers>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, MetaError> {
    let readers = Arc::clone(readers);
    let permit = Arc::clone(&readers.permits).acquire_owned().await;
    let permit = permit.map_err(|_| MetaError::Broken("the store is closed".into()))?;
    // The job keeps connection and permit together to its end, also when the request is given up meanwhile.
    let read = spawn_blocking(move || {
        let connection = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let borrowed = Borrowed { connection, readers, _permit: permit };
        match &borrowed.connection {
            Some(connection) => work(connection).map_err(broken),
            None => Err(MetaError::Broken("no reading connection is left".into())),
        }
    });
    read.await.map_err(|error| MetaError::Broken(error.to_string()))?
}

fn open_writing(path: &Path) -> Result<Connection, MetaError> {
    // SQLite would make it readable for everybody, and it holds the key that signs tokens.
    let private = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    private.map_err(|error| MetaError::Broken(format!("{}: {error}", path.display())))?;
    let writing = Connection::open(path).map_err(broken)?;
    set_up(&writing).map_err(broken)?;
    Ok(writing)
}

fn connect(path: &Path) -> Result<(Connection, Vec<Connection>), MetaError> {
    let mut writing = open_writing(path)?;
    migrations::run(&mut writing)?;
    let mut reading = Vec::with_capacity(READERS);
    for _ in 0..=READERS {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
        set_up(&connection).map_err(broken)?;
        reading.push(connection);
    }
    Ok((writing, reading))
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // SQLite declines by answering with another mode, on a file system without shared memory for example.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode.eq_ignore_ascii_case("wal") { Ok(()) } else { Err(damaged("a journal mode")) }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

#[async_trait]
impl MetaStore for SqliteMeta {
    async fn probe(&self) -> Result<(), MetaError> {
        self.read(|db| db.query_row("SELECT 1 FROM schema_migrations", (), |_| Ok(()))).await
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobRecord>, MetaError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |db| blobs::find(db, &repository, &digest)).await
    }

    async fn link_blob(
        &self,
        repository: &RepositoryName,
        blob: BlobRecord,
        upload: Option<Uuid>,
        actor: &Actor,
    ) -> Result<Result<(), CatalogRefusal>, MetaError> {
        let (repository, actor) = (repository.clone(), actor.clone());
        self.write(move |db| blobs::link(db, &repository, &blob, upload, &actor)).await
    }

    async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        source: MountSource,
        actor: &Actor,
    ) -> Result<MountBlob, MetaError> {
        let (repository, digest, actor) = (repository.clone(), *digest, actor.clone());
        // Most mounts that are tried find nothing: those need not wait for the writer, nor hold it up.
        let tried = source.clone();
        if self.read(move |db| blobs::find_source(db, &digest, &tried)).await?.is_none() {
            return Ok(MountBlob::Absent);
        }
        self.write(move |db| blobs::mount(db, &repository, &digest, &source, &actor)).await
    }

    async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (repository, digest, actor) = (repository.clone(), *digest, actor.clone());
        self.write(move |db| blobs::unlink(db, &repository, &digest, &actor)).await
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<ManifestRecord>, MetaError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |db| manifests::find(db, &repository, &digest)).await
    }

    async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<ManifestRecord>, MetaError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.read(move |db| tags::resolve(db, &repository, &tag)).await
    }

    async fn holder(&self, sha256: &Sha256, scope: &ReadScope) -> Result<Option<Holder>, MetaError> {
        let (sha256, scope) = (*sha256, scope.clone());
        self.read(move |db| repositories::holder(db, &sha256, &scope)).await
    }

    async fn digests(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, MetaError> {
        self.read(move |db| digests::list(db, after, limit)).await
    }

    async fn hot_digests(
        &self,
        after: Option<Sha256>,
        limit: usize,
    ) -> Result<Vec<(Sha256, u64)>, MetaError> {
        let (mut hot, mut after) = (Vec::new(), after);
        loop {
            let wanted = limit - hot.len();
            let look = self.read(move |db| digests::list_hot(db, after, wanted)).await?;
            hot.extend(look.digests);
            if hot.len() == limit || look.seen.is_none() {
                return Ok(hot);
            }
            after = look.seen;
        }
    }

    async fn check_manifest(&self, new: &NewManifest) -> Result<PutManifest, MetaError> {
        let new = new.clone();
        self.read(move |db| manifests::check(db, &new)).await
    }

    async fn put_manifest(&self, new: NewManifest) -> Result<PutManifest, MetaError> {
        self.write(move |db| manifests::put(db, &new)).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (repository, digest, actor) = (repository.clone(), *digest, actor.clone());
        self.write(move |db| manifests::delete(db, &repository, &digest, &actor)).await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (repository, tag, actor) = (repository.clone(), tag.clone(), actor.clone());
        self.write(move |db| tags::delete(db, &repository, &tag, &actor)).await
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>, MetaError> {
        let (repository, after) = (repository.clone(), after.unwrap_or_default().to_owned());
        self.read(move |db| tags::list(db, &repository, &after, limit)).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Sha256>,
    ) -> Result<Page<Referrer>, MetaError> {
        let (repository, subject) = (repository.clone(), *subject);
        let artifact_type = artifact_type.map(str::to_owned);
        self.read(move |db| manifests::referrers(db, &repository, &subject, artifact_type.as_deref(), after))
            .await
    }

    async fn repositories(
        &self,
        scope: &ReadScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, MetaError> {
        let (scope, after) = (scope.clone(), after.unwrap_or_default().to_owned());
        self.read(move |db| repositories::list(db, &scope, &after, limit)).await
    }

    async fn announce_node(&self, node: &Node) -> Result<(), MetaError> {
        let node = node.clone();
        self.write(move |db| uploads::announce(db, &node)).await
    }

    async fn create_upload(&self, upload: Upload) -> Result<(), MetaError> {
        self.write(move |db| uploads::create(db, &upload)).await
    }

    async fn upload(&self, id: Uuid) -> Result<Option<Upload>, MetaError> {
        self.read(move |db| uploads::find(db, id)).await
    }

    async fn checkpoint_upload(&self, id: Uuid, checkpoint: Checkpoint) -> Result<bool, MetaError> {
        self.write(move |db| uploads::checkpoint(db, id, &checkpoint)).await
    }

    async fn drop_upload(&self, id: Uuid) -> Result<bool, MetaError> {
        self.write(move |db| uploads::drop(db, id)).await
    }

    async fn expire_upload(&self, id: Uuid, idle: Duration) -> Result<bool, MetaError> {
        self.write(move |db| uploads::expire(db, id, idle)).await
    }

    async fn stale_uploads(
        &self,
        node: Option<Uuid>,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Uuid>, MetaError> {
        self.read(move |db| uploads::stale(db, node, idle, limit)).await
    }

    async fn staged_bytes(&self, catalog: &str) -> Result<u64, MetaError> {
        let catalog = catalog.to_owned();
        self.read(move |db| uploads::staged_bytes(db, &catalog)).await
    }

    async fn follow(&self, nudge: Nudge) -> Result<Box<dyn Feed>, MetaError> {
        let (readers, others) = (Arc::clone(&self.poller), self.writer.others.clone());
        let counters = self.counters.clone();
        Ok(Box::new(SqliteFeed { readers, others, nudge, counters, known: None }))
    }

    async fn sequence(&self, catalog: &str) -> Result<u64, MetaError> {
        let catalog = catalog.to_owned();
        self.read(move |db| events::sequence(db, &catalog)).await
    }

    async fn events(&self, catalog: &str, after: u64, limit: usize) -> Result<Vec<Event>, MetaError> {
        let catalog = catalog.to_owned();
        self.read(move |db| events::list(db, &catalog, after, limit)).await
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Event>, MetaError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.read(move |db| events::of_tag(db, &repository, &tag, before, limit)).await
    }

    async fn write_tags(&self, tags: Vec<TagWrite>, actor: &Actor) -> Result<WriteTags, MetaError> {
        let actor = actor.clone();
        self.write(move |db| tag_writes::write_all(db, &tags, &actor)).await
    }

    async fn tag_rules(&self, catalog: &str) -> Result<Vec<ImmutableTags>, MetaError> {
        let catalog = catalog.to_owned();
        self.read(move |db| tag_rules::list(db, &catalog)).await
    }

    async fn set_tag_rules(
        &self,
        catalog: &str,
        rules: Vec<ImmutableTags>,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (catalog, actor) = (catalog.to_owned(), actor.clone());
        self.write(move |db| tag_rules::replace(db, &catalog, &rules, &actor)).await
    }

    async fn create_organisation(
        &self,
        id: &str,
        name: &str,
        domain: Option<&str>,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError> {
        let (id, name, domain) = (id.to_owned(), name.to_owned(), domain.map(str::to_owned));
        let actor = actor.clone();
        self.write(move |db| organisations::create(db, &id, &name, domain.as_deref(), &actor)).await
    }

    async fn update_organisation(
        &self,
        id: &str,
        change: OrganisationChange,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError> {
        let (id, actor) = (id.to_owned(), actor.clone());
        self.write(move |db| organisations::update(db, &id, &change, &actor)).await
    }

    async fn delete_organisation(&self, id: &str, actor: &Actor) -> Result<DeleteOrganisation, MetaError> {
        let (id, actor) = (id.to_owned(), actor.clone());
        self.write(move |db| organisations::delete(db, &id, &actor)).await
    }

    async fn organisation(&self, id: &str) -> Result<Option<Organisation>, MetaError> {
        let id = id.to_owned();
        self.read(move |db| organisations::find(db, &id)).await
    }

    async fn organisations(
        &self,
        among: Option<&[String]>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Organisation>, MetaError> {
        let (among, after) = (among.map(<[String]>::to_vec), after.unwrap_or_default().to_owned());
        self.read(move |db| organisations::list(db, among.as_deref(), &after, limit)).await
    }

    async fn create_token(&self, token: TokenRecord, actor: &Actor) -> Result<CreateToken, MetaError> {
        let actor = actor.clone();
        self.write(move |db| api_tokens::create(db, &token, &actor)).await
    }

    async fn token_by_secret(&self, sha256: &Sha256) -> Result<Option<TokenRecord>, MetaError> {
        let sha256 = *sha256;
        self.read(move |db| api_tokens::by_secret(db, &sha256)).await
    }

    async fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, MetaError> {
        self.read(move |db| api_tokens::find(db, id)).await
    }

    async fn tokens(
        &self,
        catalogs: Option<&[String]>,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<TokenRecord>, MetaError> {
        let catalogs = catalogs.map(<[String]>::to_vec);
        self.read(move |db| api_tokens::list(db, catalogs.as_deref(), after, limit)).await
    }

    async fn revoke_token(
        &self,
        id: Uuid,
        catalogs: Option<&[String]>,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        let (catalogs, actor) = (catalogs.map(<[String]>::to_vec), actor.clone());
        self.write(move |db| api_tokens::revoke(db, id, catalogs.as_deref(), &actor)).await
    }

    async fn access_version(&self) -> Result<u64, MetaError> {
        self.counters.polls.increment(1);
        look(&self.poller, organisations::access_version).await
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), MetaError> {
        self.write(move |db| audit::insert(db, &entry)).await
    }

    async fn audit(
        &self,
        catalogs: Option<&[String]>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, MetaError> {
        let catalogs = catalogs.map(<[String]>::to_vec);
        self.read(move |db| audit::list(db, catalogs.as_deref(), after, limit)).await
    }

    async fn ensure_key(
        &self,
        purpose: &str,
        candidate: KeyRecord,
        replace: bool,
    ) -> Result<Vec<KeyRecord>, MetaError> {
        let purpose = purpose.to_owned();
        self.write(move |db| keys::ensure(db, &purpose, &candidate, replace)).await
    }
}

fn broken(error: rusqlite::Error) -> MetaError {
    MetaError::Broken(error.to_string())
}
