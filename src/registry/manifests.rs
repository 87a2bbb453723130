//! Pushing manifests: read strictly, stored as they came, visible with everything that belongs to them.

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Fault, Refusal, Registry, RegistryError};
use crate::access::Requester;
use crate::digest::{Algorithm, Digest};
use crate::manifest::{self, Manifest};
use crate::media_type::MediaType;
use crate::meta::{NewManifest, PutManifest, TagCondition};
use crate::name::{Reference, RepositoryName, Tag};
use crate::package::ARTIFACT_TYPE;
use crate::staging::Staged;

/// A manifest that came in.
#[derive(Debug, Clone)]
pub struct ManifestPush {
    pub repository: RepositoryName,
    pub reference: Reference,
    /// Tags beside the reference.
    pub tags: Vec<Tag>,
    /// What has to hold for the tags that are written.
    pub condition: TagCondition,
    pub content_type: Option<MediaType>,
    pub bytes: Bytes,
}

/// What the answer to a manifest push tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedManifest {
    /// In the algorithm of the reference.
    pub digest: Digest,
    pub subject: Option<Digest>,
}

impl Registry {
    /// Stores a manifest and points tags to it, all or nothing.
    pub async fn push_manifest(
        &self,
        requester: &Requester,
        push: ManifestPush,
    ) -> Result<PushedManifest, RegistryError> {
        let ManifestPush { repository, reference, mut tags, condition, content_type, bytes } = push;
        let algorithm = match &reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let staged = self.stage_manifest(bytes.clone(), algorithm).await?;
        let computed = staged.digests().get(algorithm).unwrap_or(staged.digests().sha256.into());
        match reference {
            Reference::Digest(digest) if digest != computed => {
                return Err(Refusal::DigestMismatch { computed }.into());
            }
            Reference::Digest(_) => {}
            Reference::Tag(tag) => tags.push(tag),
        }
        let parsed = bytes.clone();
        let parse = spawn_blocking(move || Manifest::parse(&parsed, content_type.as_ref()));
        let parsed = parse.await.map_err(|error| Fault::Staging(std::io::Error::other(error)))?;
        let manifest = parsed.map_err(Refusal::Manifest)?;
        let subject = manifest.subject;

        let mut plugin = None;
        if manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE) {
            plugin = Some(self.read_artifact(&repository, &bytes, &tags).await?.new.into());
        }
        let new = NewManifest {
            repository: repository.clone(),
            digests: *staged.digests(),
            size: staged.size(),
            manifest,
            blobs: Vec::new(),
            plugin,
            tags,
            condition,
            may_move: self.policy.may_move_tags(&requester.caller, &repository),
            actor: requester.actor(),
        };
        // Asked before the bytes are stored, so that a refused manifest leaves nothing behind; the
        // transaction below asks again, and its answer counts.
        stored(self.meta.check_manifest(&new).await?, &new)?;
        self.blobs.put(&staged).await?;
        let outcome = self.meta.put_manifest(new.clone()).await;
        // Also when it failed: an answer that was lost may stand for a write that was done.
        self.cache.tag_written(&repository);
        stored(outcome?, &new)?;
        Ok(PushedManifest { digest: computed, subject })
    }

    pub(super) async fn stage_manifest(
        &self,
        bytes: Bytes,
        algorithm: Algorithm,
    ) -> Result<Staged, RegistryError> {
        let mut intake = self.staging.begin(algorithm, manifest::SIZE_LIMIT as u64).await?;
        intake.write(bytes).await?;
        Ok(intake.finish(algorithm).await?)
    }
}

pub(super) fn stored(outcome: PutManifest, new: &NewManifest) -> Result<(), Refusal> {
    match outcome {
        PutManifest::Stored | PutManifest::Present => Ok(()),
        PutManifest::VersionTaken { version, package, manifest } => {
            let ours = new.plugin.as_ref().map_or(new.digests.sha256, |plugin| plugin.package);
            Err(Refusal::VersionTaken { version, package, manifest, ours })
        }
        PutManifest::Blocked { digest, reason } => Err(Refusal::Blocked { digest, reason }),
        PutManifest::Missing(digests) => Err(Refusal::ManifestReferences(digests)),
        PutManifest::WrongSize { digest, declared, actual } => {
            Err(Refusal::DescriptorSize { digest, declared, actual })
        }
        PutManifest::Tag { tag, refusal } => Err(Refusal::Tag { tag, refusal }),
        PutManifest::Catalog(refusal) => Err(Refusal::Catalog(refusal)),
    }
}
