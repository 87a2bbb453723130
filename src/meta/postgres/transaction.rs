//! Transactions that write: what others wait for shortest is gathered, and goes to the server with the commit.

use std::collections::BTreeMap;
use std::ops::Deref;

use deadpool_postgres::Object;

use super::audit_lines::AuditLines;
use super::db::Db;
use super::events::{self, NewEvent};
use super::failure::{Failure, Result, lost};
use super::locks::{self, Lock, Mode};
use super::news::Written;
use super::outcome::Ticket;
use super::usage::{Growth, UsageUpdate};
use crate::access::Actor;
use crate::meta::{AuditEntry, Change, Outcome};
use crate::name::RepositoryName;

/// What came of sending a commit.
pub(super) enum Commit {
    /// With the events that it wrote.
    Done(Vec<Written>),
    Failed(Failure),
    /// The connection was lost: the server may have committed it or not.
    Unknown(Ticket),
}

/// A transaction that writes. What others wait for shortest is gathered and written at its end.
pub(super) struct Work {
    db: Db,
    ticket: Ticket,
    growth: BTreeMap<String, Growth>,
    raises_access_version: bool,
    events: BTreeMap<String, Vec<NewEvent>>,
    audit: Vec<AuditEntry>,
}

impl Deref for Work {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Work {
    pub(super) async fn begin(client: Object) -> Result<Self> {
        let (mut db, ticket) = Ticket::begin(client).await?;
        db.decides_quota = false;
        Ok(Self {
            db,
            ticket,
            growth: BTreeMap::new(),
            raises_access_version: false,
            events: BTreeMap::new(),
            audit: Vec::new(),
        })
    }

    /// Takes all the locks of the transaction. Every statement behind it sees what was committed under them.
    pub(super) async fn lock(&mut self, locks: impl IntoIterator<Item = (Lock<'_>, Mode)>) -> Result<()> {
        self.db.decides_quota |= locks::take(self, locks.into_iter().collect()).await?;
        Ok(())
    }

    /// Counts what came into a catalog, or with negative numbers what left it.
    pub(super) fn count(&mut self, catalog: &str, bytes: i64, repositories: i64) {
        let counted = self.growth.entry(catalog.to_owned()).or_default();
        counted.bytes += bytes;
        counted.repositories += repositories;
    }

    /// To be called by every change of tokens, organisations, rules and blocks.
    pub(super) fn raise_access_version(&mut self) {
        self.raises_access_version = true;
    }

    pub(super) fn changed(&mut self, repository: &RepositoryName, change: Change, actor: &Actor) {
        let catalog = repository.catalog();
        let (action, object) = events::told(repository, &change);
        self.tell(actor, action, Some(catalog), &object);
        let event = NewEvent { repository: repository.clone(), change, actor: actor.subject.clone() };
        self.events.entry(catalog.to_owned()).or_default().push(event);
    }

    /// How many changes were gathered.
    pub(super) fn changes(&self) -> usize {
        self.events.values().map(Vec::len).sum()
    }

    /// Tells the audit log about a change.
    pub(super) fn tell(&mut self, actor: &Actor, action: &str, catalog: Option<&str>, object: &str) {
        self.audit.push(AuditEntry {
            actor: actor.subject.clone(),
            action: action.to_owned(),
            catalog: catalog.map(str::to_owned),
            object: object.to_owned(),
            outcome: Outcome::Done,
            rule: actor.rule.clone(),
            address: actor.address,
            request_id: actor.request_id.clone(),
        });
    }

    pub(super) fn record(&mut self, entry: AuditEntry) {
        self.audit.push(entry);
    }

    /// Writes what was gathered, the rows that many wait for last, and makes all of it durable.
    pub(super) async fn commit(mut self) -> Commit {
        let sent = self.send_the_rest().await;
        match sent {
            Ok(written) => {
                self.db.ended();
                Commit::Done(written)
            }
            // Before the commit was sent, nothing of it can be there.
            Err(Unsent::Before(failure)) => Commit::Failed(failure),
            Err(Unsent::With(Failure::Database(error))) if lost(&error) => Commit::Unknown(self.ticket),
            Err(Unsent::With(Failure::Silence)) => Commit::Unknown(self.ticket),
            Err(Unsent::With(failure)) => Commit::Failed(failure),
        }
    }

    /// The last statements and the commit go out together: nobody waits for this node while it holds the row that
    /// numbers events. After a failed one of them the server commits nothing.
    async fn send_the_rest(&self) -> std::result::Result<Vec<Written>, Unsent> {
        let mut written = Vec::new();
        let growth = UsageUpdate::prepare(self, &self.growth).await?;
        let version = match self.raises_access_version {
            true => Some(self.prepare("UPDATE access_version SET version = version + 1").await?),
            false => None,
        };
        let audit = AuditLines::prepare(self, &self.audit).await?;
        let mark = self.ticket.prepare(self).await?;
        // Of several catalogs, each row is taken in the order of the catalogs, and the last one here, too.
        let mut events = Vec::new();
        for (catalog, changes) in &self.events {
            events.push(events::Insertion::prepare(self, catalog, changes).await?);
        }
        let last = events.pop();
        if !events.is_empty() {
            growth.run(self).await?;
            for insertion in &events {
                written.push(insertion.run(self).await?);
            }
        }
        let counted = async { if events.is_empty() { growth.run(self).await } else { Ok(()) } };
        let raised = async {
            match &version {
                Some(statement) => self.execute_prepared(statement, &[]).await.map(drop),
                None => Ok(()),
            }
        };
        let told = async { audit.run(self).await };
        let numbered = async {
            match &last {
                Some(insertion) => insertion.run(self).await.map(Some),
                None => Ok(None),
            }
        };
        let marked = self.ticket.mark(self, &mark);
        let answers = tokio::join!(biased; counted, raised, told, marked, numbered, self.db.end());
        let (counted, raised, told, marked, numbered, ended) = answers;
        let numbered = counted.and(raised).and(told).and(marked).and(numbered).map_err(Unsent::With)?;
        ended.map_err(Unsent::With)?;
        written.extend(numbered);
        Ok(written)
    }
}

/// When the end of a transaction failed.
enum Unsent {
    Before(Failure),
    With(Failure),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Self::Before(failure)
    }
}
