//! Blobs as files: `blobs/sha256/<first two hex>/<hex>`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use metrics::Counter;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Blob, BlobError, BlobStore, Content};
use crate::digest::Sha256;
use crate::staging::Staged;

/// How often the disk was asked, for `/metrics` and for tests that count.
#[derive(Clone)]
pub struct LocalCounters {
    pub opens: Counter,
    pub puts: Counter,
}

impl LocalCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self { opens: Counter::noop(), puts: Counter::noop() }
    }
}

/// A folder of files that are never changed once they have their name.
pub struct LocalStore {
    root: Arc<Path>,
    counters: LocalCounters,
}

impl LocalStore {
    /// Opens the store below `blobs`, and makes its 256 folders when they are not there yet.
    pub fn open(blobs: &Path, counters: LocalCounters) -> io::Result<Self> {
        let root = blobs.join("sha256");
        // The last folder is made last: when it stands, all do, and the start costs one look.
        if !root.join("ff").is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
            for first in 0..=u8::MAX {
                match fs::create_dir(root.join(format!("{first:02x}"))) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        // At every start: an earlier one may have been cut off between making and syncing.
        for folder in [Some(root.as_path()), Some(blobs), blobs.parent()].into_iter().flatten() {
            sync_folder(folder)?;
        }
        Ok(Self { root: root.into(), counters })
    }
}

/// A blob as its folder tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub digest: Sha256,
    pub size: u64,
    /// When it was last opened, as far as that is noted, or written.
    pub used: SystemTime,
}

impl LocalStore {
    /// Where a blob stands, or would.
    pub(super) fn path(&self, digest: &Sha256) -> PathBuf {
        folder_of(&self.root, digest).join(digest.hex())
    }

    /// Looks at every blob, in no order, without holding more than a folder's names.
    pub(super) async fn look_at_all<T: Send + 'static>(
        &self,
        mut found: T,
        mut look: impl FnMut(&mut T, Entry) + Send + 'static,
    ) -> io::Result<T> {
        let root = Arc::clone(&self.root);
        let all = spawn_blocking(move || {
            for first in 0..=u8::MAX {
                let folder = root.join(format!("{first:02x}"));
                for digest in digests_in(&folder)? {
                    // One that went meanwhile is none any more.
                    let Some(metadata) = there(fs::metadata(folder.join(digest.hex())))? else { continue };
                    let used = metadata.modified()?.max(metadata.accessed()?);
                    look(&mut found, Entry { digest, size: metadata.len(), used });
                }
            }
            Ok(found)
        });
        all.await.map_err(io::Error::other)?
    }
}

fn folder_of(root: &Path, digest: &Sha256) -> PathBuf {
    root.join(&digest.hex()[..2])
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a change of a folder has to outlive a power loss when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Durable,
    /// The blob is elsewhere, too: whichever state comes back is right.
    Fleeting,
}

impl LocalStore {
    /// Keeps a blob that is durable elsewhere. Its bytes are synced before they have their name, its name is not.
    pub(super) async fn keep_copy(&self, staged: &Staged) -> io::Result<()> {
        self.link(staged, Names::Fleeting).await
    }

    /// Gives up a blob that is durable elsewhere. `false`: it was not there.
    pub(super) async fn drop_copy(&self, digest: &Sha256) -> io::Result<bool> {
        self.unlink(digest, Names::Fleeting).await
    }

    async fn link(&self, staged: &Staged, names: Names) -> io::Result<()> {
        self.counters.puts.increment(1);
        let root = Arc::clone(&self.root);
        let digest = staged.digests().sha256;
        let size = staged.size();
        let source = staged.path().to_owned();
        let file = staged.file();
        let put = spawn_blocking(move || {
            file.sync_data()?;
            let folder = folder_of(&root, &digest);
            let target = folder.join(digest.hex());
            match fs::hard_link(&source, &target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Somebody else's link may not be durable yet, so the folder is synced here as well.
                    // A file of another size was damaged from outside: the bytes at hand replace it.
                    if fs::metadata(&target)?.len() != size {
                        tracing::error!(%digest, "a stored blob had the wrong size and is replaced");
                        replace(&source, &target)?;
                    }
                }
                linked => linked?,
            }
            match names {
                Names::Durable => sync_folder(&folder),
                Names::Fleeting => Ok(()),
            }
        });
        put.await.map_err(io::Error::other)?
    }

    async fn unlink(&self, digest: &Sha256, names: Names) -> io::Result<bool> {
        let folder = folder_of(&self.root, digest);
        let path = folder.join(digest.hex());
        let remove = spawn_blocking(move || match (there(fs::remove_file(path))?, names) {
            (None, _) => Ok(false),
            (Some(()), Names::Fleeting) => Ok(true),
            (Some(()), Names::Durable) => sync_folder(&folder).map(|()| true),
        });
        remove.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl BlobStore for LocalStore {
    async fn put(&self, staged: &Staged) -> Result<(), BlobError> {
        Ok(self.link(staged, Names::Durable).await?)
    }

    async fn open(&self, digest: &Sha256) -> Result<Option<Blob>, BlobError> {
        self.counters.opens.increment(1);
        let path = self.path(digest);
        let open = spawn_blocking(move || {
            let Some(file) = there(File::open(path))? else { return Ok::<_, io::Error>(None) };
            let size = file.metadata()?.len();
            Ok(Some(Blob { size, content: Content::File(Arc::new(file)) }))
        });
        Ok(open.await.map_err(io::Error::other)??)
    }

    async fn size(&self, digest: &Sha256) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        let look = spawn_blocking(move || there(fs::metadata(path).map(|metadata| metadata.len())));
        Ok(look.await.map_err(io::Error::other)??)
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<(Sha256, u64)>, BlobError> {
        let root = Arc::clone(&self.root);
        let list = spawn_blocking(move || {
            let mut listed = Vec::new();
            for first in after.map_or(0, |after| after.0[0])..=u8::MAX {
                if listed.len() >= limit {
                    break;
                }
                list_folder(&root.join(format!("{first:02x}")), after, limit, &mut listed)?;
            }
            Ok::<_, io::Error>(listed)
        });
        Ok(list.await.map_err(io::Error::other)??)
    }

    async fn remove(&self, digest: &Sha256) -> Result<bool, BlobError> {
        Ok(self.unlink(digest, Names::Durable).await?)
    }
}

/// What is not there is no error.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The blobs of one folder. Files with other names are none of ours.
fn digests_in(folder: &Path) -> io::Result<Vec<Sha256>> {
    let mut digests = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        digests.extend(name.to_str().and_then(|name| Sha256::from_hex(name).ok()));
    }
    Ok(digests)
}

/// Adds blobs of one folder until there are `limit`.
fn list_folder(
    folder: &Path,
    after: Option<Sha256>,
    limit: usize,
    listed: &mut Vec<(Sha256, u64)>,
) -> io::Result<()> {
    let mut digests = digests_in(folder)?;
    digests.retain(|digest| after.is_none_or(|after| *digest > after));
    digests.sort_unstable();
    for digest in digests {
        if listed.len() >= limit {
            break;
        }
        // One that went meanwhile is not listed.
        let size = there(fs::metadata(folder.join(digest.hex())).map(|metadata| metadata.len()))?;
        listed.extend(size.map(|size| (digest, size)));
    }
    Ok(())
}

fn replace(source: &Path, target: &Path) -> io::Result<()> {
    // Named like every staged file, so that the sweep finds it after a crash.
    let beside = source.with_file_name(Uuid::now_v7().to_string());
    fs::hard_link(source, &beside)?;
    fs::rename(beside, target)
}
