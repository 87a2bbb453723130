//! Reading packages on the server: zips that are uploaded, and plugins that an OCI client pushes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Fault, Refusal, Registry, RegistryError};
use crate::access::SYSTEM_CATALOG;
use crate::blob::Whole;
use crate::digest::{Digest, Sha256};
use crate::meta::{NewPlugin, PackageFile};
use crate::name::{RepositoryName, Tag};
use crate::package::{self, ARTIFACT_TYPE, CONFIG_MEDIA_TYPE, Finding, Kind, LAYER_MEDIA_TYPE, Plugin};
use crate::version::is_version;

/// Longest time for reading one package.
const TIME: Duration = Duration::from_secs(10);
/// Packages that are read at the same time: each takes a processor and some memory.
pub(super) const READERS: usize = 4;
/// A config that says nothing, as clients push it that have none of their own.
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// A package that may come in.
pub(super) struct ReadPackage {
    pub(super) plugin: Plugin,
    pub(super) new: NewPlugin,
    /// Findings that do not refuse it.
    pub(super) warnings: Vec<Finding>,
}

/// What a package's bytes say.
struct Verdict {
    plugin: Option<Plugin>,
    files: Vec<PackageFile>,
    findings: Vec<Finding>,
}

/// Of a manifest, what tells a plugin.
#[derive(Deserialize)]
struct Artifact {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Registry {
    /// Reads a package for a catalog, and refuses it with every finding. `found` is what was found before.
    pub(super) async fn read_package(
        &self,
        content: Whole,
        (package, package_size): (Sha256, u64),
        catalog: &str,
        mut found: Vec<Finding>,
    ) -> Result<ReadPackage, RegistryError> {
        let read = within(&self.readers, move || read(&content)).await;
        let Verdict { plugin, files, findings } = read.map_err(Fault::Staging)?;
        found.extend(findings);
        if let Some(plugin) = &plugin
            && catalog != SYSTEM_CATALOG
            && let Some(domain) = self.catalog(catalog).await?.and_then(|owner| owner.domain)
        {
            found.extend(package::check_domain(&plugin.pid, &domain, None));
        }
        let Some(plugin) = plugin.filter(|_| !refuses(&found)) else {
            return Err(Refusal::Package(found).into());
        };
        let metadata = plugin.config().map_err(|error| Fault::Staging(io::Error::other(error)))?;
        let metadata =
            String::from_utf8(metadata).map_err(|error| Fault::Staging(io::Error::other(error)))?;
        let new = NewPlugin { version: plugin.version.clone(), metadata, package, package_size, files };
        Ok(ReadPackage { plugin, new, warnings: found })
    }

    /// Reads the plugin that a manifest says it is, with the tags that were asked for.
    pub(super) async fn read_artifact(
        &self,
        repository: &RepositoryName,
        manifest: &[u8],
        tags: &[Tag],
    ) -> Result<ReadPackage, RegistryError> {
        let artifact: Option<Artifact> = serde_json::from_slice(manifest).ok();
        let Some(Artifact { config: Some(config), layers: Some(layers) }) = artifact else {
            let message = format!("only an image manifest may be of the type {ARTIFACT_TYPE}");
            return Err(Refusal::Package(vec![Finding::error("artifact.kind", None, message)]).into());
        };
        let [layer] = &layers[..] else {
            let message = format!("a plugin has one layer, its zip, and this has {}", layers.len());
            return Err(Refusal::Package(vec![Finding::error("artifact.layers", None, message)]).into());
        };
        if layer.media_type != LAYER_MEDIA_TYPE {
            let message = format!("the layer of a plugin is of the type {LAYER_MEDIA_TYPE}");
            let finding = Finding::error("artifact.layers", None, message);
            let finding = finding.hint("with oras, write plugin.zip:application/zip");
            return Err(Refusal::Package(vec![finding]).into());
        }
        let limit = self.limits.max_plugin_bytes;
        if layer.size > limit {
            return Err(Refusal::PackageTooLarge { limit }.into());
        }
        let (digest, size, content) = self.linked(repository, &layer.digest, layer.size).await?;
        let read = self.read_package(content, (digest, size), repository.catalog(), Vec::new()).await?;

        let mut findings = Vec::new();
        if repository.without_catalog() != read.plugin.pid {
            let message = format!("the package is {}, so its repository has that name", read.plugin.pid);
            let hint = format!("push it to {}/{}", repository.catalog(), read.plugin.pid);
            findings.push(Finding::error("artifact.repository", None, message).hint(hint));
        }
        let version = &read.plugin.version;
        for tag in tags.iter().filter(|tag| is_version(tag) && tag.as_str() != version.as_str()) {
            let message = format!("the package is version {version}, and {tag} is another");
            let hint = format!("tag it {version}; every other kind of tag is a channel");
            findings.push(Finding::error("artifact.tag", None, message).hint(hint));
        }
        findings.extend(self.check_config(repository, &config, &read.new.metadata).await?);
        if findings.is_empty() { Ok(read) } else { Err(Refusal::Package(findings).into()) }
    }

    /// A config that says something says what the package does.
    async fn check_config(
        &self,
        repository: &RepositoryName,
        config: &Descriptor,
        metadata: &str,
    ) -> Result<Option<Finding>, RegistryError> {
        if config.media_type == EMPTY_CONFIG {
            return Ok(None);
        }
        let message = match &*config.media_type {
            CONFIG_MEDIA_TYPE => {
                self.linked(repository, &config.digest, config.size).await?;
                let own = Digest::from(Sha256::of(metadata.as_bytes())).to_string();
                if own == config.digest {
                    return Ok(None);
                }
                format!("the config of this package is {own}")
            }
            _ => format!("the config of a plugin is of the type {CONFIG_MEDIA_TYPE} or {EMPTY_CONFIG}"),
        };
        let finding = Finding::error("artifact.config", None, message);
        Ok(Some(finding.hint("let quire push make it, or leave it empty")))
    }

    /// A blob of the repository that a descriptor names.
    async fn linked(
        &self,
        repository: &RepositoryName,
        digest: &str,
        declared: u64,
    ) -> Result<(Sha256, u64, Whole), RegistryError> {
        let parsed = digest.parse::<Digest>();
        let digest = parsed.map_err(|error| {
            Refusal::Package(vec![Finding::error("artifact.layers", None, error.to_string())])
        })?;
        let Some(found) = self.blob(repository, &digest).await? else {
            return Err(Refusal::ManifestReferences(vec![digest]).into());
        };
        if found.size != declared {
            return Err(Refusal::DescriptorSize { digest, declared, actual: found.size }.into());
        }
        let content = self.content(&found).await?.content.whole().await?;
        Ok((found.sha256, found.size, content))
    }
}

pub(super) fn refuses(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == package::Severity::Error)
}

/// Does some work on a blocking thread, once there is a permit for it. The work keeps the permit to its end, also
/// when the request is given up meanwhile.
pub(super) async fn within<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let done = spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    done.await.map_err(io::Error::other)?
}

/// The bytes of an open blob, at their offsets.
pub(super) fn bytes_of(content: &Whole) -> &dyn package::ReadAt {
    match content {
        Whole::File(file) => &**file,
        Whole::Memory(bytes) => bytes,
    }
}

/// It blocks.
fn read(content: &Whole) -> io::Result<Verdict> {
    let limits = package::Limits::default();
    let package = package::check(bytes_of(content), &limits, Instant::now() + TIME);
    let package = package.map_err(|package::ArchiveError::Io(error)| error)?;
    let entries = package.archive.as_ref().map(|archive| archive.entries()).unwrap_or_default();
    let files = entries.iter().filter(|entry| entry.kind == Kind::File).map(|entry| PackageFile {
        path: entry.path.clone(),
        data_offset: entry.data_offset,
        compressed_size: entry.compressed_size,
        size: entry.size,
        method: entry.method,
        sha256: entry.sha256,
        executable: entry.executable,
    });
    Ok(Verdict { files: files.collect(), plugin: package.plugin, findings: package.findings })
}
