//! Plugins: uploaded as a zip, listed, and the state of their versions.

use bytes::Bytes;
use uuid::Uuid;

use super::packages::refuses;
use super::{Fault, PAGE_LIMIT, Refusal, Registry, RegistryError};
use crate::access::{Action, Caller, Requester, Rule, Verdict};
use crate::blob::Whole;
use crate::digest::{Algorithm, Digest, Sha256};
use crate::manifest::Manifest;
use crate::meta::{
    BlobRecord, Facets, NewManifest, NewPlugin, Page, PluginChange, PluginQuery, PluginRecord, PutManifest,
    TagCondition, TagWrite, TagWriteRefusal, Which, WriteTags,
};
use crate::name::{RepositoryName, Tag};
use crate::package::{self, Finding};
use crate::staging::{Source, Staged};
use crate::version::{Version, is_version};

/// A zip that comes in.
pub struct PluginUpload<'a> {
    pub catalog: &'a str,
    /// What the client calls the file.
    pub file_name: Option<String>,
    /// The digest that the client says it has.
    pub digest: Option<Digest>,
    /// Tags that are to name it beside its version.
    pub channels: Vec<Tag>,
    pub source: &'a mut dyn Source,
}

/// A plugin that is in the catalog now.
#[derive(Debug)]
pub struct UploadedPlugin {
    pub record: PluginRecord,
    /// `false`: the same bytes were there.
    pub made: bool,
    pub warnings: Vec<Finding>,
    /// The version before it.
    pub previous: Option<PluginRecord>,
}

impl Registry {
    /// Takes in a package, and makes of it a plugin with its version tag, its channels and `latest`: all of it
    /// or nothing.
    pub async fn upload_plugin(
        &self,
        requester: &Requester,
        upload: PluginUpload<'_>,
    ) -> Result<UploadedPlugin, RegistryError> {
        let PluginUpload { catalog, file_name, digest, channels, source } = upload;
        let staged = self.stage_package(digest.as_ref(), source).await?;
        let package = (staged.digests().sha256, staged.size());
        self.check_blocked(&package.0).await?;
        let read =
            self.read_package(Whole::File(staged.file()), package, catalog, wrong_name(file_name)).await?;
        let (plugin, new) = (read.plugin, read.new);
        let repository: RepositoryName =
            format!("{catalog}/{}", plugin.pid).parse().map_err(|error: crate::name::NameError| {
                Refusal::Package(vec![Finding::error("plugin.pid", None, error.to_string())])
            })?;
        self.may(&requester.caller, Action::Push, &repository)?;
        check_channels(&channels)?;

        let which = Which::Version(new.version.clone());
        let made = match self.meta.plugin(&repository, &which).await? {
            Some(there) if is_same(&there, &new) => {
                self.mend(requester, &there, &staged, &plugin, &new).await?;
                false
            }
            Some(there) => return Err(taken(&there.version, there.package, there.manifest, &new).into()),
            None => {
                let channels = channels.clone();
                self.publish(requester, &repository, &staged, &plugin, new, channels).await?
            }
        };
        let record = self.meta.plugin(&repository, &which).await?.ok_or(Refusal::Withdrawn)?;
        if !made {
            self.add_channels(requester, &record, channels).await?;
        }
        let below = self.meta.plugin_versions(&repository, Some(&record.version), 1).await?;
        let previous = below.items.into_iter().next();
        Ok(UploadedPlugin { record, made, warnings: read.warnings, previous })
    }

    async fn stage_package(
        &self,
        digest: Option<&Digest>,
        source: &mut dyn Source,
    ) -> Result<Staged, RegistryError> {
        let limit = self.limits.max_plugin_bytes;
        let algorithm = digest.map_or(Algorithm::Sha256, Digest::algorithm);
        let mut intake = self.staging.begin(algorithm, limit).await?;
        let drained = intake.drain(source).await.map_err(RegistryError::from);
        drained.map_err(|error| match error {
            RegistryError::Refused(Refusal::BlobTooLarge { .. }) => Refusal::PackageTooLarge { limit }.into(),
            error => error,
        })?;
        let staged = intake.finish(algorithm).await?;
        if let Some(digest) = digest {
            super::upload::check_digest(&staged, digest)?;
        }
        Ok(staged)
    }

    /// `false`: somebody else published the same in this moment.
    async fn publish(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        zip: &Staged,
        plugin: &package::Plugin,
        new: NewPlugin,
        channels: Vec<Tag>,
    ) -> Result<bool, RegistryError> {
        let (config, document, manifest) = self.documents(plugin, &new, zip).await?;
        let mut tags = channels;
        tags.push(version_tag(&new.version)?);
        let blob = |staged: &Staged| BlobRecord { digests: *staged.digests(), size: staged.size() };
        let new = NewManifest {
            repository: repository.clone(),
            digests: *document.digests(),
            size: document.size(),
            manifest,
            blobs: vec![blob(&config), blob(zip)],
            plugin: Some(new.into()),
            tags,
            condition: TagCondition::Any,
            may_move: self.policy.may_move_tags(&requester.caller, repository),
            actor: requester.actor(),
        };
        // Asked before the bytes are stored; the transaction below asks again, and its answer counts.
        if !published(self.meta.check_manifest(&new).await?, &new)? {
            return Ok(false);
        }
        for staged in [zip, &config, &document] {
            self.blobs.put(staged).await?;
            self.cache.files.invalidate(&staged.digests().sha256).await;
        }
        let outcome = self.meta.put_manifest(new.clone()).await;
        // Also when it failed: an answer that was lost may stand for a write that was done.
        self.cache.tag_written(repository);
        published(outcome?, &new)
    }

    /// The version is there; its package and its config may be damaged or unlinked, and what came is good.
    async fn mend(
        &self,
        requester: &Requester,
        there: &PluginRecord,
        zip: &Staged,
        plugin: &package::Plugin,
        new: &NewPlugin,
    ) -> Result<(), RegistryError> {
        let (actor, repository) = (requester.actor(), &there.repository);
        let (config, manifest, _) = self.documents(plugin, new, zip).await?;
        // An OCI client may have pushed it under another manifest, which is not here to be mended.
        if manifest.digests().sha256 == there.manifest {
            self.admit(&actor, repository, &config, None).await?;
            self.blobs.put(&manifest).await?;
        }
        self.admit(&actor, repository, zip, None).await
    }

    /// Config and manifest of a package, and what the manifest says.
    async fn documents(
        &self,
        plugin: &package::Plugin,
        new: &NewPlugin,
        zip: &Staged,
    ) -> Result<(Staged, Staged, Manifest), RegistryError> {
        let config = self.stage_manifest(Bytes::from(new.metadata.clone()), Algorithm::Sha256).await?;
        let document = package::manifest(
            plugin,
            (config.digests().sha256, config.size()),
            (zip.digests().sha256, zip.size()),
        );
        let document = Bytes::from(document.map_err(|error| Fault::Staging(std::io::Error::other(error)))?);
        let manifest = Manifest::parse(&document, None).map_err(Refusal::Manifest)?;
        Ok((config, self.stage_manifest(document, Algorithm::Sha256).await?, manifest))
    }

    /// Points channels to a version that is there.
    async fn add_channels(
        &self,
        requester: &Requester,
        record: &PluginRecord,
        channels: Vec<Tag>,
    ) -> Result<(), RegistryError> {
        let repository = &record.repository;
        let may_move = self.policy.may_move_tags(&requester.caller, repository);
        let write = |tag: &Tag| TagWrite {
            repository: repository.clone(),
            tag: tag.clone(),
            digest: record.manifest.into(),
            condition: TagCondition::Any,
            may_move,
        };
        let follows = |tag: &&Tag| tag.as_str() == crate::meta::LATEST;
        let writes: Vec<TagWrite> = channels.iter().filter(|tag| !follows(tag)).map(write).collect();
        if writes.is_empty() {
            return Ok(());
        }
        match self.write_tags(requester, writes.clone()).await? {
            WriteTags::Written => Ok(()),
            WriteTags::Refused(refused) => match refused.into_iter().next() {
                Some((place, TagWriteRefusal::Tag(refusal))) => {
                    let tag = writes[place].tag.clone();
                    Err(Refusal::Tag { tag, refusal }.into())
                }
                Some((_, TagWriteRefusal::ManifestUnknown)) | None => {
                    Err(Refusal::ManifestReferences(vec![record.manifest.into()]).into())
                }
            },
        }
    }

    /// Whether a caller may do something to a plugin, once its name is known.
    pub fn may(
        &self,
        caller: &Caller,
        action: Action,
        repository: &RepositoryName,
    ) -> Result<(), RegistryError> {
        match self.policy.may(caller, action, repository) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(rule) => Err(Refusal::Denied(rule).into()),
            Verdict::Unauthenticated | Verdict::NarrowToken => {
                Err(Refusal::Denied(Rule::PermissionMissing).into())
            }
        }
    }

    pub async fn plugins(&self, query: &PluginQuery) -> Result<Page<PluginRecord>, RegistryError> {
        Ok(self.meta.plugins(query).await?)
    }

    pub async fn plugin_facets(&self, query: &PluginQuery) -> Result<Facets, RegistryError> {
        Ok(self.meta.plugin_facets(query).await?)
    }

    pub async fn plugin(
        &self,
        repository: &RepositoryName,
        which: &Which,
    ) -> Result<Option<PluginRecord>, RegistryError> {
        Ok(self.meta.plugin(repository, which).await?)
    }

    pub async fn plugin_by_id(&self, id: Uuid) -> Result<Option<PluginRecord>, RegistryError> {
        Ok(self.meta.plugin_by_id(id).await?)
    }

    pub async fn plugin_versions(
        &self,
        repository: &RepositoryName,
        below: Option<&Version>,
        limit: usize,
    ) -> Result<Page<PluginRecord>, RegistryError> {
        Ok(self.meta.plugin_versions(repository, below, limit.min(PAGE_LIMIT)).await?)
    }

    /// Changes the state of a version. `None`: it is gone.
    pub async fn change_plugin(
        &self,
        requester: &Requester,
        record: &PluginRecord,
        change: PluginChange,
    ) -> Result<Option<PluginRecord>, RegistryError> {
        let changed = self.meta.change_plugin(record.id, change, &requester.actor()).await;
        self.cache.tag_written(&record.repository);
        Ok(changed?)
    }

    /// A number that every write raises which lists and plans of plugins may show. What another node enabled is not
    /// in it.
    pub fn plugins_written(&self) -> u64 {
        self.cache.plugins().wrapping_add(self.changes.generation())
    }
}

fn wrong_name(file_name: Option<String>) -> Vec<Finding> {
    let is_zip = |name: &String| name.to_ascii_lowercase().ends_with(".zip");
    match file_name.filter(|name| !is_zip(name)) {
        None => Vec::new(),
        Some(name) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
            let finding = Finding::error("upload.extension", None, format!("{name} is not called .zip"));
            vec![finding.hint("a plugin is a zip, and its file is called so")]
        }
    }
}

fn check_channels(channels: &[Tag]) -> Result<(), Refusal> {
    let version = |tag: &&Tag| is_version(tag);
    let finding = |tag: &Tag| {
        let message = format!("{tag} is written as a version, and so can't be a channel");
        Finding::error("upload.channel", None, message)
    };
    let findings: Vec<Finding> = channels.iter().filter(version).map(finding).collect();
    if refuses(&findings) { Err(Refusal::Package(findings)) } else { Ok(()) }
}

fn is_same(there: &PluginRecord, new: &NewPlugin) -> bool {
    there.package == new.package && there.version.as_str() == new.version.as_str()
}

fn taken(version: &Version, package: Sha256, manifest: Sha256, new: &NewPlugin) -> Refusal {
    Refusal::VersionTaken { version: version.clone(), package, manifest, ours: new.package }
}

pub(super) fn version_tag(version: &Version) -> Result<Tag, Fault> {
    version.as_str().parse().map_err(|error| Fault::Staging(std::io::Error::other(error)))
}

/// Whether an upload made its version; the same zip under the manifest of an OCI client is that version, too.
fn published(outcome: PutManifest, new: &NewManifest) -> Result<bool, RegistryError> {
    match (outcome, &new.plugin) {
        (PutManifest::Present, _) => Ok(false),
        (PutManifest::VersionTaken { version, package, .. }, Some(plugin))
            if package == plugin.package && version.as_str() == plugin.version.as_str() =>
        {
            Ok(false)
        }
        (outcome, _) => {
            super::manifests::stored(outcome, new)?;
            Ok(true)
        }
    }
}
