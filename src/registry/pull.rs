//! Pulling: the link first, from memory when warm; the bytes only when they are really sent.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::SMALL_BLOB;
use super::{Fault, Registry, RegistryError};
use crate::access::{Action, Caller, Verdict};
use crate::blob::{Blob, BlobError, Content};
use crate::digest::{Digest, Sha256};
use crate::meta::{Holder, ManifestRecord};
use crate::name::{Reference, RepositoryName};

/// Bytes that a repository links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The digest to answer with: the one that was asked for.
    pub digest: Digest,
    pub sha256: Sha256,
    pub size: u64,
}

/// A manifest that a repository has.
#[derive(Debug, Clone)]
pub struct FoundManifest {
    pub found: Found,
    pub record: Arc<ManifestRecord>,
}

/// Bytes that some repository links which the caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Immutable {
    pub found: Found,
    /// Whether everybody may read them.
    pub public: bool,
}

impl Registry {
    /// A blob of a repository. The caller's right to read the repository was decided before.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Found>, RegistryError> {
        let record = self.cache.blob(repository, digest, self.meta.blob(repository, digest)).await?;
        let Some(record) = record else { return Ok(None) };
        self.check_blocked(&record.digests.sha256).await?;
        Ok(Some(Found { digest: *digest, sha256: record.digests.sha256, size: record.size }))
    }

    /// A manifest of a repository, by tag or digest.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<FoundManifest>, RegistryError> {
        let record = match reference {
            Reference::Digest(digest) => {
                let read = async { Ok(self.meta.manifest(repository, digest).await?.map(Arc::new)) };
                self.cache.manifest(repository, digest, read).await
            }
            Reference::Tag(tag) => {
                let read = async { Ok(self.meta.tag(repository, tag).await?.map(Arc::new)) };
                // Another node may have moved it, and this one would not know.
                match self.followed.is_silent() {
                    true => read.await,
                    false => self.cache.tag(repository, tag, read).await,
                }
            }
        };
        let record: Option<Arc<ManifestRecord>> = record.map_err(Fault::Meta)?;
        let Some(record) = record else { return Ok(None) };
        self.check_blocked(&record.digests.sha256).await?;
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => record.digest(),
        };
        let found = Found { digest, sha256: record.digests.sha256, size: record.size };
        Ok(Some(FoundManifest { found, record }))
    }

    /// Bytes by their digest alone: found only through a repository that the caller may read (P3).
    pub async fn immutable(
        &self,
        caller: &Caller,
        digest: &Sha256,
    ) -> Result<Option<Immutable>, RegistryError> {
        let public = |holder: &Holder| self.policy.is_public(&holder.repository);
        let read = async {
            // A public holder is looked for first, so that the answer may be kept by shared caches.
            match self.meta.holder(digest, &self.policy.public()).await? {
                Some(holder) => Ok(Some(holder)),
                None if caller.is_anonymous() => Ok(None),
                None => self.meta.holder(digest, &self.policy.readable(caller)).await,
            }
        };
        let acceptable =
            |holder: &Holder| self.policy.may(caller, Action::Pull, &holder.repository) == Verdict::Allowed;
        let holder = self.cache.holder(digest, acceptable, read).await.map_err(Fault::Meta)?;
        if holder.is_some() {
            self.check_blocked(digest).await?;
        }
        Ok(holder.map(|holder| Immutable {
            public: public(&holder),
            found: Found { digest: Digest::Sha256(*digest), sha256: *digest, size: holder.size },
        }))
    }

    /// The bytes of something that was found: from memory, from an open file, or from the store.
    pub async fn content(&self, found: &Found) -> Result<Blob, RegistryError> {
        if found.size <= SMALL_BLOB {
            let bytes = self.small(found).await?;
            return Ok(Blob { size: found.size, content: Content::Memory(bytes) });
        }
        // Boxed, as below: every pull would carry the room that loading takes.
        let load = Box::pin(self.cache.files.try_get_with(found.sha256, self.load_file(found)));
        match load.await.map_err(|not_kept| (*not_kept).clone()) {
            Ok(blob) | Err(NotKept::Filling(blob)) => Ok(blob),
            Err(NotKept::Failed(fault)) => Err(Fault::Shared(fault).into()),
        }
    }

    /// A blob to be kept open. One that is still arriving is not: that may fail yet.
    async fn load_file(&self, found: &Found) -> Result<Blob, NotKept> {
        let blob = self.load(found).await.map_err(|fault| NotKept::Failed(Arc::new(fault)))?;
        match blob.content {
            Content::Memory(_) | Content::File(_) => Ok(blob),
            Content::Filling(_) => Err(NotKept::Filling(blob)),
        }
    }

    /// The bytes of a manifest, always through memory.
    pub async fn manifest_bytes(&self, found: &Found) -> Result<Bytes, RegistryError> {
        self.small(found).await
    }

    async fn small(&self, found: &Found) -> Result<Bytes, RegistryError> {
        if let Some(bytes) = self.cache.bytes.get(&found.sha256).await {
            return Ok(bytes);
        }
        let load = async {
            if let Some(bytes) = self.load(found).await?.read_checked(found.sha256).await? {
                return Ok(bytes);
            }
            if !self.drop_damaged(found).await? {
                return Err(Fault::Damaged(found.sha256));
            }
            let bytes = self.load(found).await?.read_checked(found.sha256).await?;
            bytes.ok_or(Fault::Damaged(found.sha256))
        };
        let load = Box::pin(self.cache.bytes.try_get_with(found.sha256, load));
        Ok(load.await.map_err(Fault::Shared)?)
    }

    pub(super) async fn load(&self, found: &Found) -> Result<Blob, Fault> {
        match self.load_sized(found).await {
            Err(Fault::Damaged(_)) if self.drop_damaged(found).await? => self.load_sized(found).await,
            loaded => loaded,
        }
    }

    async fn load_sized(&self, found: &Found) -> Result<Blob, Fault> {
        let opened = self.blobs.open(&found.sha256).await;
        let blob = opened.map_err(|error: BlobError| Fault::Blob(error))?;
        let blob = blob.ok_or(Fault::BytesMissing(found.sha256))?;
        // A file of another length can't be the blob. It is never sent as if it were.
        if blob.size == found.size {
            return Ok(blob);
        }
        if let Content::Filling(filling) = &blob.content {
            filling.refuse();
        }
        Err(Fault::Damaged(found.sha256))
    }
}

/// What a look for a file to keep open came to, when there was none to keep.
#[derive(Clone)]
enum NotKept {
    Failed(Arc<Fault>),
    Filling(Blob),
}
