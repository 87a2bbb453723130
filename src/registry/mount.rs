//! Mounting: linking a blob from another repository without sending it again.

use super::{Registry, RegistryError};
use crate::access::Caller;
use crate::digest::Digest;
use crate::meta::MountSource;
use crate::name::RepositoryName;

impl Registry {
    /// Links the blob if the caller may read it where it is. `false` tells nothing about why not.
    pub async fn mount(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
    ) -> Result<bool, RegistryError> {
        let scope = self.policy.mountable(caller);
        let source = match from {
            Some(from) if scope.contains(from) => MountSource::Repository(from.clone()),
            Some(_) => return Ok(false),
            None => MountSource::Scope(scope),
        };
        Ok(self.meta.mount_blob(repository, digest, source).await?.is_some())
    }
}
