//! The metadata of a plugin, read from `plugin.json`, from `plugin.py`, or from both.

use std::io;

use serde_json::{Map, Value, json};

use super::fields::{Draft, Field, Fields};
use super::files::{self, Base, Files, PLUGIN_JSON, PLUGIN_PY};
use super::finding::{Finding, Findings, Place};
use super::settings::{SettingsItem, schema_value};
use super::{logo, plugin_json, python, readme};
use crate::version::Version;

/// What a package says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The id, in reverse-domain form; also the name of the plugin's repository.
    pub pid: String,
    pub name: String,
    pub version: Version,
    pub description: String,
    /// A word of the author's, not a tag of the registry.
    pub tag: Option<String>,
    pub capabilities: Vec<String>,
    pub dependencies: Vec<String>,
    pub is_specialized: bool,
    pub is_scoped: bool,
    pub stateless: bool,
    pub sdk_version: String,
    pub entrypoint: Option<String>,
    pub settings_schema: Vec<SettingsItem>,
    /// Path of the logo in the package.
    pub logo: Option<String>,
    /// Path of the README in the package.
    pub readme: Option<String>,
    /// Fields that mean nothing here and are kept.
    pub extra: Map<String, Value>,
}

impl Plugin {
    /// The default of each setting that has one.
    pub fn default_settings(&self) -> Map<String, Value> {
        let default = |item: &SettingsItem| Some((item.key.clone(), item.default.clone()?));
        self.settings_schema.iter().filter_map(default).collect()
    }

    /// The OCI config document: RFC 8785 canonical JSON of the metadata and of nothing else, so that the same
    /// package has the same config on every registry. `spec/plugin.md` fixes its fields.
    pub fn config(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut document = json!({
            "pid": self.pid,
            "name": self.name,
            "version": self.version.as_str(),
            "description": self.description,
            "capabilities": self.capabilities,
            "dependencies": self.dependencies,
            "is_specialized": self.is_specialized,
            "is_scoped": self.is_scoped,
            "stateless": self.stateless,
            "sdk_version": self.sdk_version,
            "settings_schema": schema_value(&self.settings_schema),
            "extra": self.extra,
        });
        let optional = [
            ("tag", &self.tag),
            ("entrypoint", &self.entrypoint),
            ("logo", &self.logo),
            ("readme", &self.readme),
        ];
        for (field, value) in optional {
            if let Some(value) = value {
                document[field] = json!(value);
            }
        }
        serde_json_canonicalizer::to_vec(&document)
    }
}

/// What came out of reading a package's metadata.
#[derive(Debug)]
pub struct Reading {
    /// There when no finding is an error.
    pub plugin: Option<Plugin>,
    pub findings: Vec<Finding>,
}

/// Reads the metadata of a package, with every finding about it. An error is one of reading the files.
pub fn read(files: &impl Files) -> io::Result<Reading> {
    let mut findings = Findings::default();
    let plugin = match files::locate(files) {
        Ok(base) => read_at(files, &base, &mut findings)?,
        Err(missing) => {
            findings.push(no_metadata(missing.near_miss, files::other_kind(files)));
            None
        }
    };
    let plugin = plugin.filter(|_| !findings.refused());
    Ok(Reading { plugin, findings: findings.into_vec() })
}

fn no_metadata(near_miss: Option<String>, other_kind: Option<&str>) -> Finding {
    let mut message = "no plugin.json and no plugin.py at the root or in a single top folder".to_owned();
    if let Some(kind) = other_kind {
        message = format!("{message}: this looks like {kind}");
    }
    let finding = Finding::error("plugin.metadata", near_miss.as_deref(), message);
    match near_miss {
        Some(path) => {
            let path = super::finding::quoted(&path, 120);
            finding.hint(format!("{path} is not where, or not spelled as, it is looked for"))
        }
        None => finding.hint("a plugin is a zip with a plugin.json or a plugin.py at its root"),
    }
}

fn read_at(files: &impl Files, base: &Base, findings: &mut Findings) -> io::Result<Option<Plugin>> {
    let (json_path, python_path) = (base.join(PLUGIN_JSON), base.join(PLUGIN_PY));
    let json = files.read(&json_path, plugin_json::SIZE_LIMIT + 1)?;
    let python = match files.read(&python_path, python::SIZE_LIMIT + 1)? {
        Some(source) => Some(python::read(&python_path, source)?),
        None => None,
    };
    let draft = match (json, python) {
        (Some(json), python) => {
            let stated =
                plugin_json::read(&json_path, &json, findings).map(|fields| stated(&json_path, fields));
            match (stated, python) {
                (Some(stated), Some((read, found))) => {
                    // The author had to write a plugin.json because this file cannot be read.
                    findings.push_as_warnings(found);
                    Some(both(stated, read, findings))
                }
                (stated, _) => stated,
            }
        }
        (None, Some((read, found))) => {
            findings.append(found);
            Some(read)
        }
        (None, None) => None,
    };
    let Some(draft) = draft else {
        return Ok(None);
    };
    let mut fields = Fields { draft, findings };
    let logo = logo::find(files, base, fields.path("plugin.logo", "logo"), fields.findings)?;
    let readme = readme::find(files, base, fields.path("plugin.readme", "readme"), fields.findings)?;
    Ok(build(fields, logo, readme))
}

/// The draft of a `plugin.json`.
fn stated(path: &str, fields: Map<String, Value>) -> Draft {
    let place = Place::of(path);
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name, Field { value, place: place.clone(), items: Vec::new() }))
        .collect();
    Draft { place, fields, unreadable: Default::default() }
}

/// What `plugin.json` states comes first; what it leaves out is taken from `plugin.py`.
fn both(mut stated: Draft, read: Draft, findings: &mut Findings) -> Draft {
    let text = |draft: &Draft, field: &str| draft.fields.get(field)?.value.as_str().map(str::to_owned);
    let differ = |field: &str| {
        let (left, right) = (text(&stated, field)?, text(&read, field)?);
        let version = |text: &str| text.parse::<Version>().ok();
        let same_version = || version(&left).is_some_and(|left| version(&right) == Some(left));
        let agree = left == right || (field == "version" && same_version());
        (!agree).then_some((left, right))
    };
    for field in ["pid", "version"] {
        if let Some((left, right)) = differ(field) {
            let (left, right) = (super::finding::quoted(&left, 80), super::finding::quoted(&right, 80));
            let place = read.fields.get(field).map_or(&read.place, |field| &field.place);
            findings.push(
                place
                    .error("plugin.agree", format!("{field} is {right:?} here and {left:?} in plugin.json"))
                    .hint("both files must name the same pid and version"),
            );
        }
    }
    for (name, field) in read.fields {
        stated.fields.entry(name).or_insert(field);
    }
    stated
}

fn build(mut fields: Fields, logo: Option<String>, readme: Option<String>) -> Option<Plugin> {
    let pid = fields.pid();
    let name = fields.required_line("plugin.name", "name", 256);
    let version = fields.version();
    let description = fields.description();
    let tag = fields.optional_line("plugin.tag", "tag", 128);
    let capabilities = fields.lines("plugin.capabilities", "capabilities");
    let dependencies = fields.lines("plugin.dependencies", "dependencies");
    let is_specialized = fields.flag("plugin.is_specialized", "is_specialized", false);
    let is_scoped = fields.flag("plugin.is_scoped", "is_scoped", false);
    let stateless = fields.flag("plugin.stateless", "stateless", true);
    let sdk_version = fields.optional_line("plugin.sdk_version", "sdk_version", 256);
    let entrypoint = fields.optional_line("plugin.entrypoint", "entrypoint", 1024);
    let settings_schema = fields.settings();
    let extra = fields.extra();
    Some(Plugin {
        pid: pid?,
        name: name?,
        version: version?,
        description: description?,
        tag,
        capabilities,
        dependencies,
        is_specialized,
        is_scoped,
        stateless,
        sdk_version: sdk_version.unwrap_or_else(|| super::fields::DEFAULT_SDK_VERSION.to_owned()),
        entrypoint,
        settings_schema: settings_schema?,
        logo,
        readme,
        extra,
    })
}
