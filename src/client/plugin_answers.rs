//! The shapes of the answers about plugins, as far as they are shown to people.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A version of a plugin. What its package says of itself is shown as it is, so it may have any shape.
#[derive(Debug, Deserialize)]
pub struct PluginVersion {
    pub id: String,
    pub pid: String,
    pub version: String,
    #[serde(default)]
    pub name: Value,
    #[serde(default)]
    pub description: Value,
    #[serde(default)]
    pub tag: Value,
    #[serde(default)]
    pub capabilities: Value,
    #[serde(default)]
    pub dependencies: Value,
    #[serde(default)]
    pub is_specialized: Value,
    #[serde(default)]
    pub is_scoped: Value,
    #[serde(default)]
    pub stateless: Value,
    #[serde(default)]
    pub sdk_version: Value,
    #[serde(default)]
    pub entrypoint: Value,
    #[serde(default)]
    pub settings_schema: Option<Vec<Setting>>,
    pub is_latest: bool,
    pub enabled: bool,
    pub yanked: Option<Reason>,
    pub deprecated: Option<Deprecation>,
    pub blocked: Option<Reason>,
    pub logo_image: Option<String>,
    pub readme: Option<String>,
    /// `system` or `org`.
    pub source: String,
    pub digest: String,
    pub manifest_digest: String,
    pub size: u64,
    pub url: String,
    /// RFC 3339.
    pub created_at: String,
}

#[derive(Debug, Deserialize)]
pub struct Reason {
    pub reason: String,
}

#[derive(Debug, Deserialize)]
pub struct Deprecation {
    pub message: String,
    /// The pid of what takes its place.
    pub successor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Setting {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub description: Option<String>,
    /// `null` is as good as none.
    #[serde(default)]
    pub default: Value,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub sensitive: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ListedFile {
    pub path: String,
    pub size: u64,
    pub digest: String,
    pub executable: bool,
}

#[derive(Debug, Deserialize)]
pub struct VersionDiff {
    pub from: DiffSide,
    pub to: DiffSide,
    /// Fields that differ, by name.
    pub metadata: BTreeMap<String, ChangedField>,
    pub settings_schema: SettingsVerdict,
    pub files: FilesDiff,
}

#[derive(Debug, Deserialize)]
pub struct DiffSide {
    pub version: String,
    pub digest: String,
}

#[derive(Debug, Deserialize)]
pub struct ChangedField {
    pub from: Value,
    pub to: Value,
}

#[derive(Debug, Deserialize)]
pub struct SettingsVerdict {
    /// `compatible` or `breaking`.
    pub verdict: String,
    pub reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct FilesDiff {
    pub added: Vec<DiffFile>,
    pub removed: Vec<DiffFile>,
    pub changed: Vec<ChangedFile>,
}

#[derive(Debug, Deserialize)]
pub struct DiffFile {
    pub path: String,
    pub size: u64,
}

#[derive(Debug, Deserialize)]
pub struct ChangedFile {
    pub path: String,
    pub from: DiffFile,
    pub to: DiffFile,
}

/// What an organisation has enabled.
#[derive(Debug, Deserialize)]
pub struct Enablement {
    /// `system` or `org`.
    pub source: String,
    pub pid: String,
    /// One of the two is there: what was chosen.
    pub version: Option<String>,
    pub channel: Option<String>,
    pub accepted_version: String,
    pub accepted_digest: String,
    pub updated_by: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// What the orchestrators of an organisation load.
#[derive(Debug, Deserialize)]
pub struct Plan {
    pub plugins: Vec<PlannedPlugin>,
    pub unavailable: Vec<Unavailable>,
}

#[derive(Debug, Deserialize)]
pub struct PlannedPlugin {
    pub source: String,
    pub pid: String,
    pub version: String,
    pub channel: Option<String>,
    pub digest: String,
    pub yanked: Option<String>,
    pub deprecated: Option<String>,
    pub held: Option<Held>,
}

/// Why what a channel leads to is not loaded.
#[derive(Debug, Deserialize)]
pub struct Held {
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What the channel leads to.
    pub version: Option<String>,
}

/// What was enabled and cannot be loaded.
#[derive(Debug, Deserialize)]
pub struct Unavailable {
    pub source: String,
    pub pid: String,
    pub version: Option<String>,
    pub channel: Option<String>,
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct BlockedDigest {
    pub digest: String,
    pub reason: String,
    pub blocked_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// How many digests are refused because of it.
    pub digests: u64,
}
