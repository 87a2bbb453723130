//! The state of a version: enabled, yanked, deprecated.

use http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use super::{Desk, Shown, UNKNOWN_VERSION};
use crate::access::{Action, Requester};
use crate::http::api::{Findings, Object, json, present, read};
use crate::http::error::ApiError;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::http::route::View;
use crate::meta::{Deprecation, PluginChange, PluginRecord};
use crate::package::check_pid;

/// Longest reason or message, in characters.
const TEXT_LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    enabled: Option<bool>,
    /// `null`: not any more.
    #[serde(default, deserialize_with = "present")]
    yanked: Option<Option<Object<Yank>>>,
    #[serde(default, deserialize_with = "present")]
    deprecated: Option<Option<Object<Deprecate>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Yank {
    reason: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Deprecate {
    message: String,
    successor: Option<String>,
}

impl Desk<'_> {
    pub async fn change(
        &self,
        requester: &Requester,
        view: &View,
        id: Option<Uuid>,
        body: RequestBody,
    ) -> Result<Reply, ApiError> {
        let record = self.own_version(requester, view, id).await?;
        let Object(change): Object<Change> = read(body).await?;
        let changed = self.registry.change_plugin(requester, &record, checked(change)?).await?;
        let changed = changed.ok_or(UNKNOWN_VERSION)?;
        Ok(json(StatusCode::OK, &Shown::of(self, view, &changed), Freshness::Write))
    }

    /// The row and the bytes stay.
    pub async fn disable(
        &self,
        requester: &Requester,
        view: &View,
        id: Option<Uuid>,
    ) -> Result<Reply, ApiError> {
        let record = self.own_version(requester, view, id).await?;
        let change = PluginChange { enabled: Some(false), ..PluginChange::default() };
        self.registry.change_plugin(requester, &record, change).await?.ok_or(UNKNOWN_VERSION)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT, Freshness::Write))
    }

    /// A version of the catalog that this view writes to; every other is unknown here.
    async fn own_version(
        &self,
        requester: &Requester,
        view: &View,
        id: Option<Uuid>,
    ) -> Result<PluginRecord, ApiError> {
        self.check_view(view).await?;
        let found = match id {
            Some(id) => self.registry.plugin_by_id(id).await?,
            None => None,
        };
        let own = found
            .filter(|found| found.repository.catalog() == view.catalog() && self.may_read(&found.repository));
        let own = own.ok_or(UNKNOWN_VERSION)?;
        // Who may only create takes nothing away, either.
        self.registry.may(&requester.caller, Action::Delete, &own.repository)?;
        Ok(own)
    }
}

fn checked(change: Change) -> Result<PluginChange, ApiError> {
    let mut findings = Findings::default();
    let mut text = |pointer: &str, text: &str| {
        if text.trim().is_empty() || text.chars().count() > TEXT_LIMIT || text.contains('\0') {
            findings.add("text", pointer, format!("has 1 to {TEXT_LIMIT} characters"));
        }
    };
    let yanked = change.yanked.map(|yanked| yanked.map(|Object(yank)| yank.reason));
    if let Some(Some(reason)) = &yanked {
        text("/yanked/reason", reason);
    }
    let deprecated = change.deprecated.map(|deprecated| {
        deprecated.map(|Object(Deprecate { message, successor })| Deprecation { message, successor })
    });
    if let Some(Some(Deprecation { message, successor })) = &deprecated {
        text("/deprecated/message", message);
        if let Some(Err(error)) = successor.as_ref().map(|pid| check_pid(pid)) {
            findings.add("pid", "/deprecated/successor", error);
        }
    }
    findings.done()?;
    Ok(PluginChange { enabled: change.enabled, yanked, deprecated })
}
