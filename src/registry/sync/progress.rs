//! How far the sync is: for the log, for metrics, and for who asks whether the server is ready.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge};
use thiserror::Error;

use crate::blob::BlobError;
use crate::blob::filling::FillError;
use crate::digest::Sha256;

/// Failures that are remembered one by one.
const REMEMBERED: usize = 1000;
/// Failures that readiness lists.
const LISTED: usize = 20;

/// When a server is ready, as far as its blobs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyWhen {
    /// At once: what is missing is fetched when it is asked for.
    Always,
    /// When everything that a tag leads to is near.
    Hot,
    /// When everything is near.
    All,
}

/// Why a blob was not moved.
#[derive(Debug, Error)]
pub(super) enum SyncError {
    #[error("neither near nor far has it")]
    Lost,
    #[error("near could not keep it")]
    NotKept,
    #[error("the near copy is damaged, and far has none")]
    Damaged,
    #[error(transparent)]
    Store(#[from] BlobError),
}

impl SyncError {
    /// For everybody: no names, no addresses.
    fn reason(&self) -> &'static str {
        let filling = |error: &std::io::Error| {
            let error = error.get_ref().and_then(|error| error.downcast_ref::<FillError>());
            matches!(error, Some(FillError::WrongBytes(_)))
        };
        match self {
            Self::Lost => "neither near nor far has it",
            Self::NotKept => "near could not keep it",
            Self::Damaged => "the near copy is damaged, and far has none",
            Self::Store(BlobError::Unavailable(_)) => "the far store does not answer",
            Self::Store(BlobError::Io(error)) if filling(error) => "the far store has other bytes",
            Self::Store(BlobError::Io(_)) => "something is broken; the log says what",
        }
    }
}

/// What the sync did, for `/metrics`.
#[derive(Clone)]
pub struct SyncCounters {
    pub fetched: Counter,
    pub shipped: Counter,
    pub failures: Counter,
    pub missing_hot: Gauge,
    pub missing_all: Gauge,
    /// Blobs that failed and are tried again.
    pub failing: Gauge,
}

impl SyncCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self {
            fetched: Counter::noop(),
            shipped: Counter::noop(),
            failures: Counter::noop(),
            missing_hot: Gauge::noop(),
            missing_all: Gauge::noop(),
            failing: Gauge::noop(),
        }
    }
}

/// What the sync is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPhase {
    Waiting,
    Hot,
    All,
    Retrying,
    Done,
}

impl SyncPhase {
    /// Its name where people and programs read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Hot => "hot",
            Self::All => "all",
            Self::Retrying => "retrying",
            Self::Done => "done",
        }
    }
}

/// Which list a digest is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Hot,
    All,
}

/// A blob that has to be moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) digest: Sha256,
    pub(super) size: u64,
    pub(super) set: Set,
    fetch: bool,
}

impl Work {
    pub(super) fn fetch(digest: Sha256, size: u64, set: Set) -> Self {
        Self { digest, size, set, fetch: true }
    }

    pub(super) fn ship(digest: Sha256, size: u64) -> Self {
        Self { digest, size, set: Set::All, fetch: false }
    }

    pub(super) fn is_fetch(&self) -> bool {
        self.fetch
    }
}

/// One list: how much of it was looked at, what near lacks of it, and whether it was looked at to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncState {
    pub seen: u64,
    pub missing: u64,
    pub ended: bool,
}

/// A blob that could not be moved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub digest: Sha256,
    /// What everybody may know; the log has more.
    pub reason: &'static str,
    pub tries: u32,
}

/// Whether the server is ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub is_ready: bool,
    pub phase: SyncPhase,
    /// Near has no room for more, so nothing more is fetched.
    pub is_full: bool,
    pub hot: SyncState,
    pub all: SyncState,
    /// The first of what failed.
    pub failing: Vec<Failing>,
    /// How much failed in all.
    pub failing_total: u64,
}

pub(in crate::registry) struct Progress {
    when: ReadyWhen,
    /// Blobs that are moved at the same time; 0: none are fetched.
    at_once: usize,
    state: Mutex<State>,
    counters: SyncCounters,
}

struct State {
    phase: SyncPhase,
    hot: SyncState,
    all: SyncState,
    is_full: bool,
    /// Once a server was ready it stays so: what was evicted since was there.
    was_ready: bool,
    failing: BTreeMap<(Sha256, bool), Failed>,
    /// Failures that there was no room to remember.
    forgotten: u64,
    /// What the log knows.
    told: Option<(SyncPhase, SyncState, SyncState, u64)>,
}

struct Failed {
    work: Work,
    reason: &'static str,
    tries: u32,
    missed: Missed,
}

/// In which lists a blob counts as missing.
#[derive(Debug, Clone, Copy, Default)]
struct Missed {
    hot: bool,
    all: bool,
}

impl Missed {
    fn and(self, set: Set) -> Self {
        Self { hot: self.hot || set == Set::Hot, all: self.all || set == Set::All }
    }
}

impl Progress {
    pub(in crate::registry) fn new(when: ReadyWhen, at_once: usize, counters: SyncCounters) -> Self {
        let state = State {
            phase: SyncPhase::Waiting,
            hot: SyncState::default(),
            all: SyncState::default(),
            is_full: false,
            was_ready: false,
            failing: BTreeMap::new(),
            forgotten: 0,
            told: None,
        };
        Self { when, at_once, state: Mutex::new(state), counters }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fetches(&self) -> bool {
        self.at_once > 0
    }

    pub(super) fn at_once(&self) -> usize {
        self.at_once.max(1)
    }

    /// Everything is looked at, again perhaps.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.hot = SyncState::default();
        state.all = SyncState::default();
        state.is_full = false;
        state.failing.clear();
        state.forgotten = 0;
        self.show(&state);
    }

    pub(super) fn enter(&self, phase: SyncPhase) {
        self.state().phase = phase;
    }

    pub(super) fn seen(&self, set: Set) {
        self.state().list(set).seen += 1;
    }

    pub(super) fn missing(&self, work: &Work) {
        let mut state = self.state();
        state.list(work.set).missing += 1;
        self.show(&state);
    }

    pub(super) fn finished(&self, set: Set) {
        self.state().list(set).ended = true;
        self.tell();
    }

    /// A blob is where it was to come; `moved`: the sync brought it there.
    pub(super) fn arrived(&self, work: &Work, moved: bool) {
        let mut state = self.state();
        let failed = state.failing.remove(&(work.digest, work.fetch));
        if work.fetch {
            let missed = failed.map_or(Missed::default(), |failed| failed.missed).and(work.set);
            state.hot.missing = state.hot.missing.saturating_sub(missed.hot.into());
            state.all.missing = state.all.missing.saturating_sub(missed.all.into());
        }
        if moved {
            let counter = if work.fetch { &self.counters.fetched } else { &self.counters.shipped };
            counter.increment(1);
        }
        self.show(&state);
    }

    pub(super) fn failed(&self, work: Work, error: &SyncError) {
        self.counters.failures.increment(1);
        let mut state = self.state();
        let key = (work.digest, work.fetch);
        let (tries, missed) =
            state.failing.remove(&key).map_or((0, Missed::default()), |before| (before.tries, before.missed));
        let tries = tries + 1;
        // Each is told by its name, and then again now and then.
        if tries.is_power_of_two() {
            let what = if work.fetch { "fetched" } else { "shipped" };
            tracing::warn!(digest = %work.digest, %error, tries, "a blob could not be {what}; it is tried again");
        }
        if state.failing.len() < REMEMBERED {
            state
                .failing
                .insert(key, Failed { work, reason: error.reason(), tries, missed: missed.and(work.set) });
        } else {
            state.forgotten += 1;
        }
        self.show(&state);
    }

    pub(super) fn full(&self) {
        let mut state = self.state();
        if !state.is_full {
            state.is_full = true;
            tracing::info!("near is full: the sync fetches nothing more");
        }
        state.failing.retain(|_, failed| !failed.work.fetch);
        self.show(&state);
    }

    pub(super) fn is_full(&self) -> bool {
        self.state().is_full
    }

    /// What failed and is to be tried again.
    pub(super) fn failing(&self) -> Vec<Work> {
        self.state().failing.values().map(|failed| failed.work).collect()
    }

    pub(super) fn forgot_failures(&self) -> bool {
        self.state().forgotten > 0
    }

    /// Tells the log, if anything changed since it was told last.
    pub(super) fn tell(&self) {
        let mut state = self.state();
        let now = (state.phase, state.hot, state.all, state.failing_total());
        if state.told.replace(now) == Some(now) {
            return;
        }
        tracing::info!(
            phase = state.phase.label(),
            hot_seen = state.hot.seen,
            hot_missing = state.hot.missing,
            all_seen = state.all.seen,
            all_missing = state.all.missing,
            failing = state.failing_total(),
            "start-up sync"
        );
    }

    pub(super) fn readiness(&self) -> Readiness {
        let mut state = self.state();
        let there = |list: SyncState| list.ended && list.missing == 0;
        state.was_ready |= match self.when {
            ReadyWhen::Always => true,
            ReadyWhen::Hot => there(state.hot),
            ReadyWhen::All => there(state.all),
        };
        let failing = state.failing.values().take(LISTED).map(|failed| Failing {
            digest: failed.work.digest,
            reason: failed.reason,
            tries: failed.tries,
        });
        Readiness {
            // What is not fetched is not waited for.
            is_ready: state.was_ready || state.is_full || !self.fetches(),
            phase: state.phase,
            is_full: state.is_full,
            hot: state.hot,
            all: state.all,
            failing: failing.collect(),
            failing_total: state.failing_total(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating, and these are read by people")]
    fn show(&self, state: &State) {
        self.counters.missing_hot.set(state.hot.missing as f64);
        self.counters.missing_all.set(state.all.missing as f64);
        self.counters.failing.set(state.failing_total() as f64);
    }
}

impl State {
    fn list(&mut self, set: Set) -> &mut SyncState {
        match set {
            Set::Hot => &mut self.hot,
            Set::All => &mut self.all,
        }
    }

    fn failing_total(&self) -> u64 {
        self.failing.len() as u64 + self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(when: ReadyWhen) -> Progress {
        Progress::new(when, 4, SyncCounters::noop())
    }

    fn blob(n: u64, set: Set) -> Work {
        let mut digest = Sha256([0; 32]);
        digest.0[..8].copy_from_slice(&n.to_be_bytes());
        Work::fetch(digest, n, set)
    }

    /// What is missed in both lists is missing once in each, and arrives in both.
    #[test]
    fn a_blob_is_missed_and_arrives_once_in_each_list() {
        let progress = progress(ReadyWhen::Hot);
        progress.missing(&blob(1, Set::Hot));
        progress.failed(blob(1, Set::Hot), &SyncError::Lost);
        progress.finished(Set::Hot);
        progress.missing(&blob(1, Set::All));
        progress.failed(blob(1, Set::All), &SyncError::Lost);
        progress.missing(&blob(2, Set::All));
        progress.finished(Set::All);
        let told = progress.readiness();
        assert_eq!((told.hot.missing, told.all.missing, told.failing_total), (1, 2, 1));
        assert_eq!((told.is_ready, told.failing[0].tries), (false, 2));
        progress.arrived(&blob(2, Set::All), true);
        let again = progress.failing();
        assert_eq!(again.len(), 1);
        progress.arrived(&again[0], true);
        let told = progress.readiness();
        assert_eq!((told.hot.missing, told.all.missing, told.failing_total), (0, 0, 0));
        assert!(told.is_ready);
        // Once ready it stays so, whatever a later walk finds.
        progress.begin();
        progress.missing(&blob(1, Set::Hot));
        assert!(progress.readiness().is_ready);
    }

    #[test]
    fn failures_are_remembered_up_to_a_bound() {
        let progress = progress(ReadyWhen::All);
        for n in 0..REMEMBERED as u64 + 5 {
            progress.missing(&blob(n, Set::All));
            progress.failed(blob(n, Set::All), &SyncError::Lost);
        }
        let told = progress.readiness();
        assert_eq!((told.failing.len(), told.failing_total), (LISTED, REMEMBERED as u64 + 5));
        assert!(progress.forgot_failures());
        progress.begin();
        assert!(!progress.forgot_failures() && progress.failing().is_empty());
    }

    /// Reasons that everybody reads name nothing of the inside.
    #[test]
    fn reasons_have_no_names_in_them() {
        let store = |error: BlobError| SyncError::Store(error).reason();
        assert_eq!(store(BlobError::Unavailable("10.0.0.7".into())), "the far store does not answer");
        assert_eq!(store(FillError::WrongBytes("x".into()).into()), "the far store has other bytes");
        let broken = store(FillError::Broken("/var/lib/quire".into()).into());
        assert_eq!(broken, "something is broken; the log says what");
    }
}
