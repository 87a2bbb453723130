//! News for a node beside which another process writes to the same file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::Notify;

use super::{Readers, SqliteCounters, events, look};
use crate::meta::MetaError;
use crate::meta::feed::{BEAT, EVENTS, Feed, Look, Moved, News, Touch, Touched};

/// What the writing thread sees of other processes: SQLite tells a connection whether any other has written.
#[derive(Clone)]
pub(super) struct Others(Arc<Mutex<Seen>>);

#[derive(Clone, Copy)]
struct Seen {
    version: i64,
    checked: Instant,
}

impl Others {
    pub(super) fn new(connection: &Connection) -> rusqlite::Result<Self> {
        let seen = Seen { checked: Instant::now(), version: version(connection)? };
        Ok(Self(Arc::new(Mutex::new(seen))))
    }

    /// To be called by the writing thread, often.
    pub(super) fn check(&self, connection: &Connection) {
        let checked = Instant::now();
        match version(connection) {
            Ok(version) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen { version, checked },
            Err(error) => tracing::warn!(%error, "the version of the database could not be read"),
        }
    }

    fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes when another connection has committed, and not by the commits of this one.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))
}

/// Looks into the file when another process has written, or when it is told to.
pub(super) struct SqliteFeed {
    pub(super) readers: Arc<Readers>,
    pub(super) others: Others,
    pub(super) nudge: Arc<Notify>,
    pub(super) counters: SqliteCounters,
    /// The sequence of each catalog at the last look, and the version before it.
    pub(super) known: Option<(HashMap<String, u64>, i64)>,
}

#[async_trait]
impl Feed for SqliteFeed {
    async fn next(&mut self) -> Result<Look, MetaError> {
        let Some((known, version)) = self.known.take() else {
            let seen = self.others.seen();
            let as_of = Instant::now();
            let sequences = self.read(sequences).await?;
            self.known = Some((sequences.clone(), seen.version));
            return Ok(Look { as_of, news: News::Anything(sequences) });
        };
        let nudged = tokio::time::timeout(BEAT, self.nudge.notified()).await.is_ok();
        let seen = self.others.seen();
        if !nudged && seen.version == version {
            self.known = Some((known, version));
            return Ok(Look { as_of: seen.checked, news: News::Moved(Vec::new()) });
        }
        let as_of = Instant::now();
        let (known, moved) = self.read(move |db| moved(db, known)).await?;
        self.known = Some((known, seen.version));
        Ok(Look { as_of, news: News::Moved(moved) })
    }
}

impl SqliteFeed {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        self.counters.polls.increment(1);
        look(&self.readers, work).await
    }
}

fn sequences(db: &Connection) -> rusqlite::Result<HashMap<String, u64>> {
    let mut statement = db.prepare_cached("SELECT id, sequence FROM catalogs WHERE sequence > 0")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

type Known = HashMap<String, u64>;

fn moved(db: &Connection, mut known: Known) -> rusqlite::Result<(Known, Vec<Moved>)> {
    let mut all = Vec::new();
    for (catalog, sequence) in sequences(db)? {
        let before = known.get(&catalog).copied().unwrap_or(0);
        if sequence <= before {
            continue;
        }
        let (sequence, touched) = match sequence - before > EVENTS as u64 {
            true => (sequence, Touched::Everything),
            // There may be some more by now.
            false => {
                let events = events::list(db, &catalog, before, EVENTS)?;
                let last = events.last().map_or(sequence, |event| event.sequence);
                (last, Touched::Repositories(events.into_iter().map(Touch::from).collect()))
            }
        };
        known.insert(catalog.clone(), sequence);
        all.push(Moved { catalog, sequence, touched });
    }
    Ok((known, all))
}
