//! Deleting: links and tags go at once. Bytes stay: nothing removes blobs from the store yet.

use super::{Registry, RegistryError};
use crate::access::Requester;
use crate::digest::Digest;
use crate::name::{Reference, RepositoryName};

impl Registry {
    /// Deletes a tag, or a manifest with all its tags. `false`: there was none.
    pub async fn delete_manifest(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<bool, RegistryError> {
        match reference {
            Reference::Digest(digest) => {
                let deleted = self.meta.delete_manifest(repository, digest, &requester.actor()).await;
                self.cache.deleted(repository);
                Ok(deleted?)
            }
            Reference::Tag(tag) => {
                let deleted = self.meta.delete_tag(repository, tag, &requester.actor()).await;
                self.cache.tag_written(repository);
                Ok(deleted?)
            }
        }
    }

    /// Removes a blob from a repository. `false`: it was not there.
    pub async fn delete_blob(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let deleted = self.meta.unlink_blob(repository, digest, &requester.actor()).await;
        self.cache.deleted(repository);
        Ok(deleted?)
    }
}
