//! Fetching from far: one at a time of each digest, however many ask, and it goes on when they go away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::super::far::Fetched;
use super::super::filling::{Arrival, FillError, Filling};
use super::super::{Blob, BlobError, Content};
use super::Tiers;
use super::backoff::Backoff;
use crate::digest::{Algorithm, Sha256};
use crate::staging::{Intake, Source, Staged, StagingError};

/// Fills at the same time: each has a connection, a file, and two or three MiB of memory.
const FILLS: usize = 64;
/// How long a part of a blob may take to come.
const STALL: Duration = Duration::from_secs(60);
/// When so long nothing more came, readers get what there is.
const LINGER: Duration = Duration::from_millis(20);
/// Digests whose last failure is remembered.
const FAILURES: usize = 10_000;

/// Between tries of something that may pass.
const PASSING: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };
/// Between tries of something that somebody has to repair: each of them may fetch the whole blob.
const LASTING: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

pub(super) struct Fills {
    flights: Mutex<HashMap<Sha256, Flight>>,
    failures: Mutex<HashMap<Sha256, Failure>>,
    permits: Semaphore,
}

impl Default for Fills {
    fn default() -> Self {
        Self { flights: Mutex::default(), failures: Mutex::default(), permits: Semaphore::new(FILLS) }
    }
}

/// A fill under way.
#[derive(Clone)]
struct Flight {
    stage: watch::Receiver<Stage>,
    /// The blob was removed meanwhile: it is not kept.
    forgotten: Arc<AtomicBool>,
}

/// How far a fill has come.
#[derive(Clone)]
enum Stage {
    Begun,
    /// It arrives, and may be read.
    Arriving(Blob),
    Done(Result<End, FillError>),
}

/// How a fill ended that did not fail.
#[derive(Clone)]
enum End {
    Present(Blob, Kept),
    Absent,
}

/// Whether near has a blob now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It had it before.
    Already,
    Fetched,
    /// It was fetched and is right, but near has no room for it.
    NoRoom,
    /// It was fetched and is right, but near could not keep it, or was told not to.
    NotKept,
}

/// What failed the last time.
struct Failure {
    error: FillError,
    count: u32,
    again: Instant,
}

/// Opens a blob that near did not have: from far, while it is fetched.
pub(super) async fn open(tiers: &Arc<Tiers>, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
    let stage = join(tiers, digest)?;
    match reached(stage, |stage| !matches!(stage, Stage::Begun)).await? {
        Stage::Arriving(blob) | Stage::Done(Ok(End::Present(blob, _))) => Ok(Some(blob)),
        Stage::Begun | Stage::Done(Ok(End::Absent)) => Ok(None),
        Stage::Done(Err(error)) => Err(error.into()),
    }
}

/// Waits until near has a blob.
pub(super) async fn bring_near(tiers: &Arc<Tiers>, digest: &Sha256) -> Result<Option<Kept>, BlobError> {
    if tiers.near.size(digest).await?.is_some() {
        return Ok(Some(Kept::Already));
    }
    let stage = join(tiers, digest)?;
    match reached(stage, |stage| matches!(stage, Stage::Done(_))).await? {
        Stage::Done(Ok(End::Present(_, kept))) => Ok(Some(kept)),
        Stage::Done(Err(error)) => Err(error.into()),
        Stage::Begun | Stage::Arriving(_) | Stage::Done(Ok(End::Absent)) => Ok(None),
    }
}

async fn reached(
    mut stage: watch::Receiver<Stage>,
    wanted: impl FnMut(&Stage) -> bool,
) -> Result<Stage, BlobError> {
    let reached = stage.wait_for(wanted).await.map(|stage| stage.clone());
    reached.map_err(|_| BlobError::Unavailable("a fill was given up".into()))
}

/// The fill of a digest: the one that is under way, or a new one in a task of its own.
fn join(tiers: &Arc<Tiers>, digest: &Sha256) -> Result<watch::Receiver<Stage>, FillError> {
    let mut flights = tiers.fills.flights();
    if let Some(flight) = flights.get(digest) {
        return Ok(flight.stage.clone());
    }
    if let Some(error) = tiers.fills.must_wait(digest) {
        return Err(error);
    }
    let (sender, stage) = watch::channel(Stage::Begun);
    let flight = Flight { stage: stage.clone(), forgotten: Arc::default() };
    flights.insert(*digest, flight.clone());
    let fill = Fill { tiers: Arc::clone(tiers), digest: *digest, sender, forgotten: flight.forgotten };
    tokio::spawn(fill.run());
    Ok(stage)
}

impl Fills {
    fn flights(&self) -> MutexGuard<'_, HashMap<Sha256, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Sha256, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is under way of a blob that was removed from far will not be kept. The caller has the turn.
    pub(super) fn forget(&self, digest: &Sha256) {
        if let Some(flight) = self.flights().get(digest) {
            flight.forgotten.store(true, Ordering::SeqCst);
        }
    }

    /// The last failure, while it is too early for another try.
    fn must_wait(&self, digest: &Sha256) -> Option<FillError> {
        let failures = self.failures();
        let failure = failures.get(digest)?;
        (Instant::now() < failure.again).then(|| failure.error.clone())
    }

    fn failed(&self, digest: Sha256, error: &FillError) {
        let mut failures = self.failures();
        let now = Instant::now();
        if failures.len() >= FAILURES {
            failures.retain(|_, failure| now < failure.again);
        }
        let count = failures.get(&digest).map_or(0, |failure| failure.count).saturating_add(1);
        let backoff = match error {
            FillError::Unavailable(_) => PASSING,
            FillError::WrongBytes(_) | FillError::Broken(_) => LASTING,
        };
        failures.insert(digest, Failure { error: error.clone(), count, again: now + backoff.after(count) });
    }
}

/// One fill, to its end.
struct Fill {
    tiers: Arc<Tiers>,
    digest: Sha256,
    sender: watch::Sender<Stage>,
    forgotten: Arc<AtomicBool>,
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.tiers.fills.flights().remove(&self.digest);
    }
}

impl Fill {
    async fn run(self) {
        let (digest, counters) = (self.digest, &self.tiers.counters);
        let end = self.fill().await;
        match &end {
            Ok(_) => drop(self.tiers.fills.failures().remove(&digest)),
            Err(error) => {
                counters.fill_failed(error);
                self.tiers.fills.failed(digest, error);
                match error {
                    FillError::Unavailable(_) => {
                        tracing::warn!(%digest, %error, "a blob could not be fetched")
                    }
                    FillError::WrongBytes(_) => tracing::error!(%digest, %error, "far has a damaged blob"),
                    FillError::Broken(_) => tracing::error!(%digest, %error, "a blob could not be fetched"),
                }
            }
        }
        self.sender.send_replace(Stage::Done(end));
    }

    async fn fill(&self) -> Result<End, FillError> {
        let permit = self.tiers.fills.permits.acquire().await;
        // An earlier fill may have ended between our look at near and our turn.
        if let Some(blob) = self.tiers.near.open(&self.digest).await.map_err(of_store)? {
            return Ok(End::Present(blob, Kept::Already));
        }
        let fetched = self.tiers.far.fetch(&self.digest).await.map_err(of_store)?;
        let Some(Fetched { size, mut source }) = fetched else { return Ok(End::Absent) };
        let mut intake = self.tiers.staging.begin(Algorithm::Sha256, size).await.map_err(of_staging)?;
        let (arrival, filling) = Filling::begin(intake.file());
        intake.observe(arrival.observer());
        let file = Arc::clone(filling.file());
        self.sender.send_replace(Stage::Arriving(Blob { size, content: Content::Filling(filling) }));
        let staged = match self.receive(intake, &mut *source, size, &arrival).await {
            Ok(staged) => staged,
            Err(error) => {
                arrival.failed(error.clone());
                return Err(error);
            }
        };
        arrival.verified();
        drop((permit, source));
        self.tiers.counters.fills.increment(1);
        let kept = self.keep(&staged).await;
        Ok(End::Present(Blob { size, content: Content::File(file) }, kept))
    }

    /// Takes in what comes, and finds out whether it is the blob (P1).
    async fn receive(
        &self,
        mut intake: Intake,
        source: &mut dyn Source,
        size: u64,
        arrival: &Arrival,
    ) -> Result<Staged, FillError> {
        while let Some(piece) = next_piece(&mut intake, source).await? {
            if arrival.is_refused() {
                return Err(FillError::WrongBytes(format!("{size} bytes, and the blob has another number")));
            }
            intake.write(piece).await.map_err(of_staging)?;
        }
        let staged = intake.finish(Algorithm::Sha256).await.map_err(of_staging)?;
        if staged.digests().sha256 == self.digest && staged.size() == size {
            return Ok(staged);
        }
        Err(FillError::WrongBytes(format!("{} bytes of {}", staged.size(), staged.digests().sha256)))
    }

    /// Whoever reads has the bytes already, so a near store that cannot keep them is no failure of the fill.
    async fn keep(&self, staged: &Staged) -> Kept {
        let Some(_room) = self.tiers.near.room_for(staged.size()).await else { return Kept::NoRoom };
        let _turn = self.tiers.turns.take(self.digest).await;
        if self.forgotten.load(Ordering::SeqCst) {
            return Kept::NotKept;
        }
        match self.tiers.near.keep_copy(staged).await {
            Ok(()) => Kept::Fetched,
            Err(error) => {
                tracing::error!(digest = %self.digest, %error, "near could not keep what was fetched");
                Kept::NotKept
            }
        }
    }
}

/// The next piece. While it does not come, what came before is written for those who wait for it.
async fn next_piece(intake: &mut Intake, source: &mut dyn Source) -> Result<Option<bytes::Bytes>, FillError> {
    let mut next = source.next();
    let piece = match tokio::time::timeout(LINGER, &mut next).await {
        Ok(piece) => piece,
        Err(_) => {
            intake.flush().await.map_err(of_staging)?;
            let stalled = |_| FillError::Unavailable("the far store stopped in the middle of a blob".into());
            tokio::time::timeout(STALL, next).await.map_err(stalled)?
        }
    };
    piece.map_err(|error| FillError::Unavailable(error.to_string()))
}

fn of_store(error: BlobError) -> FillError {
    match error {
        BlobError::Unavailable(reason) => FillError::Unavailable(reason),
        BlobError::Io(error) => FillError::Broken(error.to_string()),
    }
}

fn of_staging(error: StagingError) -> FillError {
    match error {
        StagingError::TooLarge { limit } => {
            FillError::WrongBytes(format!("more than the {limit} bytes it announced"))
        }
        StagingError::Source(error) => FillError::Unavailable(error.to_string()),
        StagingError::Io(error) => FillError::Broken(error.to_string()),
    }
}
