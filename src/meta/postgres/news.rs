//! What this node wrote: told to the others once it is committed, and known to its own feed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use deadpool_postgres::Pool;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;

/// Where nodes tell each other that a catalog moved.
pub(super) const CHANNEL: &str = "quire_catalogs";

/// Longest text of one notification; the server takes less than 8,000 bytes.
const PAYLOAD: usize = 7000;
/// Most catalogs of which own writes are kept for the feed. One that is left out is read like those of others.
const OWN_CATALOGS: usize = 10_000;
/// Most own writes of one catalog that are kept.
const OWN_WRITES: usize = 1000;

/// Events that one transaction wrote in one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub catalog: String,
    pub first: u64,
    pub last: u64,
}

/// What was written through one store.
pub(super) struct News {
    pool: Pool,
    /// Catalogs that the others are still to be told of, each with its sequence.
    untold: Arc<Untold>,
    teller: OnceLock<Teller>,
    /// First and last sequence of own writes, by catalog, once there is a feed that asks for them.
    own: Mutex<Option<HashMap<String, BTreeMap<u64, u64>>>>,
}

#[derive(Default)]
struct Untold {
    catalogs: Mutex<BTreeMap<String, u64>>,
    some: Notify,
}

/// Ends with its store.
struct Teller(JoinHandle<()>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl News {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, untold: Arc::default(), teller: OnceLock::new(), own: Mutex::default() }
    }

    /// To be called after a commit and before it is acknowledged.
    pub(super) fn wrote(&self, written: Vec<Written>) {
        if written.is_empty() {
            return;
        }
        if let Some(own) = &mut *self.own() {
            for Written { catalog, first, last } in &written {
                if own.len() < OWN_CATALOGS || own.contains_key(catalog) {
                    let writes = own.entry(catalog.clone()).or_default();
                    writes.insert(*first, *last);
                    while writes.len() > OWN_WRITES {
                        writes.pop_first();
                    }
                }
            }
        }
        let mut untold = lock(&self.untold.catalogs);
        for Written { catalog, last, .. } in written {
            let sequence = untold.entry(catalog).or_default();
            *sequence = last.max(*sequence);
        }
        drop(untold);
        self.untold.some.notify_one();
        self.teller.get_or_init(|| Teller(tokio::spawn(tell(self.pool.clone(), Arc::clone(&self.untold)))));
    }

    /// From now on own writes are kept for a feed.
    pub(super) fn keep_own(&self) {
        *self.own() = Some(HashMap::new());
    }

    /// How far a catalog goes by own writes alone.
    pub(super) fn own_from(&self, catalog: &str, known: u64) -> u64 {
        let mut own = self.own();
        let Some(writes) = own.as_mut().and_then(|own| own.get_mut(catalog)) else { return known };
        let mut reached = known;
        while let Some((first, last)) = writes.first_key_value().map(|(first, last)| (*first, *last)) {
            if first > reached + 1 {
                break;
            }
            reached = last.max(reached);
            writes.pop_first();
        }
        reached
    }

    fn own(&self) -> MutexGuard<'_, Option<HashMap<String, BTreeMap<u64, u64>>>> {
        lock(&self.own)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the others, after the commits and in transactions of their own: a transaction with a notification in it has
/// all others with one wait until its commit is on disk. While one is sent, the next gather.
async fn tell(pool: Pool, untold: Arc<Untold>) {
    loop {
        untold.some.notified().await;
        let catalogs = std::mem::take(&mut *lock(&untold.catalogs));
        for payload in payloads(&catalogs) {
            if let Err(error) = notify(&pool, &payload).await {
                // The others look from time to time, whatever they are told.
                tracing::debug!(error, "other nodes could not be told of a write");
            }
        }
    }
}

async fn notify(pool: &Pool, payload: &str) -> Result<(), String> {
    let client = pool.get().await.map_err(|error| error.to_string())?;
    let sql = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";
    let told = client.query_typed(sql, &[(&CHANNEL, Type::TEXT), (&payload, Type::TEXT)]).await;
    told.map(drop).map_err(|error| error.to_string())
}

/// A line for each catalog.
fn payloads(catalogs: &BTreeMap<String, u64>) -> Vec<String> {
    let mut payloads = vec![String::new()];
    for (catalog, sequence) in catalogs {
        if payloads.last().is_some_and(|payload| payload.len() + catalog.len() + 24 > PAYLOAD) {
            payloads.push(String::new());
        }
        if let Some(payload) = payloads.last_mut() {
            // A text takes everything.
            let _ = writeln!(payload, "{catalog} {sequence}");
        }
    }
    payloads.retain(|payload| !payload.is_empty());
    payloads
}

/// What a payload tells; what is no line of ours is passed over, as anybody who may connect may notify.
pub(super) fn told(payload: &str) -> impl Iterator<Item = (&str, u64)> {
    payload.lines().filter_map(|line| {
        let (catalog, sequence) = line.split_once(' ')?;
        Some((catalog, sequence.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_short_and_tell_everything() {
        let catalogs: BTreeMap<String, u64> =
            (0..2000).map(|n| (format!("catalog-{n}"), u64::MAX - n)).collect();
        let payloads = payloads(&catalogs);
        assert!(payloads.len() > 1 && payloads.iter().all(|payload| payload.len() <= PAYLOAD));
        let told: BTreeMap<String, u64> = payloads
            .iter()
            .flat_map(|payload| told(payload))
            .map(|(catalog, n)| (catalog.to_owned(), n))
            .collect();
        assert_eq!(told, catalogs);
        assert_eq!(super::payloads(&BTreeMap::new()), Vec::<String>::new());
        assert_eq!(super::told("x\na b c\n\nacme 7").collect::<Vec<_>>(), [("acme", 7)]);
    }
}
