//! Metadata in PostgreSQL, for several nodes at once: one method is one transaction, or one statement.

mod api_tokens;
mod attempts;
mod audit;
mod audit_lines;
mod blobs;
mod blocks;
mod connect;
mod db;
mod digests;
mod enablements;
mod events;
mod failure;
mod feed;
mod keys;
mod locks;
mod manifests;
mod migrations;
mod news;
mod organisations;
mod outcome;
mod packages;
mod plugin_lists;
mod plugin_store;
mod plugin_versions;
mod pool;
mod repositories;
mod rows;
mod scopes;
mod tag_rules;
mod tag_writes;
mod tags;
mod tls;
mod transaction;
mod uploads;
mod url;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use metrics::Counter;
use uuid::Uuid;

use self::attempts::{Attempts, attempted, poll, read, read_snapshot, write};
pub use self::connect::{Database, DatabaseSettings};
use self::db::Db;
use self::failure::{Failure, Result as Attempt};
use self::feed::{PgFeed, Source};
use self::news::{CHANNEL, News};
use self::transaction::{Commit, Work};
use super::feed::{Feed, Nudge};
use super::migrate::{Migration, Program};
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

/// How often the database was asked, for `/metrics` and for tests that count.
#[derive(Clone)]
pub struct PgCounters {
    pub reads: Counter,
    pub writes: Counter,
    /// Looks at the access version and at the sequences of catalogs, some each second, and at what changed.
    pub polls: Counter,
    /// Transactions that were begun again, because others got in their way or a connection was lost.
    pub retries: Counter,
}

impl PgCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        let [reads, writes, polls, retries] = [(); 4].map(|()| Counter::noop());
        Self { reads, writes, polls, retries }
    }
}

/// The PostgreSQL implementation of [`MetaStore`].
pub struct PgMeta {
    pool: Pool,
    counters: PgCounters,
    news: Arc<News>,
    /// Where a feed gets a connection of its own.
    listens: Option<Database>,
}

impl PgMeta {
    /// The steps of the schema.
    pub const MIGRATIONS: &[Migration] = &[Migration {
        version: 1,
        name: "registry",
        sql: include_str!("../../../migrations/postgres/0001_registry.sql"),
        oldest_program: Program::new(0, 2, 0),
    }];

    /// A store on a database that has the schema. Whoever makes the pool decides on time-outs.
    pub fn new(pool: Pool, counters: PgCounters) -> Self {
        let news = Arc::new(News::new(pool.clone()));
        Self { pool, counters, news, listens: None }
    }

    /// Has feeds listen on connections of their own, beside the pool's.
    pub fn listening(self, database: Database) -> Self {
        Self { listens: Some(database), ..self }
    }

    async fn connection(&self) -> Attempt<Db> {
        Ok(Db::new(self.pool.get().await?))
    }

    async fn snapshot(&self) -> Attempt<Db> {
        Db::snapshot(self.pool.get().await?).await
    }

    async fn begin(&self) -> Attempt<Work> {
        Work::begin(self.pool.get().await?).await
    }

    async fn commit(&self, transaction: Work) -> Attempt<()> {
        match transaction.commit().await {
            Commit::Done(written) => {
                self.news.wrote(written);
                Ok(())
            }
            Commit::Failed(failure) => Err(failure),
            Commit::Unknown(ticket) => match outcome::was_committed(&self.pool, &ticket).await? {
                true => Ok(()),
                false => Err(Failure::Aborted),
            },
        }
    }

    async fn again(&self, attempts: &mut Attempts, failure: Failure) -> Result<(), MetaError> {
        if !attempts.again(&failure).await {
            return Err(failure.into());
        }
        self.counters.retries.increment(1);
        Ok(())
    }
}

#[async_trait]
impl MetaStore for PgMeta {
    async fn probe(&self) -> Result<(), MetaError> {
        read!(self, |db| organisations::access_version(db)).map(drop)
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobRecord>, MetaError> {
        read!(self, |db| blobs::find(db, repository, digest))
    }

    async fn link_blob(
        &self,
        repository: &RepositoryName,
        blob: BlobRecord,
        upload: Option<Uuid>,
        actor: &Actor,
    ) -> Result<Result<(), CatalogRefusal>, MetaError> {
        write!(self, |work| blobs::link(work, repository, &blob, upload, actor))
    }

    async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        source: MountSource,
        actor: &Actor,
    ) -> Result<MountBlob, MetaError> {
        // Most mounts that are tried find nothing: those need not wait for the writer, nor hold it up.
        let seen = read!(self, |db| blobs::find_source(db, digest, &source))?;
        let Some((_, BlobRecord { digests, .. })) = seen else { return Ok(MountBlob::Absent) };
        write!(self, |work| blobs::mount(work, repository, digests.sha256, &source, actor))
    }

    async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| blobs::unlink(work, repository, digest, actor))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<ManifestRecord>, MetaError> {
        read!(self, |db| manifests::find(db, repository, digest))
    }

    async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<ManifestRecord>, MetaError> {
        read!(self, |db| tags::resolve(db, repository, tag))
    }

    async fn holder(&self, sha256: &Sha256, scope: &ReadScope) -> Result<Option<Holder>, MetaError> {
        read!(self, |db| repositories::holder(db, sha256, scope))
    }

    async fn check_manifest(&self, new: &NewManifest) -> Result<PutManifest, MetaError> {
        read_snapshot!(self, |db| manifests::check(db, new))
    }

    async fn put_manifest(&self, new: NewManifest) -> Result<PutManifest, MetaError> {
        write!(self, |work| manifests::put(work, &new))
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| manifests::delete(work, repository, digest, actor))
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| tags::delete(work, repository, tag, actor))
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<Tag>>, MetaError> {
        read!(self, |db| tags::list(db, repository, after.unwrap_or_default(), limit))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Sha256>,
    ) -> Result<Page<Referrer>, MetaError> {
        read!(self, |db| manifests::referrers(db, repository, subject, artifact_type, after))
    }

    async fn repositories(
        &self,
        scope: &ReadScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, MetaError> {
        read!(self, |db| repositories::list(db, scope, after.unwrap_or_default(), limit))
    }

    async fn digests(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, MetaError> {
        read!(self, |db| digests::list(db, after, limit))
    }

    async fn hot_digests(
        &self,
        after: Option<Sha256>,
        limit: usize,
    ) -> Result<Vec<(Sha256, u64)>, MetaError> {
        let (mut hot, mut after) = (Vec::new(), after);
        loop {
            let wanted = limit - hot.len();
            let look = read!(self, |db| digests::list_hot(db, after, wanted))?;
            hot.extend(look.digests);
            if hot.len() == limit || look.seen.is_none() {
                return Ok(hot);
            }
            after = look.seen;
        }
    }

    async fn announce_node(&self, node: &Node) -> Result<(), MetaError> {
        write!(self, |work| uploads::announce(work, node))
    }

    async fn create_upload(&self, upload: Upload) -> Result<(), MetaError> {
        write!(self, |work| uploads::create(work, &upload))
    }

    async fn upload(&self, id: Uuid) -> Result<Option<Upload>, MetaError> {
        read!(self, |db| uploads::find(db, id))
    }

    async fn checkpoint_upload(&self, id: Uuid, checkpoint: Checkpoint) -> Result<bool, MetaError> {
        write!(self, |work| uploads::checkpoint(work, id, &checkpoint))
    }

    async fn drop_upload(&self, id: Uuid) -> Result<bool, MetaError> {
        write!(self, |work| uploads::drop(work, id))
    }

    async fn expire_upload(&self, id: Uuid, idle: Duration) -> Result<bool, MetaError> {
        write!(self, |work| uploads::expire(work, id, idle))
    }

    async fn stale_uploads(
        &self,
        node: Option<Uuid>,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Uuid>, MetaError> {
        read!(self, |db| uploads::stale(db, node, idle, limit))
    }

    async fn staged_bytes(&self, catalog: &str) -> Result<u64, MetaError> {
        read!(self, |db| uploads::staged_bytes(db, catalog))
    }

    async fn follow(&self, nudge: Nudge) -> Result<Box<dyn Feed>, MetaError> {
        let source = match &self.listens {
            None => Source::Pool(self.pool.clone()),
            Some(database) => {
                let (session, told) = database.listening(CHANNEL).await?;
                Source::Session { session, told }
            }
        };
        Ok(Box::new(PgFeed::new(source, Arc::clone(&self.news), nudge, self.counters.clone())))
    }

    async fn sequence(&self, catalog: &str) -> Result<u64, MetaError> {
        read!(self, |db| events::sequence(db, catalog))
    }

    async fn events(&self, catalog: &str, after: u64, limit: usize) -> Result<Vec<Event>, MetaError> {
        read!(self, |db| events::list(db, catalog, after, limit))
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Event>, MetaError> {
        read!(self, |db| events::of_tag(db, repository, tag, before, limit))
    }

    async fn write_tags(&self, tags: Vec<TagWrite>, actor: &Actor) -> Result<WriteTags, MetaError> {
        write!(self, |work| tag_writes::write_all(work, &tags, actor))
    }

    async fn tag_rules(&self, catalog: &str) -> Result<Vec<ImmutableTags>, MetaError> {
        read!(self, |db| tag_rules::list(db, catalog))
    }

    async fn set_tag_rules(
        &self,
        catalog: &str,
        rules: Vec<ImmutableTags>,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| tag_rules::replace(work, catalog, &rules, actor))
    }

    async fn create_organisation(
        &self,
        id: &str,
        name: &str,
        domain: Option<&str>,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError> {
        write!(self, |work| organisations::create(work, id, name, domain, actor))
    }

    async fn update_organisation(
        &self,
        id: &str,
        change: OrganisationChange,
        actor: &Actor,
    ) -> Result<WriteOrganisation, MetaError> {
        write!(self, |work| organisations::update(work, id, &change, actor))
    }

    async fn delete_organisation(&self, id: &str, actor: &Actor) -> Result<DeleteOrganisation, MetaError> {
        write!(self, |work| organisations::delete(work, id, actor))
    }

    async fn organisation(&self, id: &str) -> Result<Option<Organisation>, MetaError> {
        read!(self, |db| organisations::find(db, id))
    }

    async fn organisations(
        &self,
        among: Option<&[String]>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Organisation>, MetaError> {
        read!(self, |db| organisations::list(db, among, after.unwrap_or_default(), limit))
    }

    async fn create_token(&self, token: TokenRecord, actor: &Actor) -> Result<CreateToken, MetaError> {
        write!(self, |work| api_tokens::create(work, &token, actor))
    }

    async fn token_by_secret(&self, sha256: &Sha256) -> Result<Option<TokenRecord>, MetaError> {
        read!(self, |db| api_tokens::by_secret(db, sha256))
    }

    async fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, MetaError> {
        read!(self, |db| api_tokens::find(db, id))
    }

    async fn tokens(
        &self,
        catalogs: Option<&[String]>,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<TokenRecord>, MetaError> {
        read!(self, |db| api_tokens::list(db, catalogs, after, limit))
    }

    async fn revoke_token(
        &self,
        id: Uuid,
        catalogs: Option<&[String]>,
        actor: &Actor,
    ) -> Result<bool, MetaError> {
        write!(self, |work| api_tokens::revoke(work, id, catalogs, actor))
    }

    async fn access_version(&self) -> Result<u64, MetaError> {
        poll!(self, |db| organisations::access_version(db))
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), MetaError> {
        write!(self, |work| audit::record(work, &entry))
    }

    async fn audit(
        &self,
        catalogs: Option<&[String]>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, MetaError> {
        read!(self, |db| audit::list(db, catalogs, after, limit))
    }

    async fn ensure_key(
        &self,
        purpose: &str,
        candidate: KeyRecord,
        replace: bool,
    ) -> Result<Vec<KeyRecord>, MetaError> {
        write!(self, |work| keys::ensure(work, purpose, &candidate, replace))
    }
}
