//! What became of a transaction whose commit was sent and not answered.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::{Instant, sleep, timeout_at};

use super::db::Db;
use super::failure::{Failure, Result};

/// How long the server is asked before the answer is that nobody knows.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions: the server is just starting again, or still at work on the commit.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of a transaction, by which the server knows what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket(String);

impl Ticket {
    /// `None`: it is no number.
    pub(super) fn new(number: String) -> Option<Self> {
        number.parse::<u64>().is_ok().then_some(Self(number))
    }
}

/// Whether the transaction was committed, asked on other connections until the server knows.
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

/// `None`: the transaction is still under way, or too old to be known.
async fn ask(pool: &Pool, ticket: &Ticket) -> Result<Option<bool>> {
    let db = Db::new(pool.get().await?);
    let row = db.row("SELECT pg_xact_status($1::text::xid8)", &[&ticket.0]).await?;
    let status: Option<&str> = row.as_ref().map_or(Ok(None), |row| row.try_get(0))?;
    Ok(match status {
        Some("committed") => Some(true),
        Some("aborted") => Some(false),
        _ => None,
    })
}
