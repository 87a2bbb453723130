//! Operations of the store as attempts: begun again where others got in the way, or a connection was lost.

use std::time::Duration;

use uuid::Uuid;

use super::failure::Failure;

/// How often an operation is begun in all.
const ATTEMPTS: u32 = 8;

/// Counts the attempts of an operation.
#[derive(Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Waits and answers whether to try again after this.
    pub(super) async fn again(&mut self, failure: &Failure) -> bool {
        self.0 += 1;
        if !failure.is_passing() || self.0 == ATTEMPTS {
            return false;
        }
        // The low bits of a version 7 id are random: those who met do not meet again.
        let jitter = Uuid::now_v7().as_u128() % (1 << (self.0 + 2));
        tokio::time::sleep(Duration::from_millis(u64::try_from(jitter).unwrap_or(0))).await;
        true
    }
}

// Macros, since no bound of a function says yet that the future of an `AsyncFn` is `Send`.

/// Repeats a block with `?` on [`Failure`] in it until it succeeds or there is no use.
macro_rules! attempted {
    ($store:expr, $attempt:block) => {{
        let mut attempts = $crate::meta::postgres::attempts::Attempts::default();
        loop {
            let attempt: $crate::meta::postgres::failure::Result<_> = async { $attempt }.await;
            match attempt {
                Ok(value) => break Ok::<_, $crate::meta::MetaError>(value),
                Err(failure) => $store.again(&mut attempts, failure).await?,
            }
        }
    }};
}
pub(super) use attempted;

/// One statement, or several that need not agree.
macro_rules! read {
    ($store:expr, |$db:ident| $work:expr) => {{
        $store.counters.reads.increment(1);
        attempted!($store, {
            let $db = &mut $store.connection().await?;
            $work.await
        })
    }};
}
pub(super) use read;

/// The same, about what other nodes may have changed.
macro_rules! poll {
    ($store:expr, |$db:ident| $work:expr) => {{
        $store.counters.polls.increment(1);
        attempted!($store, {
            let $db = &mut $store.connection().await?;
            $work.await
        })
    }};
}
pub(super) use poll;

/// Several statements that see the database as of one moment.
macro_rules! read_snapshot {
    ($store:expr, |$db:ident| $work:expr) => {{
        $store.counters.reads.increment(1);
        attempted!($store, {
            let mut snapshot = $store.snapshot().await?;
            let $db = &snapshot;
            let value = $work.await?;
            snapshot.end().await?;
            snapshot.ended();
            Ok(value)
        })
    }};
}
pub(super) use read_snapshot;

/// A transaction that writes.
macro_rules! write {
    ($store:expr, |$work:ident| $body:expr) => {{
        $store.counters.writes.increment(1);
        attempted!($store, {
            let mut transaction = $store.begin().await?;
            let $work = &mut transaction;
            let value = $body.await?;
            $store.commit(transaction).await?;
            Ok(value)
        })
    }};
}
pub(super) use write;
