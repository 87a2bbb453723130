//! What became of a transaction whose commit was sent and not answered.
//!
//! The number that PostgreSQL gives a transaction does not tell: after a crash of the server another one gets the same
//! number, if nothing of the first had come to the disk. So each transaction that writes leaves a mark with its
//! commit, and holds a lock of its own for as long as it lasts.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Statement;
use uuid::Uuid;

use super::db::Db;
use super::failure::{Failure, Result};

/// How long the server is asked before the answer is that nobody knows.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions: the server is just starting again, or still at work on the commit.
const PAUSE: Duration = Duration::from_millis(20);

/// What a transaction is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    /// When it began, by the clock of the server.
    at: i64,
    id: i64,
}

/// A transaction that wrote nothing leaves no mark, and nothing to wait for.
const MARK: &str = "INSERT INTO commits (at, id) SELECT (extract(epoch FROM now()) * 1000)::bigint, $1
     WHERE pg_current_xact_id_if_assigned() IS NOT NULL";

impl Ticket {
    /// Begins a transaction. What it is known by is there before anything can go wrong with its commit.
    pub(super) async fn begin(client: Object) -> Result<(Db, Self)> {
        // The low half of a version 7 id is random.
        let random = Uuid::now_v7().as_u64_pair().1;
        let id = i64::from_be_bytes(random.to_be_bytes());
        let (high, low) = halves(id);
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({high}, {low});
             SELECT (extract(epoch FROM now()) * 1000)::bigint"
        );
        let (db, at) = Db::begin(client, &begin).await?;
        let at = at.and_then(|at| at.parse().ok()).ok_or(Failure::Damaged("no time"))?;
        Ok((db, Self { at, id }))
    }

    pub(super) async fn prepare(&self, db: &Db) -> Result<Statement> {
        db.prepare(MARK).await
    }

    /// Leaves the mark. To be sent behind everything else that is written, but for what others wait for.
    pub(super) async fn mark(&self, db: &Db, statement: &Statement) -> Result<()> {
        db.execute_prepared(statement, &[&self.id]).await.map(drop)
    }
}

/// Locks of two numbers are others than those of one, which [`super::locks`] has.
fn halves(id: i64) -> (i32, i32) {
    let [a, b, c, d, e, f, g, h] = id.to_be_bytes();
    (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]))
}

/// Whether the transaction was committed, asked on other connections until it is over. `false` also where it wrote
/// nothing.
pub(super) async fn was_committed(pool: &Pool, ticket: &Ticket) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // A server that can't be asked yet is asked again; one that never answers is given up.
        if let Ok(Ok(Some(answer))) = timeout_at(deadline, ask(pool, ticket)).await {
            return Ok(answer);
        }
        sleep(PAUSE).await;
    }
    Err(Failure::OutcomeUnknown)
}

/// `None`: the transaction is still under way.
async fn ask(pool: &Pool, ticket: &Ticket) -> Result<Option<bool>> {
    let db = Db::new(pool.get().await?);
    let (high, low) = halves(ticket.id);
    let over = db.row("SELECT pg_try_advisory_xact_lock($1, $2)", &[&high, &low]).await?;
    if over.map(|row| row.try_get(0)).transpose()? != Some(true) {
        return Ok(None);
    }
    // A statement of its own: it sees what the transaction left.
    Ok(Some(db.exists("SELECT 1 FROM commits WHERE at = $1 AND id = $2", &[&ticket.at, &ticket.id]).await?))
}

/// Removes marks that nobody asks for any more: a node asks right away or never.
pub(super) async fn forget_marks(db: &Db) -> Result<()> {
    db.execute(
        "DELETE FROM commits WHERE (at, id) IN
             (SELECT at, id FROM commits WHERE at < (extract(epoch FROM now()) * 1000)::bigint - 600000
              ORDER BY at, id LIMIT 100000 FOR UPDATE SKIP LOCKED)",
        &[],
    )
    .await?;
    Ok(())
}
