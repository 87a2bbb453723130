//! Mounting: linking a blob from another repository without sending it again.

use super::{Refusal, Registry, RegistryError};
use crate::access::Requester;
use crate::digest::Digest;
use crate::meta::{MountBlob, MountSource};
use crate::name::RepositoryName;

impl Registry {
    /// Links the blob if the caller may read it where it is. `false` tells nothing about why not.
    pub async fn mount(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
    ) -> Result<bool, RegistryError> {
        let scope = self.policy.mountable(&requester.caller);
        if let Digest::Sha256(sha256) = digest
            && let Err(RegistryError::Refused(_)) = self.check_blocked(sha256).await
        {
            // Nothing is linked, and who can't read it where it is doesn't learn that it is there.
            match from {
                Some(from) if scope.contains(from) => self.blob(from, digest).await.map(drop)?,
                Some(_) => {}
                None => self.immutable(&requester.caller, sha256).await.map(drop)?,
            }
            return Ok(false);
        }
        let source = match from {
            Some(from) if scope.contains(from) => MountSource::Repository(from.clone()),
            Some(_) => return Ok(false),
            None => MountSource::Scope(scope),
        };
        match self.meta.mount_blob(repository, digest, source, &requester.actor()).await? {
            MountBlob::Mounted(blob) => {
                // Named by its SHA-512, it is known only now. A link leads to nothing while it is blocked.
                self.check_blocked(&blob.digests.sha256).await?;
                Ok(true)
            }
            MountBlob::Absent => Ok(false),
            MountBlob::Refused(refusal) => Err(Refusal::Catalog(refusal).into()),
        }
    }
}
