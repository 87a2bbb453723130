//! The paths of plugins, enablements and blocked digests below `/api/`.

use http::Method;
use uuid::Uuid;

use super::super::plugin_query::{PluginListQuery, Source, VersionsQuery};
use super::super::query::{Query, bad};
use super::{Route, RouteError, is_read, read_only};
use crate::access::{Permission, SYSTEM_CATALOG};
use crate::digest::{Digest, Sha256};
use crate::name::Tag;

/// Through whose eyes plugins are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// An organisation's own plugins and, to read, the system's.
    Organisation(String),
    /// The system catalog alone, by those who keep it.
    System,
}

impl View {
    /// The catalog that is written to.
    pub fn catalog(&self) -> &str {
        match self {
            Self::Organisation(id) => id,
            Self::System => SYSTEM_CATALOG,
        }
    }

    pub(super) fn read(&self) -> Permission {
        match self {
            Self::Organisation(_) => Permission::OrgPluginsRead,
            Self::System => Permission::SystemPluginsRead,
        }
    }

    pub(super) fn write(&self) -> Permission {
        match self {
            Self::Organisation(_) => Permission::OrgPluginsWrite,
            Self::System => Permission::SystemPluginsWrite,
        }
    }

    /// The path that its plugins are below.
    pub fn path(&self) -> String {
        match self {
            Self::Organisation(id) => format!("/api/orgs/{id}/plugins"),
            Self::System => "/api/admin/plugins".to_owned(),
        }
    }
}

/// One version of a plugin, as a path and its query name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionName {
    pub pid: String,
    pub version: String,
    pub source: Option<Source>,
}

/// A plugin by its pid, or one version of it by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginName {
    Id(Uuid),
    Pid { pid: String, source: Option<Source> },
}

/// Which settings are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaQuery {
    pub pid: String,
    pub version: Option<String>,
    pub channel: Option<Tag>,
    pub source: Option<Source>,
}

/// Two versions to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffQuery {
    pub pid: String,
    pub from: String,
    pub to: String,
    pub source: Option<Source>,
}

/// What comes with an upload beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadQuery {
    pub digest: Option<Digest>,
    pub channels: Vec<Tag>,
}

/// Everything behind `/api/orgs/{org}/plugins` or `/api/admin/plugins`.
pub(super) fn parse(
    method: &Method,
    view: View,
    segments: &[&str],
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    match *segments {
        [] if is_read(method) => {
            let admin = view == View::System;
            Ok(Route::ListPlugins { query: PluginListQuery::read(query, admin)?, view })
        }
        [] => Err(RouteError::Method { allow: "GET, HEAD" }),
        ["upload"] if method == Method::POST => {
            let query = UploadQuery { digest: query.digest("digest")?, channels: query.channels()? };
            Ok(Route::UploadPlugin { view, query })
        }
        ["upload"] => Err(RouteError::Method { allow: "POST" }),
        ["facets"] if is_read(method) => {
            let admin = view == View::System;
            Ok(Route::PluginFacets { query: PluginListQuery::read(query, admin)?, view })
        }
        ["facets"] => Err(RouteError::Method { allow: "GET, HEAD" }),
        [name] => {
            let id = Uuid::try_parse(name).ok();
            match *method {
                // What is no id is the id of no version; who may not write is told that first.
                Method::PATCH => Ok(Route::ChangePlugin { view, id }),
                Method::DELETE => Ok(Route::DisablePlugin { view, id }),
                _ if is_read(method) => {
                    let source = query.source()?;
                    let pid = || PluginName::Pid { pid: name.to_owned(), source };
                    Ok(Route::GetPlugin { view, plugin: id.map_or_else(pid, PluginName::Id) })
                }
                _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, DELETE" }),
            }
        }
        [pid, ref rest @ ..] => of_plugin(method, view, pid, rest, query),
    }
}

fn of_plugin(
    method: &Method,
    view: View,
    pid: &str,
    segments: &[&str],
    query: &Query<'_>,
) -> Result<Route, RouteError> {
    let known = matches!(
        *segments,
        ["versions" | "settings-schema" | "diff"]
            | ["versions", _]
            | ["versions", _, "readme"]
            | ["versions", _, "files", ..]
    );
    if !known {
        return Err(RouteError::NotFound);
    }
    // Whatever its parameters say.
    if !is_read(method) {
        return Err(RouteError::Method { allow: "GET, HEAD" });
    }
    let pid = pid.to_owned();
    let source = query.source()?;
    let of_version = |version: &str| VersionName { pid: pid.clone(), version: version.to_owned(), source };
    Ok(match *segments {
        ["versions"] => Route::ListVersions { view, pid, source, query: VersionsQuery::read(query)? },
        ["settings-schema"] => {
            let (version, channel) = (query.single("version")?, query.channel()?);
            if version.is_some() && channel.is_some() {
                return Err(bad("channel", "stands beside a version").into());
            }
            Route::GetSettingsSchema { view, query: SchemaQuery { pid, version, channel, source } }
        }
        ["diff"] => {
            let required = |name| {
                let value = query.single(name)?.filter(|value| !value.is_empty());
                value.ok_or_else(|| bad(name, "is missing"))
            };
            let (from, to) = (required("from")?, required("to")?);
            Route::DiffVersions { view, query: DiffQuery { pid, from, to, source } }
        }
        ["versions", version] => Route::GetVersion { view, version: of_version(version) },
        ["versions", version, "readme"] => Route::GetReadme { view, version: of_version(version) },
        ["versions", version, "files"] => Route::ListFiles { view, version: of_version(version) },
        ["versions", version, "files", ref path @ ..] => {
            Route::GetFile { view, version: of_version(version), path: path.join("/") }
        }
        _ => return Err(RouteError::NotFound),
    })
}

/// Everything behind `/api/orgs/{org}/enablements`.
pub(super) fn enablements(
    method: &Method,
    organisation: &str,
    segments: &[&str],
) -> Result<Route, RouteError> {
    let organisation = organisation.to_owned();
    match *segments {
        [] => read_only(method, Route::ListEnablements { organisation }),
        [source, pid] => {
            let source = Source::parse(source).ok_or(RouteError::NotFound)?;
            let pid = pid.to_owned();
            match *method {
                Method::PUT => Ok(Route::SetEnablement { organisation, source, pid }),
                Method::DELETE => Ok(Route::DeleteEnablement { organisation, source, pid }),
                _ if is_read(method) => Ok(Route::GetEnablement { organisation, source, pid }),
                _ => Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }),
            }
        }
        _ => Err(RouteError::NotFound),
    }
}

/// Everything behind `/api/admin/blocked-digests`.
pub(super) fn blocks(method: &Method, segments: &[&str], query: &Query<'_>) -> Result<Route, RouteError> {
    match *segments {
        [] if is_read(method) => {
            let mut page = query.page()?;
            let after = page.after.take();
            let after = after.map(|after| digest(&after)).transpose()?;
            Ok(Route::ListBlocks { after, limit: page.limit })
        }
        [] => Err(RouteError::Method { allow: "GET, HEAD" }),
        [text] => {
            let digest = digest(text)?;
            match *method {
                Method::PUT => Ok(Route::SetBlock { digest }),
                Method::DELETE => Ok(Route::DeleteBlock { digest }),
                _ => Err(RouteError::Method { allow: "PUT, DELETE" }),
            }
        }
        _ => Err(RouteError::NotFound),
    }
}

/// Whatever names the bytes elsewhere, they are blocked by their SHA-256.
fn digest(text: &str) -> Result<Sha256, RouteError> {
    match text.parse().map_err(RouteError::Digest)? {
        Digest::Sha256(sha256) => Ok(sha256),
        Digest::Sha512(_) => Err(RouteError::Digest(crate::digest::DigestError::Algorithm)),
    }
}
