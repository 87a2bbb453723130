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
        let source = match from {
            Some(from) if scope.contains(from) => MountSource::Repository(from.clone()),
            Some(_) => return Ok(false),
            None => MountSource::Scope(scope),
        };
        match self.meta.mount_blob(repository, digest, source, &requester.actor()).await? {
            MountBlob::Mounted(blob) => {
                // A link leads to nothing while it is blocked, but who pushes should hear of it here.
                self.check_blocked(&blob.digests.sha256).await?;
                Ok(true)
            }
            MountBlob::Absent => Ok(false),
            MountBlob::Refused(refusal) => Err(Refusal::Catalog(refusal).into()),
        }
    }
}
