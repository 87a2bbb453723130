//! News for a node, from the event logs: looked for at every beat, and earlier when another node tells of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::PgCounters;
use super::connect::Session;
use super::failure::{Failure, Result};
use super::news::{self, News as Own};
use super::rows::{most, unsigned};
use crate::meta::MetaError;
use crate::meta::feed::{BEAT, EVENTS, Feed, Look, Moved, News, Nudge, Touch, Touched};
use crate::name::RepositoryName;

/// Catalogs are looked at by parts; sequences only grow, so a sum that stays says that nothing in a part moved.
const SUMS: &str =
    "SELECT hashtext(id) & 63, sum(sequence)::bigint FROM catalogs WHERE sequence > 0 GROUP BY 1";
const PARTS: &str = "SELECT id, sequence, hashtext(id) & 63 FROM catalogs
    WHERE sequence > 0 AND hashtext(id) & 63 = ANY($1)";
const ALL: &str = "SELECT id, sequence, hashtext(id) & 63 FROM catalogs WHERE sequence > 0";
const TOUCHED: &str = "SELECT sequence, repository, kind IN ('manifest_deleted', 'blob_deleted') FROM events
    WHERE catalog = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";

/// Where a feed asks.
pub(super) enum Source {
    /// On a connection of its own, by which the server also tells what nodes notify of.
    Session {
        session: Session,
        told: mpsc::Receiver<String>,
    },
    Pool(Pool),
}

pub(super) struct PgFeed {
    source: Source,
    own: Arc<Own>,
    nudge: Nudge,
    counters: PgCounters,
    state: Option<State>,
}

/// What is known since the last look.
struct State {
    catalogs: HashMap<String, Known>,
    sums: HashMap<i32, i64>,
    as_of: Instant,
}

#[derive(Clone, Copy)]
struct Known {
    sequence: u64,
    part: i32,
}

/// Why a feed looks.
enum Cause {
    Beat,
    /// These catalogs are said to have come so far.
    Told(HashMap<String, u64>),
}

impl PgFeed {
    pub(super) fn new(source: Source, own: Arc<Own>, nudge: Nudge, counters: PgCounters) -> Self {
        Self { source, own, nudge, counters, state: None }
    }

    async fn rows(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        // Not prepared for the session, as a pooler may be between.
        Ok(match &self.source {
            Source::Session { session, .. } => session.query_typed(sql, parameters).await?,
            Source::Pool(pool) => pool.get().await?.query_typed(sql, parameters).await?,
        })
    }

    async fn begin(&mut self) -> Result<Look> {
        // Before the look: what is written from here on and not seen by it is told by a later one.
        self.own.keep_own();
        let as_of = Instant::now();
        let mut state = State { catalogs: HashMap::new(), sums: HashMap::new(), as_of };
        for row in self.rows(ALL, &[]).await? {
            let (catalog, known) = known(&row)?;
            state.reached(catalog, known);
        }
        let all = state.catalogs.iter().map(|(catalog, known)| (catalog.clone(), known.sequence)).collect();
        self.state = Some(state);
        Ok(Look { as_of, news: News::Anything(all) })
    }

    /// Waits for a reason to look.
    async fn cause(&mut self, as_of: Instant) -> Result<Cause> {
        let beat = tokio::time::sleep_until((as_of + BEAT).into());
        let told = match &mut self.source {
            Source::Pool(_) => None,
            Source::Session { told, .. } => Some(told),
        };
        let Some(told) = told else {
            tokio::select! {
                () = beat => {}
                () = self.nudge.notified() => {}
            }
            return Ok(Cause::Beat);
        };
        let first = tokio::select! {
            biased;
            () = beat => return Ok(Cause::Beat),
            () = self.nudge.notified() => return Ok(Cause::Beat),
            // The connection is lost.
            first = told.recv() => first.ok_or(Failure::Silence)?,
        };
        let mut catalogs = HashMap::new();
        let mut next = Some(first);
        while let Some(payload) = next {
            for (catalog, sequence) in news::told(&payload) {
                catalogs.insert(catalog.to_owned(), sequence);
            }
            next = told.try_recv().ok();
        }
        Ok(Cause::Told(catalogs))
    }

    /// Catalogs that may have moved.
    async fn candidates(&self, state: &mut State, cause: Cause) -> Result<Vec<(String, Known)>> {
        if let Cause::Told(told) = cause {
            let known = |catalog: &String| state.catalogs.get(catalog);
            let near = |(catalog, sequence): (&String, &u64)| {
                known(catalog).is_some_and(|known| sequence.saturating_sub(known.sequence) <= EVENTS as u64)
            };
            // What is said is not believed, but has to be found among the events.
            if told.iter().all(near) {
                let each = told.into_iter().filter_map(|(catalog, sequence)| {
                    let known = state.catalogs.get(&catalog)?;
                    Some((catalog, Known { sequence, ..*known }))
                });
                return Ok(each.collect());
            }
            // A catalog that had no events so far, or very many, is looked at as at a beat.
        }
        state.as_of = Instant::now();
        self.counters.polls.increment(1);
        let mut parts = Vec::new();
        for row in self.rows(SUMS, &[]).await? {
            let (part, sum): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
            if state.sums.get(&part) != Some(&sum) {
                parts.push(part);
            }
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        for row in self.rows(PARTS, &[(&parts, Type::INT4_ARRAY)]).await? {
            let (catalog, now) = known(&row)?;
            let before = state.catalogs.get(&catalog).map_or(0, |known| known.sequence);
            if now.sequence < before {
                return Err(Failure::Damaged("a sequence that went back"));
            }
            if now.sequence > before {
                candidates.push((catalog, now));
            }
        }
        Ok(candidates)
    }

    /// Reads what happened in a catalog. `None`: nothing that is not known.
    async fn moved(&self, state: &mut State, catalog: String, now: Known) -> Result<Option<Moved>> {
        let before = state.catalogs.get(&catalog).map_or(0, |known| known.sequence);
        let reached = self.own.own_from(&catalog, before);
        let mut moved = Moved { catalog, sequence: reached, touched: Touched::Repositories(Vec::new()) };
        if now.sequence > reached {
            (moved.sequence, moved.touched) = self.touched(&moved.catalog, reached, now.sequence).await?;
        }
        if moved.sequence == before {
            return Ok(None);
        }
        state.reached(moved.catalog.clone(), Known { sequence: moved.sequence, ..now });
        Ok(Some(moved))
    }

    async fn touched(&self, catalog: &str, after: u64, sequence: u64) -> Result<(u64, Touched)> {
        if sequence - after > EVENTS as u64 {
            return Ok((sequence, Touched::Everything));
        }
        self.counters.polls.increment(1);
        let from = i64::try_from(after).map_err(|_| Failure::Damaged("a number"))?;
        let parameters: &[(&(dyn ToSql + Sync), Type)] =
            &[(&catalog, Type::TEXT), (&from, Type::INT8), (&most(EVENTS), Type::INT8)];
        let (mut last, mut touches) = (after, Vec::new());
        for row in self.rows(TOUCHED, parameters).await? {
            last = unsigned(&row, 0)?;
            let repository: RepositoryName = row.try_get(1)?;
            touches.push(Touch { repository, deleted: row.try_get(2)? });
        }
        Ok((last, Touched::Repositories(touches)))
    }

    async fn look(&mut self) -> Result<Look> {
        let Some(mut state) = self.state.take() else { return self.begin().await };
        let cause = self.cause(state.as_of).await?;
        let mut all = Vec::new();
        for (catalog, now) in self.candidates(&mut state, cause).await? {
            all.extend(self.moved(&mut state, catalog, now).await?);
        }
        let as_of = state.as_of;
        self.state = Some(state);
        Ok(Look { as_of, news: News::Moved(all) })
    }
}

#[async_trait]
impl Feed for PgFeed {
    async fn next(&mut self) -> std::result::Result<Look, MetaError> {
        Ok(self.look().await?)
    }
}

impl State {
    fn reached(&mut self, catalog: String, known: Known) {
        let before = self.catalogs.insert(catalog, known).map_or(0, |before| before.sequence);
        let more =
            i64::try_from(known.sequence).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        *self.sums.entry(known.part).or_default() += more;
    }
}

/// Reads the columns `id, sequence, part`.
fn known(row: &Row) -> Result<(String, Known)> {
    Ok((row.try_get(0)?, Known { sequence: unsigned(row, 1)?, part: row.try_get(2)? }))
}
