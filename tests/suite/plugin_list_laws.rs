//! The laws of the store about lists of plugins, against lists that are made by hand; for every implementation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use quire::access::CatalogScope;
use quire::meta::{
    Facets, MetaStore, NewPlugin, PluginQuery, PluginRecord, TagCondition, TagWrite, WriteTags,
};
use quire::version::Version;
use serde_json::{Value, json};

use crate::meta_laws::{actor, repository, tag};
use crate::plugin_laws::{
    change, described, enabled, for_all, found, package, published, publishing, version, yanked,
};
use crate::stores::{Fixture, laws};

const CATALOGS: [&str; 3] = ["a", "b", "system"];
/// In the order of their bytes.
const PIDS: [&str; 6] =
    ["com.acme.a", "com.acme.a-b", "com.acme.a.b", "com.acme.ab", "org.example.z", "org.example.zz"];
const VERSIONS: [&str; 4] = ["1.0", "1.1", "2.0-rc.1", "2.0"];
const CHANNELS: [&str; 2] = ["stable", "beta"];

/// A version of a plugin, the same in every catalog.
fn plugin(pid: usize, at: usize) -> NewPlugin {
    let number = pid * VERSIONS.len() + at;
    let capabilities = [(1, "mail"), (2, "Chat"), (4, "Über")].into_iter();
    let capabilities = capabilities.filter(|(bit, _)| number & bit > 0).map(|(_, name)| name);
    let texts = ["Sends MAIL.", "Écrit.\nTwo lines.", "100% _plain_ 'quoted'"];
    let mut config = json!({
        "pid": PIDS[pid], "version": VERSIONS[at], "name": format!("Name {number}"),
        "description": texts[number % 3],
        "capabilities": capabilities.collect::<Vec<_>>(),
    });
    if let Some(tag) = ["tools", "Games", "tools/x"].get(number % 4) {
        config["tag"] = json!(tag);
    }
    described(VERSIONS[at], config, "text")
}

/// Something that is done to a version, by its places in the lists above.
#[derive(Debug, Clone)]
struct Step {
    catalog: usize,
    pid: usize,
    at: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Publish,
    Delete,
    Enabled(bool),
    Yanked(bool),
    Blocked(bool),
    Channel(&'static str),
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    disabled: bool,
    yanked: bool,
}

/// Everything that the store holds, as plain as can be.
#[derive(Default)]
struct Model {
    /// By catalog, plugin and version.
    there: BTreeMap<(usize, usize, usize), State>,
    /// What was deleted, in the state that it comes back in.
    gone: BTreeMap<(usize, usize, usize), State>,
    /// Plugins and versions, in whatever catalog.
    blocked: BTreeSet<(usize, usize)>,
    /// By catalog, plugin and name.
    channels: BTreeMap<(usize, usize, &'static str), usize>,
}

/// A plugin as a list shows it: id, catalog, version, and whether that is the latest.
type Shown = (&'static str, &'static str, &'static str, bool);

impl Model {
    async fn step(&mut self, store: &dyn MetaStore, step: &Step) {
        let Step { catalog, pid, at, ref what } = *step;
        let (key, plugin) = ((catalog, pid, at), plugin(pid, at));
        let name = format!("{}/{}", CATALOGS[catalog], PIDS[pid]);
        let digest = publishing(&name, &plugin, "", &[]).digests.sha256;
        let id = found(store, &name, VERSIONS[at]).await.map(|record| record.id);
        assert_eq!(id.is_some(), self.there.contains_key(&key));
        match (what, id) {
            (What::Publish, _) if self.blocked.contains(&(pid, at)) => {}
            (What::Publish, _) => {
                store.put_manifest(publishing(&name, &plugin, "", &[])).await.unwrap();
                let state = self.gone.remove(&key).unwrap_or_default();
                self.there.entry(key).or_insert(state);
            }
            (What::Blocked(true), _) => {
                store.block(plugin.package, "bad", &actor()).await.unwrap();
                self.blocked.insert((pid, at));
            }
            (What::Blocked(false), _) => {
                store.unblock(&plugin.package, &actor()).await.unwrap();
                self.blocked.remove(&(pid, at));
            }
            (_, None) => {}
            (What::Delete, Some(_)) => {
                store.delete_tag(&repository(&name), &tag(VERSIONS[at]), &actor()).await.unwrap();
                self.gone.extend(self.there.remove_entry(&key));
            }
            (What::Enabled(to), Some(id)) => {
                change(store, id, enabled(*to)).await;
                self.there.entry(key).and_modify(|state| state.disabled = !to);
            }
            (What::Yanked(to), Some(id)) => {
                change(store, id, yanked(to.then_some("broken"))).await;
                self.there.entry(key).and_modify(|state| state.yanked = *to);
            }
            (What::Channel(channel), Some(_)) => {
                let write = TagWrite {
                    repository: repository(&name),
                    tag: tag(channel),
                    digest: digest.into(),
                    condition: TagCondition::Any,
                    may_move: true,
                };
                let written = store.write_tags(vec![write], &actor()).await.unwrap();
                assert_eq!(written, WriteTags::Written);
                self.channels.insert((catalog, pid, *channel), at);
            }
        }
    }

    fn is_usable(&self, (catalog, pid, at): (usize, usize, usize)) -> bool {
        let state = self.there.get(&(catalog, pid, at));
        state.is_some_and(|state| !state.disabled && !state.yanked) && !self.blocked.contains(&(pid, at))
    }

    /// The version that a list shows, and whether it is the latest.
    fn shown(&self, catalog: usize, pid: usize) -> Option<(usize, bool)> {
        let there = (0..VERSIONS.len()).filter(|at| self.there.contains_key(&(catalog, pid, *at)));
        let best = |at: &usize| (!VERSIONS[*at].contains('-'), version(VERSIONS[*at]));
        let latest = there.clone().filter(|at| self.is_usable((catalog, pid, *at))).max_by_key(best);
        latest.map(|at| (at, true)).or(there.max_by_key(best).map(|at| (at, false)))
    }

    /// Everything that a query asks for, in the order of the law, with the documents that were searched.
    fn find(&self, query: &PluginQuery) -> Vec<(Shown, Value)> {
        let mut all = Vec::new();
        for (catalog, name) in CATALOGS.into_iter().enumerate() {
            let Some(scope) = query.scopes.iter().find(|scope| scope.catalog == name) else { continue };
            for (pid, id) in PIDS.into_iter().enumerate() {
                let Some((searched, listed)) = self.shown(catalog, pid) else { continue };
                let channel = query.channel.as_ref().map(|channel| match channel.as_str() {
                    "latest" => Some(searched),
                    name => VERSIONS.iter().position(|version| *version == name).or_else(|| {
                        let mut channels = self.channels.iter();
                        channels.find(|(key, _)| **key == (catalog, pid, name)).map(|(_, at)| *at)
                    }),
                });
                let at = match channel {
                    Some(Some(at)) if self.is_usable((catalog, pid, at)) => at,
                    Some(_) => continue,
                    None if listed || query.with_disabled => searched,
                    None => continue,
                };
                let document: Value = serde_json::from_str(&plugin(pid, searched).metadata).unwrap();
                if is_admitted(scope, id) && is_asked_for(query, &document) {
                    all.push(((id, name, VERSIONS[at], listed && at == searched), document));
                }
            }
        }
        let place = |catalog: &'static str| (catalog == "system", catalog);
        all.sort_by_key(|((id, catalog, ..), _)| (*id, place(catalog)));
        all
    }
}

fn is_asked_for(query: &PluginQuery, document: &Value) -> bool {
    let PluginQuery { words, tag, capability, .. } = query;
    let capabilities: Vec<&str> =
        document["capabilities"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let texts = ["pid", "name", "description", "tag"].iter().filter_map(|field| document[*field].as_str());
    let texts: Vec<String> = texts.chain(capabilities.iter().copied()).map(str::to_lowercase).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
        && tag.as_deref().is_none_or(|tag| document["tag"] == tag)
        && capability.as_deref().is_none_or(|capability| capabilities.contains(&capability))
}

/// What the globs of [`scopes`] mean.
fn is_admitted(scope: &CatalogScope, id: &str) -> bool {
    scope.only.as_ref().is_none_or(|globs| {
        globs.iter().any(|glob| match glob.as_str().split_once('/') {
            Some((_, "**")) => true,
            Some((_, start)) if start.ends_with('*') => id.starts_with(start.trim_end_matches('*')),
            exact => exact.is_some_and(|(_, exact)| exact == id),
        })
    })
}

fn scopes() -> impl Strategy<Value = Vec<CatalogScope>> {
    let only = prop_oneof![
        3 => Just(None),
        1 => subsequence(vec!["com.acme.a*", "org.*", "com.acme.a.b", "**"], 0..3).prop_map(Some),
    ];
    let catalogs = subsequence(CATALOGS.to_vec(), 1..=3).prop_shuffle();
    (catalogs, vec(only, 3)).prop_map(|(catalogs, only)| {
        let scope = |(catalog, only): (&str, Option<Vec<&str>>)| CatalogScope {
            catalog: catalog.to_owned(),
            only: only
                .map(|globs| globs.iter().map(|glob| format!("{catalog}/{glob}").parse().unwrap()).collect()),
        };
        catalogs.into_iter().zip(only).map(scope).collect()
    })
}

fn query() -> impl Strategy<Value = PluginQuery> {
    let words = vec!["mail", "acme", "über", "écrit", "%", "_", "'", "two", "name 1", "tools", "nothing"];
    let after = (select(vec!["com.acme", PIDS[0], PIDS[2], PIDS[3], PIDS[4], "zzz"]), select(&CATALOGS[..]));
    let maybe = |values: &[&'static str]| proptest::option::weighted(0.2, select(values.to_vec()));
    let filters = (
        proptest::option::weighted(0.3, subsequence(words, 1..3)),
        maybe(&["tools", "Games", "tools/x", "games"]),
        maybe(&["mail", "Chat", "Über", "chat"]),
        maybe(&["stable", "beta", "1.0", "latest", "none"]),
    );
    (scopes(), filters, any::<bool>(), proptest::option::of(after), 0..8_usize).prop_map(
        |(scopes, (words, tag, capability, channel), with_disabled, after, limit)| PluginQuery {
            scopes,
            words: words.unwrap_or_default().into_iter().map(str::to_owned).collect(),
            tag: tag.map(str::to_owned),
            capability: capability.map(str::to_owned),
            channel: channel.map(crate::meta_laws::tag),
            with_disabled,
            after: after.map(|(id, catalog)| (id.to_owned(), catalog.to_owned())),
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        8 => Just(What::Publish),
        2 => Just(What::Delete),
        2 => any::<bool>().prop_map(What::Enabled),
        2 => any::<bool>().prop_map(What::Yanked),
        1 => any::<bool>().prop_map(What::Blocked),
        3 => select(&CHANNELS[..]).prop_map(What::Channel),
    ];
    (0..CATALOGS.len(), 0..PIDS.len(), 0..VERSIONS.len(), what).prop_map(|(catalog, pid, at, what)| Step {
        catalog,
        pid,
        at,
        what,
    })
}

fn told(record: &PluginRecord) -> (&str, &str, &str, bool) {
    let PluginRecord { repository, version, is_latest, .. } = record;
    (repository.without_catalog(), repository.catalog(), version.as_str(), *is_latest)
}

/// Most first, and those of the same number by name.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name.to_owned()).or_default() += 1);
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

async fn agree(store: &dyn MetaStore, model: &Model, query: &PluginQuery) {
    let all = model.find(query);
    let facets = Facets {
        tags: counted(all.iter().filter_map(|(_, document)| document["tag"].as_str())),
        capabilities: counted(all.iter().flat_map(|(_, document)| {
            document["capabilities"].as_array().unwrap().iter().filter_map(Value::as_str)
        })),
        catalogs: counted(all.iter().map(|((_, catalog, ..), _)| *catalog)),
    };
    assert_eq!(store.plugin_facets(query).await.unwrap(), facets, "{query:?}");
    let place = |id: &str, catalog: &str| (id.to_owned(), catalog == "system", catalog.to_owned());
    let behind = |(id, catalog, ..): &Shown| {
        query.after.as_ref().is_none_or(|after| place(id, catalog) > place(&after.0, &after.1))
    };
    let expected: Vec<Shown> = all.iter().map(|(shown, _)| *shown).filter(behind).collect();
    let page = store.plugins(query).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(told).collect();
    assert_eq!(listed, expected[..expected.len().min(query.limit)]);
    assert_eq!(page.more, expected.len() > query.limit);
}

/// The lists grow and change from case to case, and each is asked in some ways.
async fn law_17_lists_hold_what_was_asked_for(Fixture { store, .. }: Fixture) {
    let mut model = Model::default();
    let mut seen = (0, 0);
    for_all((vec(step(), 1..8), vec(query(), 1..8)), async |(steps, queries)| {
        for step in &steps {
            model.step(&*store, step).await;
        }
        for query in &queries {
            agree(&*store, &model, query).await;
            seen.0 += model.find(query).len();
            seen.1 += usize::from(model.find(query).len() > query.limit);
        }
    });
    assert!(seen.0 > 500 && seen.1 > 50, "the queries find something: {seen:?}");
}

async fn law_17_a_page_begins_where_the_one_before_it_ended(Fixture { store, .. }: Fixture) {
    let mut ids: Vec<String> = (0..20).map(|number| format!("com.acme.p{number:02}")).collect();
    for id in &ids {
        for catalog in CATALOGS {
            published(&*store, &format!("{catalog}/{id}"), &package(id, "1.0", "text")).await;
        }
    }
    let scopes = CATALOGS.map(CatalogScope::whole).to_vec();
    let mut query = PluginQuery { scopes, limit: 7, ..PluginQuery::default() };
    let mut all: Vec<(String, String)> = Vec::new();
    for round in 0.. {
        let page = store.plugins(&query).await.unwrap();
        assert!(page.items.len() == 7 || !page.more);
        let keys = page.items.iter().map(told).map(|(id, catalog, ..)| (id.to_owned(), catalog.to_owned()));
        all.extend(keys);
        if !page.more {
            break;
        }
        query.after = all.last().cloned();
        // What was shown last goes, something comes before it, and of what follows the last one goes.
        let (id, catalog) = all.last().unwrap();
        store.delete_tag(&repository(&format!("{catalog}/{id}")), &tag("1.0"), &actor()).await.unwrap();
        let early = format!("com.acme.early{round}");
        published(&*store, &format!("a/{early}"), &package(&early, "1.0", "text")).await;
        let late = ids.pop().unwrap();
        store.delete_tag(&repository(&format!("system/{late}")), &tag("1.0"), &actor()).await.unwrap();
    }
    let place = |(id, catalog): &(String, String)| (id.clone(), catalog == "system", catalog.clone());
    assert!(all.is_sorted_by_key(place));
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    let stayed = ids.iter().flat_map(|id| CATALOGS.map(|catalog| (id.clone(), catalog.to_owned())));
    assert!(stayed.into_iter().all(|key| distinct.contains(&key)), "{all:?}");
}

async fn law_17_versions_come_highest_first(Fixture { store, .. }: Fixture) {
    let rising = ["0.9", "1.0-rc.2", "1.0-rc.10", "1.0", "1.0.1", "1.9", "1.10", "2.0-a", "10.0"];
    let name = repository("a/com.acme.a");
    for of in ["1.9", "10.0", "1.0-rc.10", "0.9", "2.0-a", "1.0.1", "1.10", "1.0-rc.2", "1.0"] {
        published(&*store, name.as_str(), &package("com.acme.a", of, "text")).await;
        published(&*store, "b/com.acme.a", &package("com.acme.a", of, "text")).await;
    }
    let page = async |below: Option<&Version>, limit: usize| {
        let page = store.plugin_versions(&name, below, limit).await.unwrap();
        assert!(page.items.iter().all(|record| record.repository == name));
        (page.items.iter().map(|record| record.version.to_string()).collect::<Vec<_>>(), page.more)
    };
    let falling: Vec<&str> = rising.iter().rev().copied().collect();
    assert_eq!(page(None, 9).await, (falling.iter().map(ToString::to_string).collect(), false));
    for limit in 0..10 {
        for (at, below) in falling.iter().enumerate() {
            let rest = &falling[at + 1..];
            let expected = rest.iter().take(limit).map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(page(Some(&version(below)), limit).await, (expected, rest.len() > limit));
        }
    }
    assert_eq!(page(Some(&version("1.0.0")), 1).await.0, ["1.0-rc.10"], "in whatever spelling");
    assert_eq!(page(Some(&version("5.0")), 1).await.0, ["2.0-a"], "it need not exist");
    let nothing = store.plugin_versions(&repository("a/com.acme.none"), None, 9).await.unwrap();
    assert!(nothing.items.is_empty() && !nothing.more);
}

laws! {
    law_17_lists_hold_what_was_asked_for
    law_17_a_page_begins_where_the_one_before_it_ended
    law_17_versions_come_highest_first
}
