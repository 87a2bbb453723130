//! Bytes coming in: a file, a running digest and a cap, until they are a [`Staged`] value.
//!
//! A [`Staged`] is the only thing that a blob store accepts, and only this file can make one: nothing enters
//! a store that was not hashed here while it arrived (promise P1).

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rustix::fs::{Advice, fadvise};
use thiserror::Error;
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use crate::digest::{Algorithm, Digests, Hasher};

/// Bytes that are gathered before they go to a thread that hashes and writes them.
const BATCH_BYTES: usize = 1024 * 1024;
/// Pieces below this size are copied together: each would keep the buffer alive that it was read into, and
/// a piece may be a single byte.
const SMALL_PIECE: usize = 4 * 1024;

/// Where the bytes come from, piece by piece: a request's body, or anything else.
#[async_trait]
pub trait Source: Send {
    /// The next piece; `None` at the end. An error means that the rest will not come.
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError>;
}

#[async_trait]
impl Source for Option<Bytes> {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.take())
    }
}

/// The sender stopped before the end.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SourceError {
    #[error("the connection broke before the end of the body")]
    Broken,
    #[error("no part of the body came for too long")]
    Stalled,
}

/// Why bytes could not be staged.
#[derive(Debug, Error)]
pub enum StagingError {
    #[error("more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("staging: {0}")]
    Io(#[from] io::Error),
}

/// The folder of incoming bytes, on the file system of the blobs.
#[derive(Clone, Debug)]
pub struct Staging {
    folder: Arc<Path>,
}

impl Staging {
    /// Opens or makes the folder.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder: folder.into() })
    }

    /// Starts a file that goes away when it is dropped.
    pub async fn begin(&self, algorithm: Algorithm, limit: u64) -> Result<Intake, StagingError> {
        let path = self.folder.join(Uuid::now_v7().to_string());
        self.create(path, Lifetime::Request, algorithm, limit).await
    }

    /// Starts the file of an upload session; it stays until [`Staging::discard`].
    pub async fn begin_session(
        &self,
        session: Uuid,
        algorithm: Algorithm,
        limit: u64,
    ) -> Result<Intake, StagingError> {
        self.create(self.session_path(session), Lifetime::Session, algorithm, limit).await
    }

    async fn create(
        &self,
        path: PathBuf,
        lifetime: Lifetime,
        algorithm: Algorithm,
        limit: u64,
    ) -> Result<Intake, StagingError> {
        let (file, path) = blocking(move || {
            // Never over an older file: a store may have linked it, and its bytes would change under their digest.
            remove_if_there(&path)?;
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            Ok((file, path))
        })
        .await?;
        Ok(Intake::new(StagedFile { file: Arc::new(file), path, lifetime }, Hasher::new(algorithm), 0, limit))
    }

    /// Takes up the file of a session at an offset that was made durable before. What stands behind the
    /// offset is cut off. `None` when the bytes or the state are gone: the session cannot go on.
    pub async fn resume(
        &self,
        session: Uuid,
        checkpoint: &Checkpoint,
        limit: u64,
    ) -> Result<Option<Intake>, StagingError> {
        let Some(hasher) = Hasher::restore(&checkpoint.hash_state) else {
            return Ok(None);
        };
        let path = self.session_path(session);
        let offset = checkpoint.offset;
        let opened = blocking(move || Ok(reopen(&path, offset)?.map(|file| (file, path)))).await?;
        Ok(opened.map(|(file, path)| {
            let file = StagedFile { file: Arc::new(file), path, lifetime: Lifetime::Session };
            Intake::new(file, hasher, offset, limit)
        }))
    }

    /// Removes the bytes of a session, if there are any.
    pub async fn discard(&self, session: Uuid) -> io::Result<()> {
        let path = self.session_path(session);
        blocking(move || remove_if_there(&path)).await
    }

    /// Names of the files that were begun before the time given, as their names tell it: a modification time
    /// is too coarse to tell a file of this process from one that was left just before its start.
    pub async fn files_before(&self, time: SystemTime) -> io::Result<Vec<Uuid>> {
        let folder = Arc::clone(&self.folder);
        let limit = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        blocking(move || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let name: Option<Uuid> = entry?.file_name().to_str().and_then(|name| name.parse().ok());
                let begun = |name: &Uuid| {
                    let (seconds, nanoseconds) = name.get_timestamp()?.to_unix();
                    Some(u128::from(seconds) * 1000 + u128::from(nanoseconds) / 1_000_000)
                };
                names.extend(name.filter(|name| begun(name).is_some_and(|begun| begun < limit)));
            }
            Ok(names)
        })
        .await
    }

    /// Takes in a file that a store has, without copying it: its digest is computed once more, as disks rot. The
    /// bytes stay readable here, whatever happens to the file in the store.
    pub async fn rehash(&self, file: &Path) -> io::Result<Staged> {
        let (file, path) = (file.to_owned(), self.folder.join(Uuid::now_v7().to_string()));
        blocking(move || {
            fs::hard_link(&file, &path)?;
            let linked = OpenOptions::new().read(true).open(&path).map(Arc::new);
            let file = StagedFile { file: linked?, path, lifetime: Lifetime::Request };
            let digests = hash_file(&file.path, Algorithm::Sha256)?.finish();
            Ok(Staged { digests, size: file.file.metadata()?.len(), file })
        })
        .await
    }

    /// A file without a name, for bytes that come out of the store and never go in. It blocks.
    pub fn scratch(&self) -> io::Result<File> {
        let path = self.folder.join(Uuid::now_v7().to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    fn session_path(&self, session: Uuid) -> PathBuf {
        self.folder.join(session.to_string())
    }
}

/// How far a session has come, so that another process can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes that are durable.
    pub offset: u64,
    /// [`Hasher::save`] after those bytes.
    pub hash_state: Vec<u8>,
}

impl Checkpoint {
    /// The state of a session that has received nothing.
    pub fn start(algorithm: Algorithm) -> Self {
        Self { offset: 0, hash_state: Hasher::new(algorithm).save() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// Removed on drop.
    Request,
    /// Removed by [`Staging::discard`] alone.
    Session,
}

#[derive(Debug)]
struct StagedFile {
    file: Arc<File>,
    path: PathBuf,
    lifetime: Lifetime,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Session {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, "a staged file could not be removed; the next start removes it");
            }
        };
        // Freeing a large file takes a while, too long for a thread that serves others.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Told how many bytes stand in the file of an intake, each time that there are more.
pub type Observer = Arc<dyn Fn(u64) + Send + Sync>;

/// Bytes on their way in.
pub struct Intake {
    file: StagedFile,
    /// `None` while a thread has it, or after that thread failed.
    hasher: Option<Hasher>,
    job: Option<JoinHandle<io::Result<Hasher>>>,
    batch: Vec<Bytes>,
    /// Small pieces behind the batch, copied together.
    small: BytesMut,
    batch_bytes: usize,
    received: u64,
    limit: u64,
    /// The file is new, and its name is not durable yet.
    unnamed: bool,
    observer: Option<Observer>,
}

impl Intake {
    fn new(file: StagedFile, hasher: Hasher, received: u64, limit: u64) -> Self {
        let unnamed = received == 0;
        Self {
            file,
            hasher: Some(hasher),
            job: None,
            batch: Vec::new(),
            small: BytesMut::new(),
            batch_bytes: 0,
            received,
            limit,
            unnamed,
            observer: None,
        }
    }

    /// From now on `observer` is told how far the file has come.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// The file, for those who read what has been written so far.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file.file)
    }

    /// Bytes taken so far, those of earlier requests of the session included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes a piece. Memory stays within two batches: while one is hashed and written, the next gathers.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StagingError> {
        let received = self.received + piece.len() as u64;
        if received > self.limit {
            return Err(StagingError::TooLarge { limit: self.limit });
        }
        self.received = received;
        self.batch_bytes += piece.len();
        if piece.len() < SMALL_PIECE {
            self.small.extend_from_slice(&piece);
        } else {
            self.gather_small();
            self.batch.push(piece);
        }
        if self.batch_bytes >= BATCH_BYTES {
            self.start_batch().await?;
        }
        Ok(())
    }

    /// Takes all pieces of a source.
    pub async fn drain(&mut self, source: &mut dyn Source) -> Result<(), StagingError> {
        while let Some(piece) = source.next().await? {
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Writes what has gathered, also when that is little: somebody waits for it.
    pub async fn flush(&mut self) -> Result<(), StagingError> {
        if self.batch_bytes > 0 {
            self.start_batch().await?;
        }
        Ok(())
    }

    fn gather_small(&mut self) {
        if !self.small.is_empty() {
            self.batch.push(self.small.split().freeze());
        }
    }

    async fn start_batch(&mut self) -> io::Result<()> {
        self.gather_small();
        let mut hasher = self.settle().await?;
        let batch = std::mem::take(&mut self.batch);
        let length = std::mem::take(&mut self.batch_bytes) as u64;
        let offset = self.received - length;
        let (file, observer) = (Arc::clone(&self.file.file), self.observer.clone());
        self.job = Some(spawn_blocking(move || {
            write_all_vectored(&file, &batch)?;
            if let Some(observer) = observer {
                observer(offset + length);
            }
            if length >= BATCH_BYTES as u64 {
                start_writeback(&file, offset, length);
            }
            for piece in &batch {
                hasher.update(piece);
            }
            Ok(hasher)
        }));
        Ok(())
    }

    /// Waits for the batch under way and takes the hasher out.
    async fn settle(&mut self) -> io::Result<Hasher> {
        if let Some(job) = self.job.take() {
            self.hasher = Some(join(job).await?);
        }
        self.hasher.take().ok_or_else(|| io::Error::other("an earlier write of this file failed"))
    }

    /// Gives the intake up once no thread writes to its file any more, so that the next one has it alone.
    pub async fn abandon(mut self) {
        if let Some(job) = self.job.take()
            && let Err(error) = join(job).await
        {
            tracing::debug!(%error, "a write failed after its upload was refused");
        }
    }

    /// Makes everything so far durable and says where that is.
    pub async fn checkpoint(&mut self) -> Result<Checkpoint, StagingError> {
        self.flush().await?;
        let hasher = self.settle().await?;
        let file = Arc::clone(&self.file.file);
        let folder = self.file.path.parent().filter(|_| self.unnamed).map(Path::to_owned);
        blocking(move || {
            file.sync_data()?;
            folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        })
        .await?;
        self.unnamed = false;
        let checkpoint = Checkpoint { offset: self.received, hash_state: hasher.save() };
        self.hasher = Some(hasher);
        Ok(checkpoint)
    }

    /// Ends the intake. A digest in an algorithm that was not computed on the way costs one reading of the file.
    pub async fn finish(mut self, algorithm: Algorithm) -> Result<Staged, StagingError> {
        self.flush().await?;
        let mut hasher = self.settle().await?;
        if !hasher.computes(algorithm) {
            let path = self.file.path.clone();
            hasher = blocking(move || hash_file(&path, algorithm)).await?;
        }
        Ok(Staged { digests: hasher.finish(), size: self.received, file: self.file })
    }
}

/// Bytes on local disk, with digests that were computed from them. They need not be durable yet.
#[derive(Debug)]
pub struct Staged {
    file: StagedFile,
    digests: Digests,
    size: u64,
}

impl Staged {
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file, on the file system of the blobs. A store may link it, never move it.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The open file, for its durability.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file.file)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a session's file for writing at the offset, with nothing behind it.
///
/// When a store has linked the file and the row that says so was never written, the bytes have a digest
/// for a name already and may not be touched: the session goes on with a copy.
fn reopen(path: &Path, offset: u64) -> io::Result<Option<File>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.len() < offset {
        return Ok(None);
    }
    if metadata.nlink() > 1 {
        let beside = path.with_file_name(Uuid::now_v7().to_string());
        file = match replace_by_copy(&file, offset, &beside, path) {
            Ok(copy) => copy,
            Err(error) => {
                remove_if_there(&beside)?;
                return Err(error);
            }
        };
    } else if metadata.len() > offset {
        file.set_len(offset)?;
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(Some(file))
}

/// Were the folder not synced, a power loss could bring the linked file back under the session's name.
fn replace_by_copy(mut file: &File, length: u64, beside: &Path, path: &Path) -> io::Result<File> {
    let mut copy = OpenOptions::new().read(true).write(true).create_new(true).open(beside)?;
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut file.take(length), &mut copy)?;
    copy.sync_data()?;
    fs::rename(beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok(copy)
}

fn write_all_vectored(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has the disk begin while the rest arrives, so that the sync at the end waits for the last bytes only.
/// On Linux this advice starts the writing of dirty pages and drops clean ones, and these are not clean yet.
/// It waits for nothing and takes no error away from the sync, so it may fail unseen.
fn start_writeback(file: &File, offset: u64, length: u64) {
    let _ = fadvise(file, offset, NonZeroU64::new(length), Advice::DontNeed);
}

fn hash_file(path: &Path, algorithm: Algorithm) -> io::Result<Hasher> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BATCH_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    join(spawn_blocking(work)).await
}

async fn join<T>(job: JoinHandle<io::Result<T>>) -> io::Result<T> {
    job.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use std::time::Duration;

    fn staging() -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::open(folder.path().join("staging")).unwrap();
        (folder, staging)
    }

    async fn files(staging: &Staging) -> usize {
        staging.files_before(SystemTime::now() + Duration::from_secs(60)).await.unwrap().len()
    }

    /// P1: the digest is computed from the bytes that arrived, in whatever pieces.
    #[tokio::test]
    async fn p1_the_digest_is_of_the_bytes() {
        let (_folder, staging) = staging();
        let bytes: Vec<u8> = (0..3_000_001u32).map(|n| n as u8).collect();
        let mut intake = staging.begin(Algorithm::Sha256, u64::MAX).await.unwrap();
        for piece in bytes.chunks(65_537) {
            intake.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let staged = intake.finish(Algorithm::Sha512).await.unwrap();
        assert_eq!(staged.digests().sha256, Sha256::of(&bytes));
        assert!(staged.digests().sha512.is_some());
        assert_eq!(fs::read(staged.path()).unwrap(), bytes);
    }

    #[tokio::test]
    async fn the_cap_holds_and_nothing_stays_behind() {
        let (_folder, staging) = staging();
        let mut intake = staging.begin(Algorithm::Sha256, 10).await.unwrap();
        intake.write(Bytes::from_static(b"0123456789")).await.unwrap();
        let error = intake.write(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(error, StagingError::TooLarge { limit: 10 }));
        drop(intake);
        while files(&staging).await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_session_goes_on_from_its_checkpoint() {
        let (_folder, staging) = staging();
        let session = Uuid::now_v7();
        let mut intake = staging.begin_session(session, Algorithm::Sha512, u64::MAX).await.unwrap();
        intake.write(Bytes::from_static(b"durable ")).await.unwrap();
        let checkpoint = intake.checkpoint().await.unwrap();
        intake.write(Bytes::from_static(b"and lost")).await.unwrap();
        intake.start_batch().await.unwrap();
        intake.abandon().await;

        let mut intake = staging.resume(session, &checkpoint, u64::MAX).await.unwrap().unwrap();
        assert_eq!(intake.received(), 8);
        intake.write(Bytes::from_static(b"again")).await.unwrap();
        let staged = intake.finish(Algorithm::Sha512).await.unwrap();
        assert_eq!(staged.digests().sha256, Sha256::of(b"durable again"));
        assert_eq!(fs::read(staged.path()).unwrap(), b"durable again");
        drop(staged);
        assert_eq!(files(&staging).await, 1, "the file of a session outlives its requests");
        staging.discard(session).await.unwrap();
        staging.discard(session).await.unwrap();
        assert_eq!(files(&staging).await, 0);
    }

    /// P1: bytes that a store has linked keep their digest, whatever their session does afterwards.
    #[tokio::test]
    async fn p1_a_linked_file_is_never_written_again() {
        let (folder, staging) = staging();
        let linked = folder.path().join("linked");
        for durable in ["", "dur"] {
            let session = Uuid::now_v7();
            let mut intake = staging.begin_session(session, Algorithm::Sha256, u64::MAX).await.unwrap();
            intake.write(Bytes::from(durable)).await.unwrap();
            let checkpoint = intake.checkpoint().await.unwrap();
            intake.write(Bytes::from_static(b"able bytes")).await.unwrap();
            let staged = intake.finish(Algorithm::Sha256).await.unwrap();
            let _ = fs::remove_file(&linked);
            fs::hard_link(staged.path(), &linked).unwrap();
            let before = fs::read(&linked).unwrap();

            let mut intake = if durable.is_empty() {
                staging.begin_session(session, Algorithm::Sha256, u64::MAX).await.unwrap()
            } else {
                staging.resume(session, &checkpoint, u64::MAX).await.unwrap().unwrap()
            };
            intake.write(Bytes::from_static(b"OTHER BYTES")).await.unwrap();
            let staged = intake.finish(Algorithm::Sha256).await.unwrap();
            assert_eq!(fs::read(staged.path()).unwrap(), [durable.as_bytes(), b"OTHER BYTES"].concat());
            assert_eq!(staged.digests().sha256, Sha256::of(&fs::read(staged.path()).unwrap()));
            assert_eq!(fs::read(&linked).unwrap(), before);
        }
    }

    #[tokio::test]
    async fn a_session_without_its_bytes_cannot_go_on() {
        let (_folder, staging) = staging();
        let session = Uuid::now_v7();
        let lost = Checkpoint { offset: 5, ..Checkpoint::start(Algorithm::Sha256) };
        assert!(staging.resume(session, &lost, 10).await.unwrap().is_none());
        drop(staging.begin_session(session, Algorithm::Sha256, 10).await.unwrap());
        assert!(staging.resume(session, &lost, 10).await.unwrap().is_none());
        let damaged = Checkpoint { offset: 0, hash_state: vec![1, 2, 3] };
        assert!(staging.resume(session, &damaged, 10).await.unwrap().is_none());
    }
}
