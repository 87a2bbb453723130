//! A version of a plugin as the API shows it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Desk;
use super::files::encoded;
use crate::digest::{Digest, Sha256};
use crate::http::api::time;
use crate::http::route::View;
use crate::meta::PluginRecord;

/// The object that lists, uploads and changes answer with. Clients of earlier catalogs know its fields.
#[derive(Serialize)]
pub struct Shown {
    id: String,
    pid: String,
    name: Value,
    version: String,
    description: Value,
    tag: Value,
    capabilities: Value,
    dependencies: Value,
    is_specialized: Value,
    is_scoped: Value,
    stateless: Value,
    sdk_version: Value,
    entrypoint: Value,
    settings_schema: Value,
    default_settings: Map<String, Value>,
    is_latest: bool,
    enabled: bool,
    yanked: Option<Yanked>,
    deprecated: Option<Deprecated>,
    blocked: Option<Yanked>,
    logo_image: Option<String>,
    readme: Option<String>,
    source: &'static str,
    digest: String,
    manifest_digest: String,
    size: u64,
    url: String,
    created_at: String,
}

#[derive(Serialize)]
struct Yanked {
    reason: String,
}

#[derive(Serialize)]
struct Deprecated {
    message: String,
    successor: Option<String>,
}

impl Shown {
    pub fn of(desk: &Desk<'_>, view: &View, record: &PluginRecord) -> Self {
        let mut metadata = metadata(record);
        let mut take = |field: &str| metadata.remove(field).unwrap_or_default();
        let settings_schema = take("settings_schema");
        let source = desk.source(&record.repository);
        let pid = record.repository.without_catalog();
        let version = format!("{}{}/{pid}/versions/{}", desk.base, view.path(), record.version);
        let query = format!("?source={}", source.as_str());
        let logo = take("logo");
        let logo_image = logo.as_str().map(|path| format!("{version}/files/{}{query}", encoded(path)));
        let readme = take("readme").is_string().then(|| format!("{version}/readme{query}"));
        Self {
            id: record.id.to_string(),
            pid: pid.to_owned(),
            name: take("name"),
            version: record.version.to_string(),
            description: take("description"),
            tag: take("tag"),
            capabilities: take("capabilities"),
            dependencies: take("dependencies"),
            is_specialized: take("is_specialized"),
            is_scoped: take("is_scoped"),
            stateless: take("stateless"),
            sdk_version: take("sdk_version"),
            entrypoint: take("entrypoint"),
            default_settings: default_settings(&settings_schema),
            settings_schema,
            is_latest: record.is_latest,
            enabled: record.enabled,
            yanked: record.yanked.clone().map(|reason| Yanked { reason }),
            deprecated: record.deprecated.clone().map(|deprecated| Deprecated {
                message: deprecated.message,
                successor: deprecated.successor,
            }),
            blocked: record.blocked.clone().map(|reason| Yanked { reason }),
            logo_image,
            readme,
            source: source.as_str(),
            digest: Digest::from(record.package).to_string(),
            manifest_digest: Digest::from(record.manifest).to_string(),
            size: record.package_size,
            url: url(desk, &record.package),
            created_at: time(record.created),
        }
    }
}

/// The immutable URL of a package.
pub fn url(desk: &Desk<'_>, package: &Sha256) -> String {
    format!("{}/blobs/sha256/{}", desk.base, package.hex())
}

/// What the package says about itself.
pub fn metadata(record: &PluginRecord) -> Map<String, Value> {
    serde_json::from_str(&record.metadata).unwrap_or_default()
}

pub fn default_settings(schema: &Value) -> Map<String, Value> {
    let items = schema.as_array().map(Vec::as_slice).unwrap_or_default();
    let default = |item: &Value| Some((item["key"].as_str()?.to_owned(), item.get("default")?.clone()));
    items.iter().filter_map(default).collect()
}
