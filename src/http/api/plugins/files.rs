//! The files of a version: listed, one by one, and its README to be read by people.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::Desk;
use super::shown::metadata;
use crate::digest::Digest;
use crate::http::api::kept::Answer;
use crate::http::delivery::deliver;
use crate::http::error::ApiError;
use crate::http::reply::{Audience, Freshness, Reply};
use crate::http::route::{VersionName, View};
use crate::registry::{Found, RegistryError};

#[derive(Serialize)]
struct ShownFile {
    path: String,
    size: u64,
    digest: String,
    executable: bool,
}

const UNKNOWN_FILE: ApiError = ApiError::Unknown("file in this version");

impl Desk<'_> {
    pub async fn files(&self, view: &View, name: &VersionName) -> Result<Reply, ApiError> {
        let record = self.version(view, name).await?;
        let files = self.registry.package_files(&record).await?;
        let shown = files.into_iter().map(|file| ShownFile {
            digest: Digest::from(file.sha256).to_string(),
            path: file.path,
            size: file.size,
            executable: file.executable,
        });
        Ok(self.shown(&shown.collect::<Vec<_>>()))
    }

    /// Named by a version, which never changes, but which may go: so it has to be asked about each time.
    pub async fn file(&self, view: &View, name: &VersionName, path: &str) -> Result<Reply, ApiError> {
        let record = self.version(view, name).await?;
        let file = self.registry.package_file(&record, path).await?.ok_or(UNKNOWN_FILE)?;
        let found = Found { digest: file.sha256.into(), sha256: file.sha256, size: file.size };
        // It is asked for also when nothing is sent, as it says whether the package is there and not blocked.
        let Some(blob) = self.registry.unpacked(&record, &file).await? else { return Err(UNKNOWN_FILE) };
        let load = async { Ok::<_, RegistryError>(blob) };
        let freshness = Freshness::ByTag(Audience::Private);
        deliver(self.conditions, &found, content_type(path), freshness, load).await
    }

    pub async fn readme(&self, view: &View, name: &VersionName) -> Result<Reply, ApiError> {
        let record = self.version(view, name).await?;
        let path = metadata(&record).remove("readme");
        let path = path.as_ref().and_then(|path| path.as_str()).ok_or(ApiError::Unknown("README"))?;
        let file = self.registry.package_file(&record, path).await?.ok_or(UNKNOWN_FILE)?;
        let Some(blob) = self.registry.unpacked(&record, &file).await? else { return Err(UNKNOWN_FILE) };
        let text = blob.read_checked(file.sha256).await.map_err(RegistryError::from)?.unwrap_or_default();
        let files = self.registry.package_files(&record).await?;
        let base = format!("{}/{}/versions/{}/files", view.path(), name.pid, record.version);
        let source = self.source(&record.repository).as_str();
        let paths: HashSet<String> = files.into_iter().map(|file| file.path).collect();
        let url = move |target: &str| {
            paths.contains(target).then(|| format!("{base}/{}?source={source}", encoded(target)))
        };
        let html = self.registry.render(path.to_owned(), text, url).await?;
        Ok(self.tagged(&Answer::of(html.into_bytes(), "text/html; charset=utf-8", None)))
    }
}

/// What stands in a path as it is, beside letters and digits.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// A path in a URL.
pub(super) fn encoded(path: &str) -> String {
    let parts: Vec<String> =
        path.split('/').map(|part| utf8_percent_encode(part, PATH).to_string()).collect();
    parts.join("/")
}

/// Pictures are shown where they stand in a page; nothing else of a package is given to a browser as what it is.
fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match &*extension {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
