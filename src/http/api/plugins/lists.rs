//! Lists of plugins: an organisation's and the system's in one, searched, counted, in pages.

use std::sync::Arc;

use serde::Serialize;

use super::{Desk, Shown};
use crate::access::SYSTEM_CATALOG;
use crate::http::api::kept::Answer;
use crate::http::error::ApiError;
use crate::http::plugin_query::{PluginListQuery, Source};
use crate::http::reply::Reply;
use crate::http::route::View;
use crate::meta::{PluginQuery, PluginRecord};

#[derive(Serialize)]
struct Facets {
    sources: Vec<Count<&'static str>>,
    tags: Vec<Count<String>>,
    capabilities: Vec<Count<String>>,
}

#[derive(Serialize)]
struct Count<T> {
    value: T,
    count: u64,
}

/// Most values of one facet that are listed, those with most plugins first.
const FACET_VALUES: usize = 1000;

impl Desk<'_> {
    pub async fn list(&self, view: &View, query: &PluginListQuery) -> Result<Reply, ApiError> {
        self.kept(view, "list", query, async |asked| {
            let page = self.registry.plugins(asked).await?;
            let shown: Vec<Shown> = page.items.iter().map(|record| Shown::of(self, view, record)).collect();
            let link = page.items.last().filter(|_| page.more).map(|last| self.next(view, query, last));
            Ok(Answer::json(&shown, link))
        })
        .await
    }

    pub async fn facets(&self, view: &View, query: &PluginListQuery) -> Result<Reply, ApiError> {
        self.kept(view, "facets", query, async |asked| {
            let found = self.registry.plugin_facets(asked).await?;
            let source = |(catalog, count): (String, u64)| {
                let source = if catalog == SYSTEM_CATALOG { Source::System } else { Source::Org };
                Count { value: source.as_str(), count }
            };
            let counts = |values: Vec<(String, u64)>| {
                let counts = values.into_iter().take(FACET_VALUES);
                counts.map(|(value, count)| Count { value, count }).collect()
            };
            let facets = Facets {
                sources: found.catalogs.into_iter().map(source).collect(),
                tags: counts(found.tags),
                capabilities: counts(found.capabilities),
            };
            Ok(Answer::json(&facets, None))
        })
        .await
    }

    /// Answers with what was answered a moment ago, if nothing was written since and the caller reads the whole
    /// of the catalogs, as everybody does whose token is not narrowed.
    async fn kept(
        &self,
        view: &View,
        what: &str,
        query: &PluginListQuery,
        make: impl AsyncFnOnce(&PluginQuery) -> Result<Answer, ApiError>,
    ) -> Result<Reply, ApiError> {
        let scopes = self.scopes(view);
        let whole = scopes.iter().all(|scope| scope.only.is_none());
        let catalogs: Vec<&str> = scopes.iter().map(|scope| &*scope.catalog).collect();
        let PluginListQuery { limit, after, raw, .. } = query;
        let asked = format!("{what} {} {} {limit} {after:?} {raw}", view.path(), catalogs.join(" "));
        let written = self.registry.plugins_written();
        if whole && let Some(answer) = self.kept.get(&asked, written) {
            return Ok(self.tagged(&answer));
        }
        let _alone = if whole { Some(self.kept.alone(&asked).await) } else { None };
        if whole && let Some(answer) = self.kept.get(&asked, written) {
            return Ok(self.tagged(&answer));
        }
        self.check_view(view).await?;
        let after = query.after.clone().map(|(pid, source)| {
            let catalog = match source {
                Source::System => SYSTEM_CATALOG,
                Source::Org => view.catalog(),
            };
            (pid, catalog.to_owned())
        });
        let query = PluginQuery {
            scopes,
            words: query.words.clone(),
            tag: query.tag.clone(),
            capability: query.capability.clone(),
            channel: query.channel.clone(),
            with_disabled: query.with_disabled,
            after,
            limit: query.limit,
        };
        let answer = Arc::new(make(&query).await?);
        if whole {
            self.kept.keep(asked, written, &answer);
        }
        Ok(self.tagged(&answer))
    }

    fn next(&self, view: &View, query: &PluginListQuery, last: &PluginRecord) -> String {
        let (pid, source) = (last.repository.without_catalog(), self.source(&last.repository).as_str());
        let PluginListQuery { raw, limit, .. } = query;
        let join = if raw.is_empty() { "" } else { "&" };
        format!("<{}?{raw}{join}limit={limit}&after={pid}:{source}>; rel=\"next\"", view.path())
    }
}
