//! The outbox: a file for each blob that far has to get, named by its digest, until far has it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::digest::Sha256;

/// Marks that are taken from the disk at a time.
const BATCH: usize = 1000;

pub(super) struct Outbox {
    folder: Arc<Path>,
    marks: Mutex<Marks>,
    /// Told when there is something to ship.
    arrived: Notify,
}

#[derive(Default)]
struct Marks {
    by_digest: HashMap<Sha256, Mark>,
    /// What is to be shipped next; the others are under way or stuck.
    queue: VecDeque<Sha256>,
    rounds: u64,
}

impl Marks {
    /// A number that no mark had before.
    fn next_round(&mut self) -> u64 {
        self.rounds += 1;
        self.rounds
    }
}

struct Mark {
    since: SystemTime,
    /// Another one whenever the blob comes again: a shipment that began before says nothing about what came since.
    round: u64,
    /// It cannot be shipped until it comes again.
    is_stuck: bool,
}

/// What waits to be shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub blobs: usize,
    /// Since when the oldest waits.
    pub oldest: Option<Duration>,
}

/// A blob that is to be shipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shipment {
    pub(super) digest: Sha256,
    round: u64,
}

impl Outbox {
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder: folder.into(), marks: Mutex::default(), arrived: Notify::new() })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a blob has to be shipped. The note is durable when this returns. The caller has the turn.
    pub(super) async fn mark(&self, digest: Sha256) -> io::Result<()> {
        if self.mark_again(digest) {
            return Ok(());
        }
        let folder = Arc::clone(&self.folder);
        blocking(move || {
            File::options().create(true).append(true).open(folder.join(digest.hex()))?.sync_all()?;
            File::open(&folder)?.sync_all()
        })
        .await?;
        self.take_up(digest, SystemTime::now());
        Ok(())
    }

    /// `false`: it has no mark.
    fn mark_again(&self, digest: Sha256) -> bool {
        let mut marks = self.marks();
        let round = marks.next_round();
        let Some(mark) = marks.by_digest.get_mut(&digest) else { return false };
        mark.round = round;
        if std::mem::take(&mut mark.is_stuck) {
            marks.queue.push_back(digest);
            self.arrived.notify_one();
        }
        true
    }

    /// Whether a blob has to be shipped. It asks the disk: the notes of an earlier process may not be read yet.
    pub(super) async fn holds(&self, digest: &Sha256) -> io::Result<bool> {
        let path = self.folder.join(digest.hex());
        blocking(move || path.try_exists()).await
    }

    /// Whether a blob that was taken up has to be shipped still.
    pub(super) fn is_marked(&self, digest: &Sha256) -> bool {
        self.marks().by_digest.contains_key(digest)
    }

    /// Takes up what an earlier process noted.
    pub(super) async fn load(&self) -> io::Result<()> {
        let folder = Arc::clone(&self.folder);
        let mut entries = blocking(move || fs::read_dir(folder)).await?;
        loop {
            let (batch, rest) = blocking(move || Ok((next_marks(&mut entries)?, entries))).await?;
            if batch.is_empty() {
                return Ok(());
            }
            entries = rest;
            for (digest, since) in batch {
                self.take_up(digest, since);
            }
        }
    }

    fn take_up(&self, digest: Sha256, since: SystemTime) {
        let mut marks = self.marks();
        let round = marks.next_round();
        if let Entry::Vacant(free) = marks.by_digest.entry(digest) {
            free.insert(Mark { since, round, is_stuck: false });
            marks.queue.push_back(digest);
            self.arrived.notify_one();
        }
    }

    /// The next blob to ship, once there is one.
    pub(super) async fn next(&self) -> Shipment {
        loop {
            if let Some(shipment) = self.try_next() {
                return shipment;
            }
            self.arrived.notified().await;
        }
    }

    fn try_next(&self) -> Option<Shipment> {
        let mut marks = self.marks();
        loop {
            let digest = marks.queue.pop_front()?;
            // One that was struck meanwhile is nothing to ship.
            if let Some(mark) = marks.by_digest.get(&digest) {
                let shipment = Shipment { digest, round: mark.round };
                if !marks.queue.is_empty() {
                    self.arrived.notify_one();
                }
                return Some(shipment);
            }
        }
    }

    /// Far has it. The caller has the turn.
    pub(super) async fn shipped(&self, shipment: Shipment) -> io::Result<()> {
        if self.came_again(shipment) {
            self.put_back(shipment);
            return Ok(());
        }
        self.strike(&shipment.digest).await
    }

    /// It cannot be shipped as it is. Its note stays.
    pub(super) fn stuck(&self, shipment: Shipment) {
        if self.came_again(shipment) {
            self.put_back(shipment);
        } else if let Some(mark) = self.marks().by_digest.get_mut(&shipment.digest) {
            mark.is_stuck = true;
        }
    }

    fn came_again(&self, shipment: Shipment) -> bool {
        self.marks().by_digest.get(&shipment.digest).is_some_and(|mark| mark.round != shipment.round)
    }

    /// To be tried again, after the others.
    pub(super) fn put_back(&self, shipment: Shipment) {
        self.marks().queue.push_back(shipment.digest);
        self.arrived.notify_one();
    }

    /// Removes a note, if there is one. The caller has the turn. Were it to come back after a crash, far would be
    /// found to have the blob.
    pub(super) async fn strike(&self, digest: &Sha256) -> io::Result<()> {
        let path = self.folder.join(digest.hex());
        let struck = blocking(move || match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        struck.await?;
        self.marks().by_digest.remove(digest);
        Ok(())
    }

    pub(super) fn waiting(&self) -> Waiting {
        let marks = self.marks();
        let oldest = marks.by_digest.values().map(|mark| mark.since).min();
        Waiting {
            blobs: marks.by_digest.len(),
            oldest: oldest.map(|since| since.elapsed().unwrap_or_default()),
        }
    }
}

/// Files with other names are none of ours.
fn next_marks(entries: &mut fs::ReadDir) -> io::Result<Vec<(Sha256, SystemTime)>> {
    let mut marks = Vec::new();
    for entry in entries.take(BATCH) {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(digest) = name.to_str().and_then(|name| Sha256::from_hex(name).ok()) {
            let since = entry.metadata().and_then(|metadata| metadata.modified());
            marks.push((digest, since.unwrap_or_else(|_| SystemTime::now())));
        }
    }
    Ok(marks)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
