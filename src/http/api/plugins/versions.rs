//! The versions of a plugin: listed, one by one, their settings, and what differs between two.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::shown::metadata;
use super::upload::SettingsChange;
use super::{Desk, Shown, UNKNOWN_VERSION};
use crate::digest::Digest;
use crate::http::api::kept::Answer;
use crate::http::error::ApiError;
use crate::http::plugin_query::{Source, VersionsQuery};
use crate::http::reply::Reply;
use crate::http::route::{DiffQuery, PluginName, SchemaQuery, VersionName, View};
use crate::meta::{PackageFile, Which};
use crate::package::{schema_digest, to_json_schema};
use crate::registry::settings;

#[derive(Serialize)]
struct Diff {
    from: Side,
    to: Side,
    /// Fields of the metadata that differ, by name.
    metadata: BTreeMap<String, Changed<Value>>,
    settings_schema: SettingsChange,
    files: FilesDiff,
}

#[derive(Serialize)]
struct Side {
    version: String,
    digest: String,
}

#[derive(Serialize)]
struct Changed<T> {
    from: T,
    to: T,
}

#[derive(Serialize)]
struct FilesDiff {
    added: Vec<FileSide>,
    removed: Vec<FileSide>,
    changed: Vec<ChangedFile>,
}

#[derive(Serialize)]
struct FileSide {
    path: String,
    size: u64,
    digest: String,
}

#[derive(Serialize)]
struct ChangedFile {
    path: String,
    from: FileSide,
    to: FileSide,
}

impl FileSide {
    fn of(file: &PackageFile) -> Self {
        let digest = Digest::from(file.sha256).to_string();
        Self { path: file.path.clone(), size: file.size, digest }
    }
}

impl Desk<'_> {
    /// By its pid the version that a list shows, by its id that version.
    pub async fn plugin(&self, view: &View, name: &PluginName) -> Result<Reply, ApiError> {
        let record = match name {
            PluginName::Pid { pid, source } => {
                let repository = self.repository(view, pid, *source).await?;
                self.registry.plugin(&repository, &Which::Shown).await?
            }
            PluginName::Id(id) => {
                self.check_view(view).await?;
                let found = self.registry.plugin_by_id(*id).await?;
                let scopes = self.scopes(view);
                let seen = |catalog: &str| scopes.iter().any(|scope| scope.catalog == catalog);
                found.filter(|found| seen(found.repository.catalog()) && self.may_read(&found.repository))
            }
        };
        Ok(self.shown(&Shown::of(self, view, &record.ok_or(UNKNOWN_VERSION)?)))
    }

    pub async fn versions(
        &self,
        view: &View,
        pid: &str,
        source: Option<Source>,
        query: &VersionsQuery,
    ) -> Result<Reply, ApiError> {
        let repository = self.repository(view, pid, source).await?;
        let page = self.registry.plugin_versions(&repository, query.below.as_ref(), query.limit).await?;
        let shown: Vec<Shown> = page.items.iter().map(|record| Shown::of(self, view, record)).collect();
        let link = page.items.last().filter(|_| page.more).map(|last| {
            let source = self.source(&repository).as_str();
            let (path, limit, last) = (view.path(), query.limit, &last.version);
            format!("<{path}/{pid}/versions?source={source}&limit={limit}&after={last}>; rel=\"next\"")
        });
        Ok(self.tagged(&Answer::json(&shown, link)))
    }

    pub async fn one_version(&self, view: &View, name: &VersionName) -> Result<Reply, ApiError> {
        let record = self.version(view, name).await?;
        Ok(self.shown(&Shown::of(self, view, &record)))
    }

    /// Of the version or channel that is asked for, else of the one that a list shows.
    pub async fn settings_schema(&self, view: &View, query: &SchemaQuery) -> Result<Reply, ApiError> {
        let repository = self.repository(view, &query.pid, query.source).await?;
        let record = match (&query.version, &query.channel) {
            (Some(version), _) => Some(self.version_of(&repository, version).await?),
            (None, Some(channel)) => {
                self.registry.plugin(&repository, &Which::Channel(channel.clone())).await?
            }
            (None, None) => self.registry.plugin(&repository, &Which::Shown).await?,
        };
        let record = record.ok_or(UNKNOWN_VERSION)?;
        let items = settings(&record.metadata);
        let answer = match self.wants("application/schema+json") {
            true => {
                let schema = serde_json::to_vec(&to_json_schema(&items)).unwrap_or_default();
                Answer::of(schema, "application/schema+json", None)
            }
            false => {
                let list = metadata(&record).remove("settings_schema").unwrap_or_default();
                Answer::json(&list, None)
            }
        };
        let mut reply = self.tagged(&answer);
        if let Ok(digest) = schema_digest(&items) {
            reply.header("quire-schema-digest", Digest::from(digest).to_string());
        }
        reply.header("vary", "Accept");
        Ok(reply)
    }

    pub async fn diff(&self, view: &View, query: &DiffQuery) -> Result<Reply, ApiError> {
        let repository = self.repository(view, &query.pid, query.source).await?;
        let from = self.version_of(&repository, &query.from).await?;
        let to = self.version_of(&repository, &query.to).await?;
        let before = self.registry.package_files(&from).await?;
        let after = self.registry.package_files(&to).await?;
        let since = from.version.to_string();
        let side = |record: &crate::meta::PluginRecord| Side {
            version: record.version.to_string(),
            digest: Digest::from(record.package).to_string(),
        };
        Ok(self.shown(&Diff {
            metadata: changed_fields(&metadata(&from), &metadata(&to)),
            settings_schema: SettingsChange::between(since, &from.metadata, &to.metadata),
            files: changed_files(&before, &after),
            from: side(&from),
            to: side(&to),
        }))
    }
}

/// The settings have a verdict of their own.
fn changed_fields(from: &Map<String, Value>, to: &Map<String, Value>) -> BTreeMap<String, Changed<Value>> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let mut changed = BTreeMap::new();
    for name in names.into_iter().filter(|name| *name != "settings_schema") {
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (from, to) = (of(from), of(to));
        if from != to {
            changed.insert(name.clone(), Changed { from, to });
        }
    }
    changed
}

fn changed_files(before: &[PackageFile], after: &[PackageFile]) -> FilesDiff {
    let by_path = |files: &[PackageFile]| -> BTreeMap<String, FileSide> {
        files.iter().map(|file| (file.path.clone(), FileSide::of(file))).collect()
    };
    let (mut old, new) = (by_path(before), by_path(after));
    let mut diff = FilesDiff { added: Vec::new(), removed: Vec::new(), changed: Vec::new() };
    for (path, to) in new {
        match old.remove(&path) {
            None => diff.added.push(to),
            Some(from) if from.digest != to.digest => diff.changed.push(ChangedFile { path, from, to }),
            Some(_) => {}
        }
    }
    diff.removed = old.into_values().collect();
    diff
}
