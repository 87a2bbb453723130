//! Manifests and indexes: what their bytes say and refer to. The bytes themselves are kept as they came.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::digest::Digest;
use crate::media_type::{ManifestKind, MediaType};
use crate::strict_json::{self, ANY, Known, Object};

/// Most bytes of a manifest.
pub const SIZE_LIMIT: usize = 4 * 1024 * 1024;
/// Most different descriptors in one manifest, as each is looked up by itself.
pub const REFERENCE_LIMIT: usize = 1024;

/// What a manifest's bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: MediaType,
    /// What a list of referrers shows: the manifest's own `artifactType`, else an image's config type.
    pub artifact_type: Option<String>,
    /// The manifest that this one refers to. It need not exist.
    pub subject: Option<Digest>,
    pub annotations: BTreeMap<String, String>,
    /// Every different descriptor that has to exist before the manifest may.
    pub references: Vec<ManifestReference>,
}

/// One descriptor's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReference {
    pub digest: Digest,
    pub size: u64,
    pub target: Target,
}

/// Where the target of a descriptor is to be found in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Blob,
    Manifest,
}

/// Why bytes are no manifest.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ManifestError {
    #[error("not a manifest: {0}")]
    Json(String),
    #[error("neither the request nor the body says a media type")]
    NoMediaType,
    #[error("{0:?} is not a media type")]
    BadMediaType(String),
    #[error("manifests of type {0} are not accepted here")]
    Unsupported(MediaType),
    #[error("the request says {header} but the body says {body}")]
    Contradiction { header: MediaType, body: MediaType },
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    #[error("a manifest has config and layers, an index has manifests; the body has {0}")]
    Shape(&'static str),
    #[error("the digest {text:?} in {place} is not valid: {reason}")]
    Digest { place: String, text: String, reason: String },
    #[error("the size of {0} is negative or not a whole number below 2^63")]
    Size(String),
    #[error("the descriptor {digest} appears with the sizes {first} and {second}")]
    TwoSizes { digest: Digest, first: u64, second: u64 },
    #[error("more than {REFERENCE_LIMIT} different descriptors")]
    TooManyReferences,
}

/// The keys that mean something to us or to clients.
static KEYS: Known = Known(&[
    ("schemaVersion", &ANY),
    ("mediaType", &ANY),
    ("artifactType", &ANY),
    ("config", &DESCRIPTOR_KEYS),
    ("layers", &DESCRIPTOR_KEYS),
    ("manifests", &DESCRIPTOR_KEYS),
    ("subject", &DESCRIPTOR_KEYS),
    ("annotations", &ANY),
    ("fsLayers", &ANY),
]);

static DESCRIPTOR_KEYS: Known = Known(&[
    ("mediaType", &ANY),
    ("digest", &ANY),
    ("size", &ANY),
    ("urls", &ANY),
    ("annotations", &ANY),
    ("data", &ANY),
    ("artifactType", &ANY),
    ("platform", &ANY),
]);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<WholeNumber>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Object<Descriptor>>,
    layers: Option<Vec<Object<Descriptor>>>,
    manifests: Option<Vec<Object<Descriptor>>>,
    subject: Option<Object<Descriptor>>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: WholeNumber,
    #[serde(default)]
    urls: Vec<String>,
}

/// A number of a document; `None` for whatever else stands there, which is passed over and never built.
#[derive(Debug, PartialEq, Eq)]
struct WholeNumber(Option<u64>);

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeNumberVisitor).map(Self)
    }
}

struct WholeNumberVisitor;

impl<'de> Visitor<'de> for WholeNumberVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(Some(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Option<u64>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<u64>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl Manifest {
    /// Reads a manifest that came with the given media type.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        let json = |error: serde_json::Error| ManifestError::Json(error.to_string());
        strict_json::check(bytes, &KEYS).map_err(json)?;
        let Object(document): Object<Document> = serde_json::from_slice(bytes).map_err(json)?;

        let media_type = agreed_media_type(document.media_type.as_deref(), content_type)?;
        let Some(kind) = media_type.manifest_kind() else {
            return Err(ManifestError::Unsupported(media_type));
        };
        if document.schema_version != Some(WholeNumber(Some(2))) {
            return Err(ManifestError::SchemaVersion);
        }
        check_shape(&document, kind)?;

        let config_type = document.config.as_ref().map(|Object(config)| config.media_type.clone());
        let own_type = document.artifact_type.filter(|own| !own.is_empty());
        if let Some(own) = &own_type {
            checked_media_type(own)?;
        }
        let artifact_type = match kind {
            ManifestKind::Image => own_type.or(config_type),
            ManifestKind::Index => own_type,
        };
        let subject = document.subject.map(|Object(subject)| read(&subject, "subject")).transpose()?;

        let mut references = References::default();
        if let Some(Object(config)) = &document.config {
            references.add(config, "config", Target::Blob)?;
        }
        for Object(layer) in document.layers.iter().flatten() {
            references.add(layer, "layers", Target::Blob)?;
        }
        for Object(child) in document.manifests.iter().flatten() {
            references.add(child, "manifests", Target::Manifest)?;
        }
        Ok(Self {
            media_type,
            artifact_type,
            subject: subject.map(|(digest, _)| digest),
            annotations: document.annotations.unwrap_or_default(),
            references: references.0.into_values().collect(),
        })
    }
}

fn agreed_media_type(body: Option<&str>, header: Option<&MediaType>) -> Result<MediaType, ManifestError> {
    let body = match body {
        None | Some("") => None,
        Some(text) => Some(checked_media_type(text)?),
    };
    match (body, header) {
        (Some(body), Some(header)) if body != *header => {
            Err(ManifestError::Contradiction { header: header.clone(), body })
        }
        (Some(body), _) => Ok(body),
        (None, Some(header)) => Ok(header.clone()),
        (None, None) => Err(ManifestError::NoMediaType),
    }
}

fn checked_media_type(text: &str) -> Result<MediaType, ManifestError> {
    text.parse().map_err(|_| ManifestError::BadMediaType(text.chars().take(160).collect()))
}

/// A body that is manifest and index at once would mean one thing to one client and another to the next.
fn check_shape(document: &Document, kind: ManifestKind) -> Result<(), ManifestError> {
    let image = document.config.is_some() || document.layers.is_some();
    if document.fs_layers.is_some() {
        return Err(ManifestError::Shape("fsLayers, of the first schema"));
    }
    match kind {
        ManifestKind::Image if document.manifests.is_some() => {
            Err(ManifestError::Shape("manifests beside a manifest's type"))
        }
        ManifestKind::Image if document.config.is_none() => Err(ManifestError::Shape("no config")),
        ManifestKind::Index if image => Err(ManifestError::Shape("config or layers beside an index's type")),
        ManifestKind::Index if document.manifests.is_none() => Err(ManifestError::Shape("no manifests")),
        ManifestKind::Image | ManifestKind::Index => Ok(()),
    }
}

fn read(descriptor: &Descriptor, place: &str) -> Result<(Digest, u64), ManifestError> {
    let digest = descriptor.digest.parse::<Digest>().map_err(|reason| ManifestError::Digest {
        place: place.to_owned(),
        text: descriptor.digest.chars().take(160).collect(),
        reason: reason.to_string(),
    })?;
    checked_media_type(&descriptor.media_type)?;
    let size = descriptor.size.0.filter(|&size| i64::try_from(size).is_ok());
    let size = size.ok_or_else(|| ManifestError::Size(digest.to_string()))?;
    Ok((digest, size))
}

#[derive(Default)]
struct References(BTreeMap<String, ManifestReference>);

impl References {
    fn add(&mut self, descriptor: &Descriptor, place: &str, target: Target) -> Result<(), ManifestError> {
        let (digest, size) = read(descriptor, place)?;
        // What can be had elsewhere need not be here.
        if !descriptor.urls.is_empty() {
            return Ok(());
        }
        match self.0.entry(digest.to_string()) {
            Entry::Occupied(known) if known.get().size != size => {
                return Err(ManifestError::TwoSizes { digest, first: known.get().size, second: size });
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(ManifestReference { digest, size, target });
            }
        }
        if self.0.len() > REFERENCE_LIMIT {
            return Err(ManifestError::TooManyReferences);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::{OCI_INDEX, OCI_MANIFEST};
    use serde_json::json;

    fn descriptor(seed: usize, size: i64) -> serde_json::Value {
        let digest = crate::digest::Sha256::of(&seed.to_le_bytes()).to_string();
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": size})
    }

    fn image() -> serde_json::Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(0, 2), "layers": []})
    }

    fn parse(value: &serde_json::Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes(), None)
    }

    #[test]
    fn an_image_refers_to_config_and_layers_once_each() {
        let mut value = image();
        value["layers"] = json!([descriptor(1, 5), descriptor(1, 5), descriptor(0, 2)]);
        value["subject"] = descriptor(7, 9);
        let manifest = parse(&value).unwrap();
        assert_eq!(manifest.references.len(), 2);
        assert!(manifest.references.iter().all(|r| r.target == Target::Blob));
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/octet-stream"));
        assert!(manifest.subject.is_some());
    }

    #[test]
    fn artifact_types_are_media_types() {
        let mut value = image();
        for bad in ["x".repeat(300), "no slash".into()] {
            value["artifactType"] = json!(bad);
            assert!(matches!(parse(&value), Err(ManifestError::BadMediaType(_))), "{bad}");
        }
        value["artifactType"] = json!("");
        assert_eq!(parse(&value).unwrap().artifact_type.as_deref(), Some("application/octet-stream"));
    }

    #[test]
    fn foreign_descriptors_are_read_as_strictly() {
        for (key, bad) in [("size", json!(-1)), ("digest", json!("sha256:x"))] {
            let mut value = image();
            let mut layer = descriptor(1, 5);
            layer["urls"] = json!(["https://example.com/layer"]);
            layer[key] = bad;
            value["layers"] = json!([layer]);
            assert!(parse(&value).is_err(), "{key}");
        }
    }

    #[test]
    fn foreign_layers_need_not_exist() {
        let mut value = image();
        let mut layer = descriptor(1, 5);
        layer["urls"] = json!(["https://example.com/layer"]);
        value["layers"] = json!([layer]);
        assert_eq!(parse(&value).unwrap().references.len(), 1);
    }

    #[test]
    fn an_index_without_artifact_type_has_none() {
        let value = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(1, 3)]});
        let manifest = parse(&value).unwrap();
        assert_eq!(manifest.artifact_type, None);
        assert_eq!(manifest.references[0].target, Target::Manifest);
    }

    #[test]
    fn contradictions_are_refused() {
        let header: MediaType = OCI_INDEX.parse().unwrap();
        let error = Manifest::parse(image().to_string().as_bytes(), Some(&header)).unwrap_err();
        assert!(matches!(error, ManifestError::Contradiction { .. }));

        let mut both = image();
        both["manifests"] = json!([]);
        assert!(matches!(parse(&both), Err(ManifestError::Shape(_))));
        both["mediaType"] = json!(OCI_INDEX);
        assert!(matches!(parse(&both), Err(ManifestError::Shape(_))));
    }

    #[test]
    fn sizes_are_whole_and_not_negative() {
        for bad in [json!(-1), json!(1.5), json!("7"), json!(u64::MAX), json!([1, [2]]), json!({"a": 1})] {
            let mut value = image();
            value["config"]["size"] = bad.clone();
            assert!(matches!(parse(&value), Err(ManifestError::Size(_))), "{bad}");
        }
        let mut value = image();
        value["layers"] = json!([descriptor(1, 5), descriptor(1, 6)]);
        assert!(matches!(parse(&value), Err(ManifestError::TwoSizes { .. })));
    }

    #[test]
    fn descriptors_are_counted_by_digest() {
        let layers = |count: usize| (1..count).map(|seed| descriptor(seed, 1)).collect::<Vec<_>>();
        let mut value = image();
        value["layers"] = json!(layers(REFERENCE_LIMIT));
        assert_eq!(parse(&value).unwrap().references.len(), REFERENCE_LIMIT);
        value["layers"] = json!(layers(REFERENCE_LIMIT + 1));
        assert_eq!(parse(&value), Err(ManifestError::TooManyReferences));
        value["layers"] = json!(vec![descriptor(1, 1); 5000]);
        assert_eq!(parse(&value).unwrap().references.len(), 2);
    }

    #[test]
    fn other_bodies_are_refused() {
        let mut old = image();
        old["schemaVersion"] = json!(1);
        assert_eq!(parse(&old), Err(ManifestError::SchemaVersion));
        let mut other = image();
        other["mediaType"] = json!("application/json");
        assert!(matches!(parse(&other), Err(ManifestError::Unsupported(_))));
        let mut untyped = image();
        untyped.as_object_mut().unwrap().remove("mediaType");
        assert_eq!(parse(&untyped), Err(ManifestError::NoMediaType));
        for bad in ["", "[]", "null", "{", "{\"config\":{},\"config\":{}}"] {
            assert!(matches!(Manifest::parse(bad.as_bytes(), None), Err(ManifestError::Json(_))), "{bad}");
        }
    }
}
