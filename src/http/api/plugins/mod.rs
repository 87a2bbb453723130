//! `/api/orgs/{org}/plugins` and `/api/admin/plugins`: what admins, authors and orchestrators see of plugins.

mod files;
mod lists;
mod shown;
mod state;
mod upload;
mod versions;

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, LINK};
use serde::Serialize;

use super::kept::{Answer, KeptAnswers};
use crate::access::{Action, Caller, CatalogScope, ReadScope, SYSTEM_CATALOG, Verdict};
use crate::http::delivery::Conditions;
use crate::http::error::ApiError;
use crate::http::plugin_query::Source;
use crate::http::reply::{Audience, Freshness, Reply};
use crate::http::route::{VersionName, View};
use crate::meta::{PluginRecord, Which};
use crate::name::RepositoryName;
use crate::registry::Registry;

pub use self::shown::{Shown, default_settings, metadata, url};

/// What every answer about plugins is made with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    pub registry: &'a Registry,
    pub caller: &'a Caller,
    pub conditions: &'a Conditions<'a>,
    pub kept: &'a KeptAnswers,
    /// What URLs begin with, where they have to be absolute.
    pub base: &'a str,
}

const UNKNOWN: ApiError = ApiError::Unknown("plugin");
const UNKNOWN_VERSION: ApiError = ApiError::Unknown("version of this plugin");

impl Desk<'_> {
    /// `system` is no organisation, and who may see every organisation learns that one is not there.
    pub async fn check_organisation(&self, id: &str) -> Result<(), ApiError> {
        match id == SYSTEM_CATALOG || self.registry.catalog(id).await?.is_none() {
            true => Err(ApiError::Unknown("organisation")),
            false => Ok(()),
        }
    }

    async fn check_view(&self, view: &View) -> Result<(), ApiError> {
        match view {
            View::Organisation(id) => self.check_organisation(id).await,
            View::System => Ok(()),
        }
    }

    /// What the caller reads of the catalogs of a view.
    fn scopes(&self, view: &View) -> Vec<CatalogScope> {
        match view {
            View::Organisation(id) => self.scopes_of(id),
            View::System => self.readable(&[SYSTEM_CATALOG]),
        }
    }

    /// What the caller reads of an organisation's catalog and the system's.
    pub fn scopes_of(&self, organisation: &str) -> Vec<CatalogScope> {
        self.readable(&[organisation, SYSTEM_CATALOG])
    }

    fn readable(&self, catalogs: &[&str]) -> Vec<CatalogScope> {
        match self.registry.policy().readable(self.caller) {
            ReadScope::Everything => catalogs.iter().map(|catalog| CatalogScope::whole(catalog)).collect(),
            ReadScope::Only { catalogs: readable, .. } => {
                let named = |scope: &CatalogScope| catalogs.contains(&&*scope.catalog);
                readable.into_iter().filter(named).collect()
            }
        }
    }

    pub fn may_read(&self, repository: &RepositoryName) -> bool {
        self.registry.policy().may(self.caller, Action::Pull, repository) == Verdict::Allowed
    }

    /// The repository of a plugin: from where it was asked for, else the organisation's own before the system's.
    async fn repository(
        &self,
        view: &View,
        pid: &str,
        source: Option<Source>,
    ) -> Result<RepositoryName, ApiError> {
        self.check_view(view).await?;
        let catalogs = match (view, source) {
            (View::System, None | Some(Source::System)) | (View::Organisation(_), Some(Source::System)) => {
                vec![SYSTEM_CATALOG]
            }
            (View::System, Some(Source::Org)) => vec![],
            (View::Organisation(id), Some(Source::Org)) => vec![id.as_str()],
            (View::Organisation(id), None) => vec![id.as_str(), SYSTEM_CATALOG],
        };
        for catalog in catalogs {
            let Some(repository) = plugin_name(catalog, pid) else { continue };
            if self.may_read(&repository) && self.registry.plugin(&repository, &Which::Shown).await?.is_some()
            {
                return Ok(repository);
            }
        }
        Err(UNKNOWN)
    }

    async fn version(&self, view: &View, name: &VersionName) -> Result<PluginRecord, ApiError> {
        let repository = self.repository(view, &name.pid, name.source).await?;
        self.version_of(&repository, &name.version).await
    }

    async fn version_of(&self, repository: &RepositoryName, version: &str) -> Result<PluginRecord, ApiError> {
        let Ok(version) = version.parse() else { return Err(UNKNOWN_VERSION) };
        let found = self.registry.plugin(repository, &Which::Version(version)).await?;
        found.ok_or(UNKNOWN_VERSION)
    }

    /// Where a plugin comes from, for those who look through this view.
    pub fn source(&self, repository: &RepositoryName) -> Source {
        if repository.catalog() == SYSTEM_CATALOG { Source::System } else { Source::Org }
    }

    /// An answer that says by its ETag whether it is the one that the client has.
    pub fn tagged(&self, answer: &Answer) -> Reply {
        let freshness = Freshness::List(Audience::Private);
        let mut reply = match self.conditions.has(&answer.etag) {
            true => Reply::empty(StatusCode::NOT_MODIFIED, freshness),
            false => Reply::bytes(StatusCode::OK, answer.body.clone(), freshness),
        };
        if reply.status == StatusCode::OK {
            reply.header(CONTENT_TYPE, answer.content_type);
        }
        reply.header(ETAG, &*answer.etag);
        if let Some(link) = &answer.link {
            reply.header(LINK, &**link);
        }
        reply
    }

    /// As [`Desk::tagged`], of something that is not kept.
    pub fn shown(&self, value: &impl Serialize) -> Reply {
        self.tagged(&Answer::json(value, None))
    }

    fn wants(&self, media_type: &str) -> bool {
        let accepted = self.conditions.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|accepted| {
            accepted.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
        })
    }
}

/// `None`: no plugin can have this name.
pub fn plugin_name(catalog: &str, pid: &str) -> Option<RepositoryName> {
    crate::package::check_pid(pid).ok()?;
    format!("{catalog}/{pid}").parse().ok()
}
