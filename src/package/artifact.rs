//! A plugin as an OCI artifact: the manifest over its config and its zip.

use serde_json::json;

use super::plugin::Plugin;
use crate::digest::Sha256;
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
