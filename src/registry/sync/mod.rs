//! The sync after a start: what near lacks is fetched and what far lacks is shipped, beside serving.

mod progress;

use std::time::Duration;

use tokio::task::JoinSet;

use super::Registry;
use crate::blob::BlobError;
use crate::blob::tiered::{Backoff, Kept, TieredStore, Vacancy};
use crate::digest::Sha256;

pub use self::progress::{Failing, Readiness, ReadyWhen, SyncCounters, SyncState};

pub(super) use self::progress::Progress;

use self::progress::{Set, SyncError, SyncPhase, Work};

/// Digests that are taken from a list at a time.
const PAGE: usize = 1000;
/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How often what failed is tried again before everything is looked at anew.
const ROUNDS: u32 = 12;
const WAIT: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(60) };

impl Registry {
    /// Fetches what near lacks, first what tags lead to, then the rest, and ships what far lacks; what fails is tried
    /// again. It ends when nothing is left to do. A later start looks at everything anew, which costs little where
    /// the bytes are there.
    pub async fn sync(&self) {
        let Some(tiers) = &self.tiers else { return };
        let walk = Sync { registry: self, tiers: &tiers.store, progress: &tiers.progress };
        let tell = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                tiers.progress.tell();
            }
        };
        tokio::select! {
            () = walk.run() => tiers.progress.tell(),
            () = tell => {}
        }
    }

    /// Whether a server may be sent requests, as far as its blobs go, and how far the sync is.
    pub fn readiness(&self) -> Option<Readiness> {
        self.tiers.as_ref().map(|tiers| tiers.progress.readiness())
    }
}

struct Sync<'a> {
    registry: &'a Registry,
    tiers: &'a TieredStore,
    progress: &'a Progress,
}

/// What came of one blob.
type Done = (Work, Result<Outcome, SyncError>);

enum Outcome {
    Moved,
    /// It was there, or there is nothing to move.
    Nothing,
    /// Near is full.
    NoRoom,
}

/// Blobs under way, a bounded number of them.
struct Running {
    tasks: JoinSet<Done>,
    at_once: usize,
}

impl Sync<'_> {
    async fn run(&self) {
        loop {
            self.progress.begin();
            if self.progress.fetches() {
                self.hot().await;
            }
            self.everything().await;
            if self.try_again().await {
                break;
            }
        }
        self.progress.enter(SyncPhase::Done);
    }

    /// Fetches what a tag leads to.
    async fn hot(&self) {
        self.progress.enter(SyncPhase::Hot);
        let mut running = self.running();
        let mut after = None;
        while let Some(page) = self.page(Set::Hot, after).await {
            after = page.last().map(|(digest, _)| *digest);
            for (digest, size) in page {
                self.look(&mut running, Work::fetch(digest, size, Set::Hot)).await;
            }
        }
        self.finish(&mut running).await;
        self.progress.finished(Set::Hot);
    }

    /// Fetches the rest, and ships what far turns out to lack: the two lists are in the same order.
    async fn everything(&self) {
        self.progress.enter(SyncPhase::All);
        let mut running = self.running();
        let mut far = FarList::new(self.tiers);
        let mut after = None;
        while let Some(page) = self.page(Set::All, after).await {
            after = page.last().map(|(digest, _)| *digest);
            for (digest, size) in page {
                if !self.far_has(&mut far, &digest, size).await {
                    self.start(&mut running, Work::ship(digest, size)).await;
                }
                if self.progress.fetches() {
                    self.look(&mut running, Work::fetch(digest, size, Set::All)).await;
                }
            }
        }
        self.finish(&mut running).await;
        self.progress.finished(Set::All);
    }

    /// Tries what failed until nothing fails any more. `false`: everything has to be looked at again, since more failed
    /// than is remembered, or for so long that repositories may not have it any more.
    async fn try_again(&self) -> bool {
        for round in 1..=ROUNDS {
            if self.progress.forgot_failures() {
                return false;
            }
            let failing = self.progress.failing();
            if failing.is_empty() {
                return true;
            }
            self.progress.enter(SyncPhase::Retrying);
            tokio::time::sleep(WAIT.after(round)).await;
            let mut running = self.running();
            for work in failing {
                self.start(&mut running, work).await;
            }
            self.finish(&mut running).await;
        }
        false
    }

    /// The next digests of a list; `None` at its end. While the list cannot be read, nothing is missed.
    async fn page(&self, set: Set, after: Option<Sha256>) -> Option<Vec<(Sha256, u64)>> {
        let meta = &self.registry.meta;
        let mut failures = 0;
        loop {
            let page = match set {
                Set::Hot => meta.hot_digests(after, PAGE).await,
                Set::All => meta.digests(after, PAGE).await,
            };
            match page {
                Ok(page) => return (!page.is_empty()).then_some(page),
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%error, "the sync waits for the metadata store");
                    }
                    tokio::time::sleep(WAIT.after(failures)).await;
                }
            }
        }
    }

    async fn far_has(&self, far: &mut FarList<'_>, digest: &Sha256, size: u64) -> bool {
        let mut failures = 0;
        loop {
            match far.size(digest).await {
                Ok(found) => return found == Some(size),
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%error, "the sync waits for the far store");
                    }
                    tokio::time::sleep(WAIT.after(failures)).await;
                }
            }
        }
    }

    /// Starts to fetch a blob that near lacks.
    async fn look(&self, running: &mut Running, work: Work) {
        self.progress.seen(work.set);
        if self.registry.check_blocked(&work.digest).await.is_err() {
            // Nobody gets it, so it need not be here.
            return;
        }
        match self.tiers.near_size(&work.digest).await {
            Ok(Some(near)) if near == work.size => {}
            Ok(_) => {
                self.progress.missing(&work);
                self.start(running, work).await;
            }
            Err(error) => {
                self.progress.missing(&work);
                self.progress.failed(work, &error.into());
            }
        }
    }

    /// Starts to move a blob, once there are few enough under way.
    async fn start(&self, running: &mut Running, work: Work) {
        while running.tasks.len() >= running.at_once {
            self.join_one(running).await;
        }
        if work.is_fetch() {
            if self.progress.is_full() {
                return;
            }
            match self.tiers.vacancy(work.size).await {
                Vacancy::Free => {}
                Vacancy::Full => return self.progress.full(),
                // It is never near, so nobody waits for it.
                Vacancy::TooLarge => return self.progress.arrived(&work, false),
            }
        }
        let tiers = self.tiers.clone();
        running.tasks.spawn(async move {
            let done = move_one(&tiers, &work).await;
            (work, done)
        });
    }

    async fn finish(&self, running: &mut Running) {
        while !running.tasks.is_empty() {
            self.join_one(running).await;
        }
    }

    async fn join_one(&self, running: &mut Running) {
        match running.tasks.join_next().await {
            Some(Ok((work, Ok(Outcome::Moved)))) => self.progress.arrived(&work, true),
            Some(Ok((work, Ok(Outcome::Nothing)))) => self.progress.arrived(&work, false),
            Some(Ok((_, Ok(Outcome::NoRoom)))) => self.progress.full(),
            Some(Ok((work, Err(error)))) => self.progress.failed(work, &error),
            Some(Err(panicked)) => tracing::error!(%panicked, "a blob was not moved"),
            None => {}
        }
    }

    fn running(&self) -> Running {
        Running { tasks: JoinSet::new(), at_once: self.progress.at_once() }
    }
}

async fn move_one(tiers: &TieredStore, work: &Work) -> Result<Outcome, SyncError> {
    if !work.is_fetch() {
        return match tiers.near_size(&work.digest).await? {
            // That nobody has it is told where it is fetched.
            None => Ok(Outcome::Nothing),
            Some(_) if tiers.ship_missing(&work.digest, work.size).await? => Ok(Outcome::Moved),
            Some(_) => Ok(Outcome::Nothing),
        };
    }
    if tiers.near_size(&work.digest).await?.is_some_and(|near| near != work.size)
        && !tiers.drop_damaged(&work.digest, work.size).await?
    {
        return Err(SyncError::Damaged);
    }
    match tiers.bring_near(&work.digest).await? {
        Some(Kept::Already) => Ok(Outcome::Nothing),
        Some(Kept::Fetched) => Ok(Outcome::Moved),
        Some(Kept::NoRoom) => Ok(Outcome::NoRoom),
        Some(Kept::NotKept) => Err(SyncError::NotKept),
        None => Err(SyncError::Lost),
    }
}

/// The list of far, read along with another one in the same order.
struct FarList<'a> {
    tiers: &'a TieredStore,
    page: std::vec::IntoIter<(Sha256, u64)>,
    next: Option<(Sha256, u64)>,
    last: Option<Sha256>,
    ended: bool,
}

impl<'a> FarList<'a> {
    fn new(tiers: &'a TieredStore) -> Self {
        Self { tiers, page: Vec::new().into_iter(), next: None, last: None, ended: false }
    }

    /// How many bytes far has of a digest. Digests are asked for in ascending order.
    async fn size(&mut self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        while self.next.is_none_or(|(next, _)| next < *digest) {
            if let Some(next) = self.page.next() {
                self.next = Some(next);
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            // What lies before the digest need not be listed.
            let page = self.tiers.far_list(self.last.max(before(digest)), PAGE).await?;
            self.ended = page.len() < PAGE;
            self.last = page.last().map(|(last, _)| *last).or(self.last);
            self.page = page.into_iter();
        }
        Ok(self.next.and_then(|(next, size)| (next == *digest).then_some(size)))
    }
}

/// The digest right before one; `None` before the first.
fn before(digest: &Sha256) -> Option<Sha256> {
    let mut before = *digest;
    for byte in before.0.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            return Some(before);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_right_before_it() {
        let mut digest = Sha256([7; 32]);
        assert_eq!(before(&digest).map(|before| before.0[31]), Some(6));
        digest.0[31] = 0;
        let less = before(&digest).unwrap();
        assert_eq!((less.0[30], less.0[31]), (6, 255));
        assert!(less < digest);
        assert_eq!(before(&Sha256([0; 32])), None);
    }
}
