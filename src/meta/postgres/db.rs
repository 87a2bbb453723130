//! A connection of the pool and the statements on it, each prepared once for the connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use super::failure::{Failure, Result, only_reads};
use super::pool::patience;

/// The values of a statement's parameters.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection of the pool, inside of a transaction or not.
pub(super) struct Db {
    /// There until it is dropped.
    client: Option<Object>,
    in_transaction: bool,
    /// The connection leads to a server that only reads or says nothing, and is of no use any more.
    is_spoiled: AtomicBool,
    /// How long an answer is waited for.
    patience: Duration,
    /// Whether nobody else writes to a catalog with a quota meanwhile, or nothing is written here.
    pub(super) decides_quota: bool,
}

impl Db {
    /// Each statement for itself.
    pub(super) fn new(client: Object) -> Self {
        let patience = Object::pool(&client).map_or(Duration::MAX, |pool| patience(&pool));
        let is_spoiled = AtomicBool::new(false);
        Self { client: Some(client), in_transaction: false, is_spoiled, patience, decides_quota: true }
    }

    /// Begins a transaction with a text of statements, and gives the first value of the last row of them.
    pub(super) async fn begin(client: Object, statements: &str) -> Result<(Self, Option<String>)> {
        let mut db = Self::new(client);
        db.in_transaction = true;
        let value = db.run(statements).await?;
        Ok((db, value))
    }

    /// Everything that is read through it is of one moment.
    pub(super) async fn snapshot(client: Object) -> Result<Self> {
        Ok(Self::begin(client, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?.0)
    }

    /// Runs a text of statements that has no parameters, and gives the first value of the last row of them.
    async fn run(&self, statements: &str) -> Result<Option<String>> {
        let answers = self.noted(self.client()?.simple_query(statements)).await?;
        let row = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(row.and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// A transaction in one text, so that nobody waits for this node while it holds a lock.
    pub(super) async fn run_at_once(&mut self, transaction: &str) -> Result<Option<String>> {
        self.in_transaction = true;
        let value = self.run(transaction).await?;
        self.in_transaction = false;
        Ok(value)
    }

    /// Sends the end of a transaction. What was sent before it comes before it.
    pub(super) async fn end(&self) -> Result<()> {
        self.noted(self.client()?.batch_execute("COMMIT")).await
    }

    /// To be called once the end was answered.
    pub(super) fn ended(&mut self) {
        self.in_transaction = false;
    }

    /// Fails if a quota has to be decided and others may write at the same time.
    pub(super) fn decide_quota(&self) -> Result<()> {
        if self.decides_quota { Ok(()) } else { Err(Failure::QuotaSet) }
    }

    fn client(&self) -> Result<&Object> {
        self.client.as_ref().ok_or(Failure::Damaged("no connection"))
    }

    /// Waits for an answer, and no longer than the server may take for one.
    async fn noted<T>(
        &self,
        answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let failure = match timeout(self.patience, answer).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !only_reads(&error) => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Err(_) => Failure::Silence,
        };
        self.is_spoiled.store(true, Ordering::Relaxed);
        Err(failure)
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement> {
        self.noted(self.client()?.prepare_cached(sql)).await
    }

    pub(super) async fn rows(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>> {
        let statement = self.prepare(sql).await?;
        self.rows_prepared(&statement, parameters).await
    }

    /// The only row, if there is one.
    pub(super) async fn row(&self, sql: &str, parameters: Parameters<'_>) -> Result<Option<Row>> {
        let statement = self.prepare(sql).await?;
        self.noted(self.client()?.query_opt(&statement, parameters)).await
    }

    /// Whether there is a row.
    pub(super) async fn exists(&self, sql: &str, parameters: Parameters<'_>) -> Result<bool> {
        Ok(!self.rows(sql, parameters).await?.is_empty())
    }

    /// How many rows were written.
    pub(super) async fn execute(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64> {
        let statement = self.prepare(sql).await?;
        self.execute_prepared(&statement, parameters).await
    }

    /// Rows, asked for at the first poll: several such that are polled in an order run in that order.
    pub(super) async fn rows_prepared(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>> {
        self.noted(self.client()?.query(statement, parameters)).await
    }

    /// How many rows were written, sent at the first poll, too.
    pub(super) async fn execute_prepared(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<u64> {
        self.noted(self.client()?.execute(statement, parameters)).await
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if self.is_spoiled.load(Ordering::Relaxed) {
            drop(Object::take(client));
            return;
        }
        if !self.in_transaction {
            return;
        }
        // A connection goes back to the pool once nothing of the transaction is left; else it is closed.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(client));
            return;
        };
        let patience = self.patience;
        runtime.spawn(async move {
            let undone = timeout(patience, client.batch_execute("ROLLBACK")).await;
            if !matches!(undone, Ok(Ok(()))) {
                drop(Object::take(client));
            }
        });
    }
}
