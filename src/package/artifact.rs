//! A plugin as an OCI artifact: the manifest over its config and its zip.

use std::io;

use serde_json::json;

use super::plugin::Plugin;
use super::structure::ReadAt;
use crate::digest::{Algorithm, Hasher, Sha256};
use crate::media_type::OCI_MANIFEST;

/// `artifactType` of a plugin's manifest.
pub const ARTIFACT_TYPE: &str = "application/vnd.quire.plugin.v1";
/// Media type of [`Plugin::config`].
pub const CONFIG_MEDIA_TYPE: &str = "application/vnd.quire.plugin.config.v1+json";
/// Media type of the only layer: the zip, byte for byte as it was uploaded.
pub const LAYER_MEDIA_TYPE: &str = "application/zip";

/// The bytes of the manifest: RFC 8785 canonical JSON of nothing but what the package says, so that the same
/// zip has the same manifest on every registry.
pub fn manifest(
    plugin: &Plugin,
    (config_digest, config_size): (Sha256, u64),
    (zip_digest, zip_size): (Sha256, u64),
) -> Result<Vec<u8>, serde_json::Error> {
    // Clients name the file that they write by the title of its layer.
    let file_name = format!("{}-{}.zip", plugin.pid, plugin.version);
    serde_json_canonicalizer::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": CONFIG_MEDIA_TYPE,
            "digest": config_digest.to_string(),
            "size": config_size,
        },
        "layers": [{
            "mediaType": LAYER_MEDIA_TYPE,
            "digest": zip_digest.to_string(),
            "size": zip_size,
            "annotations": {"org.opencontainers.image.title": file_name},
        }],
        "annotations": {
            "org.opencontainers.image.title": plugin.name,
            "org.opencontainers.image.version": plugin.version.as_str(),
        },
    }))
}

/// Bytes that are hashed at once.
const STEP: usize = 128 << 10;

/// Everything that a zip becomes in a registry.
pub struct Artifact {
    pub zip_digest: Sha256,
    pub zip_size: u64,
    pub config: Vec<u8>,
    pub config_digest: Sha256,
    pub manifest: Vec<u8>,
    pub manifest_digest: Sha256,
}

impl Artifact {
    /// Hashes the zip that a plugin was read from.
    pub fn of(plugin: &Plugin, zip: &dyn ReadAt) -> io::Result<Self> {
        let (zip_digest, zip_size) = hash(zip)?;
        let config = plugin.config()?;
        let config_digest = Sha256::of(&config);
        let manifest = manifest(plugin, (config_digest, config.len() as u64), (zip_digest, zip_size))?;
        let manifest_digest = Sha256::of(&manifest);
        Ok(Self { zip_digest, zip_size, config, config_digest, manifest, manifest_digest })
    }
}

/// Reads all of a source: its digest and size.
pub fn hash(source: &dyn ReadAt) -> io::Result<(Sha256, u64)> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; STEP];
    let mut size = 0;
    loop {
        match source.read_at(size, &mut buffer) {
            Ok(0) => return Ok((hasher.finish().sha256, size)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
