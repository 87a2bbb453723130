//! Media types: the essence of a Content-Type, and which of them are manifests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// `type/subtype` without parameters, case kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MediaType(Arc<str>);

impl MediaType {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a manifest of this type is an image manifest or an index; `None`: not a manifest.
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        match self.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => Some(ManifestKind::Image),
            OCI_INDEX | DOCKER_LIST => Some(ManifestKind::Index),
            _ => None,
        }
    }
}

/// The two shapes that a manifest can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ManifestKind {
    /// A config and layers.
    Image,
    /// Other manifests.
    Index,
}

/// The text is not `type/subtype` of RFC 6838.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("not a media type: <type>/<subtype>, each at most 127 characters of RFC 6838")]
pub struct MediaTypeError;

impl FromStr for MediaType {
    type Err = MediaTypeError;

    /// Parameters (`; charset=…`) are dropped.
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
        let (kind, subtype) = essence.split_once('/').ok_or(MediaTypeError)?;
        let restricted = |name: &str| {
            let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
            starts_well && name.len() <= 127 && name.bytes().all(allowed)
        };
        if restricted(kind) && restricted(subtype) { Ok(Self(essence.into())) } else { Err(MediaTypeError) }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_dropped() {
        let parsed: MediaType = "application/json; charset=utf-8".parse().unwrap();
        assert_eq!(parsed.as_str(), "application/json");
    }

    #[test]
    fn what_is_no_media_type() {
        for bad in ["", "json", "/json", "a/", "a/b/c", "a b/c", "a/b c"] {
            assert_eq!(bad.parse::<MediaType>(), Err(MediaTypeError), "{bad:?}");
        }
    }
}
