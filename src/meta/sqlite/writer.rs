//! One thread that writes: jobs that wait at the same time share one commit, and so one fsync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::broken;
use super::feed::Others;
use crate::meta::MetaError;

/// Most jobs in one commit.
const BATCH: usize = 256;

/// How often the thread looks whether another process has written, while nobody here does.
const CHECK: Duration = Duration::from_millis(200);

/// Hands jobs to the writing thread; the thread ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// What other processes have written.
    pub(super) others: Others,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, MetaError> {
        let (jobs, queue) = mpsc::channel();
        let others = Others::new(&connection).map_err(broken)?;
        let seen = others.clone();
        let thread = thread::Builder::new().name("sqlite-writer".into());
        let spawned = thread.spawn(move || run(&connection, &queue, &seen));
        spawned.map_err(|error| MetaError::Broken(error.to_string()))?;
        Ok(Self { jobs, others })
    }

    /// Runs the work inside a transaction of its own and returns when that is durable.
    /// An error of the work undoes the work, and only it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        let (reply, answer) = oneshot::channel();
        let job = TypedJob { work: Some(work), outcome: None, reply: Some(reply) };
        let gone = |_| MetaError::Broken("the writing thread has ended".into());
        self.jobs.send(Box::new(job)).map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

trait Job: Send {
    /// Does the work; `false` when it has to be undone.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the caller, once it is known whether the commit succeeded.
    fn settle(&mut self, commit: &Result<(), MetaError>);
}

struct TypedJob<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, MetaError>>,
    reply: Option<oneshot::Sender<Result<T, MetaError>>>,
}

impl<T: Send, W: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Job for TypedJob<T, W> {
    fn run(&mut self, connection: &Connection) -> bool {
        let outcome = self.work.take().map(|work| work(connection).map_err(broken));
        let kept = matches!(outcome, Some(Ok(_)));
        self.outcome = outcome;
        kept
    }

    fn settle(&mut self, commit: &Result<(), MetaError>) {
        let answer = match (commit, self.outcome.take()) {
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(error), _) => Err(error.clone()),
            (Ok(()), None) => Err(MetaError::Broken("the work ended in a panic".into())),
        };
        if let Some(reply) = self.reply.take() {
            // Nobody listens when the request was given up meanwhile; the work stands all the same.
            drop(reply.send(answer));
        }
    }
}

fn run(connection: &Connection, queue: &mpsc::Receiver<Box<dyn Job>>, others: &Others) {
    loop {
        let first = match queue.recv_timeout(CHECK) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                others.check(connection);
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        let commit = commit(connection, &mut batch).map_err(broken);
        if let Err(error) = &commit {
            tracing::error!(%error, "a commit failed");
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "and so did its rollback");
            }
        }
        for job in &mut batch {
            job.settle(&commit);
        }
        others.check(connection);
    }
}

fn commit(connection: &Connection, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in batch {
        connection.execute_batch("SAVEPOINT job")?;
        // A panic undoes its job like an error does; were the thread to end, no write would ever succeed again.
        if !catch_unwind(AssertUnwindSafe(|| job.run(connection))).unwrap_or(false) {
            connection.execute_batch("ROLLBACK TO job")?;
        }
        connection.execute_batch("RELEASE job")?;
    }
    connection.execute_batch("COMMIT")
}
