//! Files of a package, unpacked one by one from where their bytes were recorded to lie.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::cache::SMALL_BLOB;
use super::packages::{bytes_of, within};
use super::pull::Found;
use super::{Fault, Registry, RegistryError};
use crate::blob::{Blob, Content, Whole};
use crate::digest::Digest;
use crate::meta::{PackageFile, PluginRecord};
use crate::package::{self, ReadError};
use crate::staging::Staging;
use bytes::Bytes;

/// Files that are unpacked at the same time.
pub(super) const UNPACKERS: usize = 4;

impl Registry {
    /// The files of a version's package, by path.
    pub async fn package_files(&self, record: &PluginRecord) -> Result<Vec<PackageFile>, RegistryError> {
        Ok(self.meta.package_files(&record.package).await?)
    }

    pub async fn package_file(
        &self,
        record: &PluginRecord,
        path: &str,
    ) -> Result<Option<PackageFile>, RegistryError> {
        Ok(self.meta.package_file(&record.package, path).await?)
    }

    /// What comes out of a file, found to be what was recorded when its package came in. `None`: the repository
    /// does not have the package any more.
    pub async fn unpacked(
        &self,
        record: &PluginRecord,
        file: &PackageFile,
    ) -> Result<Option<Blob>, RegistryError> {
        let Some(found) = self.blob(&record.repository, &Digest::from(record.package)).await? else {
            return Ok(None);
        };
        let blob = if file.size <= SMALL_BLOB {
            let load = async {
                match self.unpack(&found, file).await? {
                    Whole::Memory(bytes) => Ok(bytes),
                    Whole::File(_) => Err(Fault::Damaged(file.sha256)),
                }
            };
            let loaded = Box::pin(self.cache.bytes.try_get_with(file.sha256, load)).await;
            Blob { size: file.size, content: Content::Memory(loaded.map_err(Fault::Shared)?) }
        } else {
            let load =
                async { Ok(Blob { size: file.size, content: self.unpack(&found, file).await?.into() }) };
            Box::pin(self.cache.unpacked.try_get_with(file.sha256, load)).await.map_err(Fault::Shared)?
        };
        Ok(Some(blob))
    }

    async fn unpack(&self, found: &Found, file: &PackageFile) -> Result<Whole, Fault> {
        let package = self.load(found).await?.content.whole().await?;
        let (staging, file, digest) = (self.staging.clone(), file.clone(), file.sha256);
        let unpacked = within(&self.unpackers, move || match unpack(&package, &staging, &file) {
            Ok(content) => Ok(Some(content)),
            Err(ReadError::Io(error)) => Err(error),
            Err(ReadError::Changed | ReadError::TooLarge { .. }) => Ok(None),
        });
        unpacked.await.map_err(Fault::Staging)?.ok_or(Fault::Damaged(digest))
    }

    /// Renders a README. An author may have written something that takes long.
    pub async fn render(
        &self,
        path: String,
        text: Bytes,
        file_url: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Result<String, RegistryError> {
        let rendered = within(&self.unpackers, move || {
            Ok(package::readme_html(&path, &String::from_utf8_lossy(&text), &file_url))
        });
        Ok(rendered.await.map_err(Fault::Staging)?)
    }
}

/// It blocks. What is not small goes through a file without a name, so that memory stays bounded and any part
/// of it can be sent.
fn unpack(package: &Whole, staging: &Staging, file: &PackageFile) -> Result<Whole, ReadError> {
    let (source, member) = (bytes_of(package), file.member());
    if file.size <= SMALL_BLOB {
        let mut content = Vec::new();
        let _whole = package::unpack_member(source, &member, &mut |part| {
            content.extend_from_slice(part);
            ControlFlow::Continue(())
        })?;
        return Ok(Whole::Memory(Bytes::from(content)));
    }
    let mut scratch = staging.scratch()?;
    let mut failed = None;
    let unpacked = package::unpack_member(source, &member, &mut |part| match scratch.write_all(part) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    });
    match failed {
        Some(error) => Err(error.into()),
        None => unpacked.map(|_| Whole::File(Arc::new(scratch))),
    }
}
