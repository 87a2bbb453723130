//! Small plugin packages, and pushing them as an OCI client does.

use std::io::{Cursor, Write};

use quire::digest::Sha256;
use quire::package::{ARTIFACT_TYPE, LAYER_MEDIA_TYPE};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Answer, Client, image};

/// A zip with a `plugin.json`; the same calls make the same bytes.
#[derive(Clone)]
pub struct Package {
    metadata: Value,
    files: Vec<(String, Vec<u8>)>,
    method: CompressionMethod,
}

impl Package {
    pub fn new(pid: &str, version: &str) -> Self {
        let metadata = json!({"pid": pid, "version": version, "name": pid, "description": "For a test."});
        Self { metadata, files: Vec::new(), method: CompressionMethod::Deflated }
    }

    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), bytes.into()));
        self
    }

    pub fn settings(self, schema: Value) -> Self {
        self.field("settings_schema", schema)
    }

    /// Sets a field of the metadata; `null` is as good as none.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.metadata[name] = value;
        self
    }

    /// With its files as they are, not compressed.
    pub fn stored(self) -> Self {
        Self { method: CompressionMethod::Stored, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let metadata = ("plugin.json".to_owned(), self.metadata.to_string().into_bytes());
        let files = std::iter::once(&metadata).chain(&self.files);
        zip_of(files.map(|(path, bytes)| (path.as_str(), bytes.as_slice())), self.method)
    }
}

/// A zip of files.
pub fn zip_of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    method: CompressionMethod,
) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        zip.start_file(path, SimpleFileOptions::default().compression_method(method)).expect("an entry");
        zip.write_all(bytes).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

/// The manifest of a plugin as oras writes it: over a config that says nothing.
pub fn artifact(zip: &[u8]) -> Value {
    let (config, layer) = (Sha256::of(b"{}").to_string(), Sha256::of(zip).to_string());
    let mut manifest = image(&config, 2, &[(&layer, zip.len())]);
    manifest["artifactType"] = json!(ARTIFACT_TYPE);
    manifest["config"]["data"] = json!("e30=");
    manifest["layers"][0]["mediaType"] = json!(LAYER_MEDIA_TYPE);
    manifest["layers"][0]["annotations"] = json!({"org.opencontainers.image.title": "plugin.zip"});
    manifest
}

/// Another manifest of the same zip.
pub fn annotated(zip: &[u8], note: &str) -> Value {
    let mut manifest = artifact(zip);
    manifest["annotations"] = json!({"note": note});
    manifest
}

impl Client {
    /// Pushes the blobs of a plugin's artifact, and not its manifest.
    pub async fn push_package(&self, repository: &str, zip: &[u8]) {
        self.push_blob(repository, "{}").await;
        self.push_blob(repository, zip.to_vec()).await;
    }

    /// Pushes a zip as a plugin under a reference, and returns the answer to its manifest.
    pub async fn push_plugin(&self, repository: &str, reference: &str, zip: &[u8]) -> Answer {
        self.push_package(repository, zip).await;
        self.put_manifest(repository, reference, &artifact(zip)).await
    }

    /// The same under another manifest.
    pub async fn push_annotated(&self, repository: &str, reference: &str, zip: &[u8], note: &str) -> Answer {
        self.push_package(repository, zip).await;
        self.put_manifest(repository, reference, &annotated(zip, note)).await
    }
}
