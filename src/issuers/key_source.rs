//! Where the keys of an issuer come from, and when they are read again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::Mutex;

use super::fetch::{FetchError, Fetcher, KEY_SET_LIMIT};
use super::key_set::{KeySet, KeySetError};

/// Why keys could not be read.
#[derive(Debug, Error)]
pub(super) enum KeySourceError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// When keys are read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freshness {
    /// Keys older than this are read again behind the request that uses them.
    pub refresh_after: Duration,
    /// The least time between two attempts, failed ones included: what is in a token must not make us fetch.
    pub floor: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { refresh_after: Duration::from_secs(60 * 60), floor: Duration::from_secs(30) }
    }
}

/// A place that holds a key set.
pub(super) enum Place {
    File(PathBuf),
    Url(Fetcher),
}

/// The keys of one issuer as they were read last. When they cannot be read again, those go on being used.
pub(super) struct KeySource {
    /// The name of the issuer, for the log.
    issuer: String,
    place: Place,
    freshness: Freshness,
    state: RwLock<State>,
    /// Held while keys are read, so that only one reads.
    flight: Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    read: Option<Instant>,
    tried: Option<Instant>,
}

impl KeySource {
    /// `keys` are those that were read already.
    pub fn new(issuer: &str, place: Place, freshness: Freshness, keys: Option<KeySet>) -> Arc<Self> {
        let read = keys.is_some().then(Instant::now);
        let state = RwLock::new(State { keys: keys.map(Arc::new), read, tried: None });
        Arc::new(Self { issuer: issuer.to_owned(), place, freshness, state, flight: Mutex::default() })
    }

    /// The keys that are known. Only the first use waits for them; `None`: they cannot be had.
    pub async fn current(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let state = self.state();
        if state.keys.is_none() {
            return self.renewed().await;
        }
        let old = state.read.is_none_or(|read| read.elapsed() >= self.freshness.refresh_after);
        if old && self.may_try(&state) {
            tokio::spawn(Arc::clone(self).refresh());
        }
        state.keys
    }

    /// The keys after another attempt to read them, if it is time for one.
    pub async fn renewed(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        // In a task of its own: a client that hangs up must not end what others wait for.
        if let Err(error) = tokio::spawn(Arc::clone(self).refresh()).await {
            tracing::error!(issuer = self.issuer, %error, "reading the keys of an issuer broke off");
        }
        self.state().keys
    }

    async fn refresh(self: Arc<Self>) {
        let _flight = self.flight.lock().await;
        if !self.may_try(&self.state()) {
            return;
        }
        self.change(|state| state.tried = Some(Instant::now()));
        match self.read().await {
            Ok(keys) => self.change(|state| {
                state.keys = Some(Arc::new(keys));
                state.read = Some(Instant::now());
            }),
            Err(error) => {
                let kept = self.state().keys.is_some();
                tracing::warn!(issuer = self.issuer, %error, kept, "the keys of an issuer cannot be read");
            }
        }
    }

    async fn read(&self) -> Result<KeySet, KeySourceError> {
        match &self.place {
            Place::Url(fetcher) => Ok(KeySet::parse(&fetcher.fetch().await?)?),
            Place::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_key_file(&path)).await;
                read.map_err(io::Error::other)?
            }
        }
    }

    fn may_try(&self, state: &State) -> bool {
        state.tried.is_none_or(|tried| tried.elapsed() >= self.freshness.floor)
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Reads a key set from a file; for start-up and for threads that may wait.
pub(super) fn read_key_file(path: &Path) -> Result<KeySet, KeySourceError> {
    Ok(KeySet::parse(&read_bounded(path)?)?)
}

/// Reads a small file whole.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(KEY_SET_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > KEY_SET_LIMIT {
        return Err(io::Error::other(format!("the file is larger than {KEY_SET_LIMIT} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::algorithm::SigningAlgorithm;
    use super::super::fetch::Patience;
    use super::super::testing::{Answer, Stub, TestKey, eventually, key_set};
    use super::*;

    const SLOW: Duration = Duration::from_secs(3600);

    fn of(stub: &Stub, refresh_after: Duration, floor: Duration) -> Arc<KeySource> {
        let fetcher = Fetcher::new(&stub.url("/keys"), true, Patience::default()).unwrap();
        KeySource::new("ci", Place::Url(fetcher), Freshness { refresh_after, floor }, None)
    }

    fn set_of_one() -> String {
        key_set(&[&TestKey::ed("one")])
    }

    #[tokio::test]
    async fn many_first_uses_are_one_fetch() {
        let set = set_of_one();
        let stub = Stub::start(move |_| Answer::ok(&set));
        let source = of(&stub, SLOW, SLOW);
        let uses: Vec<_> = (0..20)
            .map(|_| {
                let source = Arc::clone(&source);
                tokio::spawn(async move { source.current().await.is_some() })
            })
            .collect();
        for each in uses {
            assert!(each.await.unwrap());
        }
        assert_eq!(stub.requests(), 1);
    }

    #[tokio::test]
    async fn fresh_keys_are_not_fetched_again() {
        let set = set_of_one();
        let stub = Stub::start(move |_| Answer::ok(&set));
        let source = of(&stub, SLOW, Duration::ZERO);
        for _ in 0..5 {
            assert!(source.current().await.is_some());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(stub.requests(), 1);
    }

    #[tokio::test]
    async fn the_floor_counts_failures_and_successes() {
        let stub = Stub::start(|_| Answer::unavailable());
        let source = of(&stub, SLOW, SLOW);
        for _ in 0..5 {
            assert!(source.current().await.is_none());
            assert!(source.renewed().await.is_none());
        }
        assert_eq!(stub.requests(), 1);

        let set = set_of_one();
        let stub = Stub::start(move |_| Answer::ok(&set));
        let source = of(&stub, SLOW, Duration::from_secs(1));
        for _ in 0..5 {
            assert!(source.renewed().await.is_some());
        }
        assert_eq!(stub.requests(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(source.renewed().await.is_some());
        assert_eq!(stub.requests(), 2);
    }

    #[tokio::test]
    async fn old_keys_are_used_while_new_ones_are_fetched_and_when_that_fails() {
        let set = set_of_one();
        let stub = Stub::start(move |request| match request {
            0 => Answer::ok(&set),
            _ => Answer::raw("").held(),
        });
        let source = of(&stub, Duration::ZERO, Duration::from_millis(1));
        assert!(source.current().await.is_some());
        tokio::time::sleep(Duration::from_millis(5)).await;
        let before = Instant::now();
        for _ in 0..10 {
            assert!(source.current().await.is_some());
        }
        assert!(before.elapsed() < Duration::from_secs(1), "nobody waits for the refresh");
        eventually(|| stub.requests() == 2).await;
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_does_not_end_the_fetch() {
        let set = set_of_one();
        let stub = Stub::start(move |_| Answer::ok(&set));
        let source = of(&stub, SLOW, SLOW);
        let waiter = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.current().await.is_some() }
        });
        tokio::task::yield_now().await;
        waiter.abort();
        assert!(waiter.await.is_err_and(|error| error.is_cancelled()));
        eventually(|| source.state().keys.is_some()).await;
        assert_eq!(stub.requests(), 1);
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, r#"{"keys":[]}"#).unwrap();
        let freshness = Freshness { refresh_after: SLOW, floor: Duration::ZERO };
        let known = read_key_file(&path).unwrap();
        let source = KeySource::new("ci", Place::File(path.clone()), freshness, Some(known));
        let fits = |keys: Arc<KeySet>| keys.fits(&[SigningAlgorithm::EdDsa]);
        assert!(!fits(source.current().await.unwrap()));
        fs::write(&path, set_of_one()).unwrap();
        assert!(fits(source.renewed().await.unwrap()));
        fs::write(&path, "half of a se").unwrap();
        assert!(fits(source.renewed().await.unwrap()), "a broken file does not take the keys away");
        fs::write(&path, vec![b' '; KEY_SET_LIMIT + 1]).unwrap();
        assert!(fits(source.renewed().await.unwrap()));
    }
}
