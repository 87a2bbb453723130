//! A push of a plugin: what is missing of its blobs, then its manifest under the version and the channels.

use std::io;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::connection::{Connection, TIMEOUT};
use super::error::{ClientError, Problem};
use super::patience::Patience;
use super::upload::Upload;
use super::upload_memory::UploadMemory;
use crate::media_type::OCI_MANIFEST;
use crate::package::{Artifact, ReadAt};

const DIGEST_HEADER: &str = "docker-content-digest";

/// What somebody who waits may want to know.
pub enum Event<'a> {
    /// So many bytes of the zip are on their way or there.
    At(u64),
    /// Something failed that may pass; it is tried again.
    Pausing(&'a ClientError),
    /// The next run could not go on with this upload.
    NotRemembered(&'a io::Error),
}

pub type Watch = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// What is pushed, and where to.
pub struct Push<'a> {
    /// `<catalog>/<pid>`
    pub repository: &'a str,
    pub version: &'a str,
    pub channels: &'a [String],
    pub artifact: &'a Artifact,
    pub zip: &'a dyn ReadAt,
    pub memory: &'a UploadMemory,
    pub watch: Watch,
}

/// How it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    New,
    /// The version had this very manifest already.
    AlreadyThere,
}

impl Push<'_> {
    pub async fn run(&self, connection: &Connection) -> Result<Pushed, ClientError> {
        let before = self.find_version(connection).await?;
        if before == Pushed::New {
            self.push_config(connection).await?;
            let upload = Upload {
                connection: connection.for_long_bodies()?,
                repository: self.repository,
                digest: self.artifact.zip_digest,
                source: self.zip,
                size: self.artifact.zip_size,
                memory: self.memory,
                watch: Arc::clone(&self.watch),
            };
            upload.run().await?;
        }
        if before == Pushed::New || !self.channels.is_empty() {
            self.put_manifest(connection).await?;
        }
        Ok(before)
    }

    /// What the version is now. With other bytes under it the push ends here, before anything is sent.
    async fn find_version(&self, connection: &Connection) -> Result<Pushed, ClientError> {
        let url = connection.registry().at(&self.manifest_path(), &[]);
        let answer = match connection.open(url).await {
            Ok(answer) => answer,
            Err(ClientError::Problem(problem)) if problem.status == 404 => return Ok(Pushed::New),
            Err(error) => return Err(error),
        };
        let there = answer.headers().get(DIGEST_HEADER).and_then(|digest| digest.to_str().ok());
        match there {
            Some(there) if there == self.artifact.manifest_digest.to_string() => Ok(Pushed::AlreadyThere),
            Some(there) => Err(self.taken(there)),
            None => Err(connection.unexpected("it does not say the digest of a manifest")),
        }
    }

    async fn push_config(&self, connection: &Connection) -> Result<(), ClientError> {
        let digest = self.artifact.config_digest.to_string();
        let blob = connection.registry().at(&format!("/v2/{}/blobs/{digest}", self.repository), &[]);
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let url = connection.registry().at(&path, &[("digest", digest)]);
        let octets = HeaderValue::from_static("application/octet-stream");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, octets)]);
        self.patiently(async || {
            if connection.has(blob.clone()).await? {
                return Ok(());
            }
            let body = self.artifact.config.clone();
            connection.send_body(Method::POST, url.clone(), headers.clone(), body, TIMEOUT).await.map(drop)
        })
        .await
    }

    async fn put_manifest(&self, connection: &Connection) -> Result<(), ClientError> {
        let channels: Vec<_> = self.channels.iter().map(|channel| ("tag", channel.clone())).collect();
        let url = connection.registry().at(&self.manifest_path(), &channels);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(OCI_MANIFEST))]);
        let put = self.patiently(async || {
            let body = self.artifact.manifest.clone();
            connection.send_body(Method::PUT, url.clone(), headers.clone(), body, TIMEOUT).await.map(drop)
        });
        match put.await {
            // Taken since it was looked at, or by a version that was deleted.
            Err(ClientError::Problem(problem)) if problem.code == "version_immutable" => {
                let there = problem.more()["digest"].as_str().unwrap_or("another one").to_owned();
                Err(self.taken(&there))
            }
            other => other,
        }
    }

    async fn patiently(
        &self,
        mut work: impl AsyncFnMut() -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut patience = Patience::default();
        while let Err(error) = work().await {
            patience.bear(error, &self.watch).await?;
        }
        Ok(())
    }

    fn manifest_path(&self) -> String {
        format!("/v2/{}/manifests/{}", self.repository, self.version)
    }

    fn taken(&self, there: &str) -> ClientError {
        let reference = format!("{}:{}", self.repository, self.version);
        let ours = self.artifact.manifest_digest.to_string();
        ClientError::Problem(Box::new(Problem::version_taken(&reference, there, &ours)))
    }
}
