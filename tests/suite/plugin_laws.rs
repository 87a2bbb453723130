//! The laws of the store about plugins: their versions and what `latest` names, for every implementation.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quire::access::CatalogScope;
use quire::digest::{Digests, Sha256};
use quire::manifest::{Manifest, ManifestReference, Target};
use quire::meta::{
    BlobRecord, Change, MetaStore, NewManifest, NewPlugin, PLUGIN_ARTIFACT_TYPE, PackageFile, PluginChange,
    PluginQuery, PluginRecord, PutManifest, TagCondition, TagRefusal, TagRule, TagWrite, TagWriteRefusal,
    Which, WriteTags,
};
use quire::package::Method;
use quire::version::Version;
use serde_json::json;
use uuid::Uuid;

use crate::meta_laws::{actor, manifest, pushed, repository, tag};
use crate::stores::{Fixture, laws};

pub const PID: &str = "com.acme.tool";
pub const NAME: &str = "a/com.acme.tool";

pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub fn file(path: &str, text: &str) -> PackageFile {
    let size = text.len() as u64;
    PackageFile {
        path: path.to_owned(),
        data_offset: 100,
        compressed_size: size,
        size,
        method: Method::Stored,
        sha256: Sha256::of(text.as_bytes()),
        executable: false,
    }
}

/// What a package of a plugin holds; another text makes it another package.
pub fn package(pid: &str, of: &str, text: &str) -> NewPlugin {
    described(
        of,
        json!({"pid": pid, "version": of, "name": "Tool", "description": text, "capabilities": []}),
        text,
    )
}

/// A package with this config document, and a file with some text.
pub fn described(of: &str, config: serde_json::Value, text: &str) -> NewPlugin {
    let metadata = config.to_string();
    NewPlugin {
        version: version(of),
        package: Sha256::of(format!("zip of {metadata}").as_bytes()),
        package_size: 1000,
        files: vec![file("main.py", text), file("plugin.json", &metadata)],
        metadata,
    }
}

/// The manifest that publishes a package; another note makes it another manifest.
pub fn publishing(name: &str, plugin: &NewPlugin, note: &str, channels: &[&str]) -> NewManifest {
    let digests = |sha256| Digests { sha256, sha512: None };
    let reference =
        ManifestReference { digest: plugin.package.into(), size: plugin.package_size, target: Target::Blob };
    let mut tags: Vec<_> = channels.iter().map(|channel| tag(channel)).collect();
    tags.push(tag(plugin.version.as_str()));
    NewManifest {
        repository: repository(name),
        digests: digests(Sha256::of(format!("{}{note}", plugin.package).as_bytes())),
        size: 100,
        manifest: Manifest {
            media_type: "application/vnd.oci.image.manifest.v1+json".parse().unwrap(),
            artifact_type: Some(PLUGIN_ARTIFACT_TYPE.into()),
            subject: None,
            annotations: BTreeMap::new(),
            references: vec![reference],
        },
        blobs: vec![BlobRecord { digests: digests(plugin.package), size: plugin.package_size }],
        plugin: Some(Arc::new(plugin.clone())),
        tags,
        condition: TagCondition::Any,
        may_move: true,
        actor: actor(),
    }
}

/// Publishes a package, and returns the digest of its manifest.
pub async fn published(store: &dyn MetaStore, name: &str, plugin: &NewPlugin) -> Sha256 {
    let new = publishing(name, plugin, "", &[]);
    let digest = new.digests.sha256;
    assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
    digest
}

pub async fn found(store: &dyn MetaStore, name: &str, of: &str) -> Option<PluginRecord> {
    store.plugin(&repository(name), &Which::Version(version(of))).await.unwrap()
}

pub async fn there(store: &dyn MetaStore, name: &str, of: &str) -> PluginRecord {
    found(store, name, of).await.expect("a version")
}

pub async fn latest(store: &dyn MetaStore, name: &str) -> Option<Sha256> {
    let found = store.tag(&repository(name), &tag("latest")).await.unwrap();
    found.map(|found| found.digests.sha256)
}

pub async fn change(store: &dyn MetaStore, id: Uuid, change: PluginChange) -> PluginRecord {
    store.change_plugin(id, change, &actor()).await.unwrap().expect("a version")
}

pub fn enabled(enabled: bool) -> PluginChange {
    PluginChange { enabled: Some(enabled), ..PluginChange::default() }
}

pub fn yanked(reason: Option<&str>) -> PluginChange {
    PluginChange { yanked: Some(reason.map(str::to_owned)), ..PluginChange::default() }
}

/// The last number of a catalog's sequence.
pub async fn last(store: &dyn MetaStore, catalog: &str) -> u64 {
    store.events(catalog, 0, 100_000).await.unwrap().last().map_or(0, |event| event.sequence)
}

/// What happened in a catalog behind a number of its sequence, which has no gaps.
pub async fn changes(store: &dyn MetaStore, catalog: &str, after: u64) -> Vec<Change> {
    let events = store.events(catalog, after, 100_000).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (after + 1..=after + events.len() as u64).collect::<Vec<_>>());
    events.into_iter().map(|event| event.change).collect()
}

async fn nothing_is_left_of(store: &dyn MetaStore, record: &PluginRecord) {
    let name = &record.repository;
    let scopes = vec![CatalogScope::whole(name.catalog())];
    let query = PluginQuery { scopes, with_disabled: true, limit: 9, ..PluginQuery::default() };
    assert!(store.plugins(&query).await.unwrap().items.is_empty());
    for which in [Which::Shown, Which::Version(record.version.clone()), Which::Channel(tag("latest"))] {
        assert_eq!(store.plugin(name, &which).await.unwrap(), None, "{which:?}");
    }
    assert_eq!(store.plugin_by_id(record.id).await.unwrap(), None);
    assert_eq!(store.change_plugin(record.id, enabled(false), &actor()).await.unwrap(), None);
    assert!(store.plugin_versions(name, None, 9).await.unwrap().items.is_empty());
    assert_eq!(latest(store, name.as_str()).await, None);
}

async fn law_13_the_row_comes_and_goes_with_manifest_and_tag(Fixture { store, .. }: Fixture) {
    let (name, plugin) = (repository(NAME), package(PID, "1.0", "one"));
    let mut lacking = publishing(NAME, &plugin, "", &[]);
    lacking.manifest.references.push(manifest(NAME, 1, &[9], &[]).manifest.references[0].clone());
    assert!(matches!(store.put_manifest(lacking).await.unwrap(), PutManifest::Missing(_)));
    assert_eq!(found(&*store, NAME, "1.0").await, None);
    assert!(store.package_files(&plugin.package).await.unwrap().is_empty(), "nothing of a refused write");

    let digest = published(&*store, NAME, &plugin).await;
    let record = there(&*store, NAME, "1.0").await;
    let expected = PluginRecord {
        id: record.id,
        repository: name.clone(),
        version: version("1.0"),
        manifest: digest,
        package: plugin.package,
        package_size: 1000,
        metadata: plugin.metadata.clone(),
        enabled: true,
        is_latest: true,
        yanked: None,
        deprecated: None,
        blocked: None,
        created: record.created,
    };
    assert_eq!(record, expected);
    let channel = |name: &str| Which::Channel(tag(name));
    for which in [Which::Shown, Which::Version(version("1.0.0")), channel("latest"), channel("1.0")] {
        assert_eq!(store.plugin(&name, &which).await.unwrap().as_ref(), Some(&record), "{which:?}");
    }
    assert_eq!(store.plugin(&name, &channel("stable")).await.unwrap(), None);
    assert_eq!(store.plugin_by_id(record.id).await.unwrap().as_ref(), Some(&record));
    assert_eq!(store.package_files(&plugin.package).await.unwrap(), plugin.files);
    let main = store.package_file(&plugin.package, "main.py").await.unwrap();
    assert_eq!(main.as_ref(), Some(&plugin.files[0]));
    assert_eq!(store.package_file(&plugin.package, "main").await.unwrap(), None);

    // Gone with the tag or with the manifest, back with the same push.
    for by_manifest in [false, true, false, true] {
        let before = there(&*store, NAME, "1.0").await;
        if by_manifest {
            assert!(store.delete_manifest(&name, &digest.into(), &actor()).await.unwrap());
        } else {
            assert!(store.delete_tag(&name, &tag("1.0"), &actor()).await.unwrap());
        }
        nothing_is_left_of(&*store, &before).await;
        let left = store.manifest(&name, &digest.into()).await.unwrap();
        assert_eq!(left.is_none(), by_manifest, "deleting a tag removes no manifest");
        published(&*store, NAME, &plugin).await;
        let again = there(&*store, NAME, "1.0").await;
        let PluginRecord { id, created, .. } = again;
        assert_eq!(again, PluginRecord { id, created, ..record.clone() });
        assert_eq!(id, before.id, "it is the same version");
        assert_eq!(latest(&*store, NAME).await, Some(digest));
    }
    // A channel comes and goes by itself.
    let stable = publishing(NAME, &plugin, "", &["stable"]);
    assert_eq!(store.put_manifest(stable).await.unwrap(), PutManifest::Stored);
    assert!(store.plugin(&name, &channel("stable")).await.unwrap().is_some());
    assert!(store.delete_tag(&name, &tag("stable"), &actor()).await.unwrap());
    assert_eq!(store.plugin(&name, &channel("stable")).await.unwrap(), None);
    assert!(found(&*store, NAME, "1.0").await.is_some());
}

/// A version comes with its package only, and that was forgotten with it.
async fn law_13_a_tag_alone_brings_no_version_back(Fixture { store, .. }: Fixture) {
    let (name, plugin) = (repository(NAME), package(PID, "1.0", "one"));
    let digest = published(&*store, NAME, &plugin).await;
    let write = TagWrite {
        repository: name.clone(),
        tag: tag("1.0"),
        digest: digest.into(),
        condition: TagCondition::Any,
        may_move: true,
    };
    let refused = WriteTags::Refused(vec![(0, TagWriteRefusal::Tag(TagRefusal::NotThisVersion))]);
    for others in [false, true] {
        if others {
            published(&*store, NAME, &package(PID, "2.0", "two")).await;
        }
        let same = store.write_tags(vec![write.clone()], &actor()).await.unwrap();
        assert_eq!(same, WriteTags::Written, "where it is it may stay");
        assert!(store.delete_tag(&name, &tag("1.0"), &actor()).await.unwrap());
        assert_eq!(store.write_tags(vec![write.clone()], &actor()).await.unwrap(), refused);
        assert_eq!(store.tag(&name, &tag("1.0")).await.unwrap(), None);
        let channel = TagWrite { tag: tag("old"), ..write.clone() };
        assert_eq!(store.write_tags(vec![channel], &actor()).await.unwrap(), WriteTags::Written);
        published(&*store, NAME, &plugin).await;
        there(&*store, NAME, "1.0").await;
    }
}

async fn law_13_a_package_is_kept_as_long_as_one_has_it(Fixture { store, .. }: Fixture) {
    let (other, plugin) = ("b/com.acme.tool", package(PID, "1.0", "one"));
    for name in [NAME, other] {
        published(&*store, name, &plugin).await;
    }
    let ids = [there(&*store, NAME, "1.0").await.id, there(&*store, other, "1.0").await.id];
    assert_ne!(ids[0], ids[1]);
    change(&*store, ids[0], enabled(false)).await;
    assert!(there(&*store, other, "1.0").await.enabled, "each has a state of its own");
    assert!(store.delete_tag(&repository(NAME), &tag("1.0"), &actor()).await.unwrap());
    assert_eq!(store.package_files(&plugin.package).await.unwrap(), plugin.files);
    assert!(store.delete_tag(&repository(other), &tag("1.0"), &actor()).await.unwrap());
    // A block of one of its files would have to find it, as its bytes may still be pulled by their digest.
    assert_eq!(store.package_files(&plugin.package).await.unwrap(), plugin.files);
    published(&*store, NAME, &plugin).await;
    let back = there(&*store, NAME, "1.0").await;
    assert_eq!((back.id, back.enabled), (ids[0], false), "it comes back as it was");
}

/// What may happen to one of the [`VERSIONS`].
#[derive(Debug, Clone)]
enum Happens {
    Push,
    DeleteTag,
    DeleteManifest,
    Enabled(bool),
    Yanked(bool),
    Blocked(bool),
    /// It is pushed to `stable`, or something that is no plugin.
    Stable(bool),
    DeleteLatest,
}

const VERSIONS: [&str; 7] = ["0.9", "1.0", "1.0.1", "1.1-rc.1", "1.1-rc.10", "1.10", "2.0-a"];

async fn happen(store: &dyn MetaStore, name: &str, plugin: &NewPlugin, what: &Happens) {
    let (repository, by) = (repository(name), actor());
    let new = publishing(name, plugin, "", &[]);
    // Nothing has the id 0.
    let id = found(store, name, plugin.version.as_str()).await.map_or(Uuid::nil(), |record| record.id);
    match what {
        Happens::Push => _ = store.put_manifest(new).await.unwrap(),
        Happens::DeleteTag => {
            store.delete_tag(&repository, &tag(plugin.version.as_str()), &by).await.unwrap();
        }
        Happens::DeleteManifest => {
            store.delete_manifest(&repository, &new.digests.sha256.into(), &by).await.unwrap();
        }
        Happens::Enabled(to) => _ = store.change_plugin(id, enabled(*to), &by).await.unwrap(),
        Happens::Yanked(to) => {
            store.change_plugin(id, yanked(to.then_some("broken")), &by).await.unwrap();
        }
        Happens::Blocked(true) => _ = store.block(plugin.package, "bad", &by).await.unwrap(),
        Happens::Blocked(false) => _ = store.unblock(&plugin.package, &by).await.unwrap(),
        Happens::Stable(true) => {
            store.put_manifest(publishing(name, plugin, "", &["stable"])).await.unwrap();
        }
        Happens::Stable(false) => {
            store.put_manifest(manifest(name, 7, &[], &["stable"])).await.unwrap();
        }
        Happens::DeleteLatest => _ = store.delete_tag(&repository, &tag("latest"), &by).await.unwrap(),
    }
}

#[derive(Debug, Clone, Copy)]
struct State {
    enabled: bool,
    yanked: bool,
}

/// What has to be after all of it, by the words of the law.
#[derive(Default)]
struct Model {
    there: BTreeMap<usize, State>,
    /// Versions that were deleted, in the state that they come back in.
    gone: BTreeMap<usize, State>,
    blocked: [bool; VERSIONS.len()],
}

impl Model {
    fn happens(&mut self, at: usize, what: &Happens) {
        match what {
            Happens::Push | Happens::Stable(true) if !self.blocked[at] => {
                let state = self.gone.remove(&at).unwrap_or(State { enabled: true, yanked: false });
                self.there.entry(at).or_insert(state);
            }
            Happens::DeleteTag | Happens::DeleteManifest => {
                self.gone.extend(self.there.remove_entry(&at));
            }
            Happens::Enabled(to) => {
                self.there.entry(at).and_modify(|state| state.enabled = *to);
            }
            Happens::Yanked(to) => {
                self.there.entry(at).and_modify(|state| state.yanked = *to);
            }
            Happens::Blocked(to) => self.blocked[at] = *to,
            Happens::Push | Happens::Stable(_) | Happens::DeleteLatest => {}
        }
    }

    /// The highest of some versions, a pre-release only where there is nothing else.
    fn highest(&self, admitted: impl Fn(usize, &State) -> bool) -> Option<usize> {
        let admitted = self.there.iter().filter(|(at, state)| admitted(**at, state));
        admitted.map(|(at, _)| *at).max_by_key(|at| (!VERSIONS[*at].contains('-'), version(VERSIONS[*at])))
    }

    async fn agrees(&self, store: &dyn MetaStore, name: &str, packages: &[NewPlugin]) {
        let newest = self.highest(|at, state| state.enabled && !state.yanked && !self.blocked[at]);
        let digest = |at: usize| publishing(name, &packages[at], "", &[]).digests.sha256;
        assert_eq!(latest(store, name).await, newest.map(digest));
        let shown = store.plugin(&repository(name), &Which::Shown).await.unwrap();
        let expected = newest.or_else(|| self.highest(|_, _| true)).map(|at| VERSIONS[at]);
        assert_eq!(shown.as_ref().map(|shown| shown.version.as_str()), expected);
        let listed = store.plugin_versions(&repository(name), None, 99).await.unwrap();
        let listed = listed.items.iter().map(|record| {
            let blocked = record.blocked.is_some();
            (record.version.as_str(), record.enabled, record.yanked.is_some(), blocked, record.is_latest)
        });
        let mut expected: Vec<_> = self.there.iter().collect();
        expected.sort_by_key(|(at, _)| std::cmp::Reverse(version(VERSIONS[**at])));
        let expected = expected.into_iter().map(|(at, State { enabled, yanked })| {
            (VERSIONS[*at], *enabled, *yanked, self.blocked[*at], newest == Some(*at))
        });
        assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Push),
        2 => Just(Happens::DeleteTag),
        1 => Just(Happens::DeleteManifest),
        3 => any::<bool>().prop_map(Happens::Enabled),
        3 => any::<bool>().prop_map(Happens::Yanked),
        3 => any::<bool>().prop_map(Happens::Blocked),
        1 => any::<bool>().prop_map(Happens::Stable),
        1 => Just(Happens::DeleteLatest),
    ]
}

/// Runs a test on many values, from inside of a runtime with several threads.
pub fn for_all<S: Strategy>(strategy: S, mut test: impl AsyncFnMut(S::Value)) {
    let config = Config { cases: 100, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let handle = tokio::runtime::Handle::current();
    let test = std::cell::RefCell::new(&mut test);
    let run = || {
        TestRunner::new(config).run(&strategy, |value| {
            handle.block_on((test.borrow_mut())(value));
            Ok(())
        })
    };
    tokio::task::block_in_place(run).unwrap_or_else(|error| panic!("{error}"));
}

async fn law_14_latest_is_the_highest_that_may_be(Fixture { store, .. }: Fixture) {
    let mut case = 0;
    let steps = proptest::collection::vec((0..VERSIONS.len(), happens()), 1..25);
    for_all(steps, async |steps| {
        case += 1;
        let pid = format!("com.acme.case{case}");
        let name = format!("a/{pid}");
        let packages = VERSIONS.map(|of| package(&pid, of, "text"));
        let mut model = Model::default();
        let before = last(&*store, "a").await;
        for (at, what) in &steps {
            happen(&*store, &name, &packages[*at], what).await;
            model.happens(*at, what);
            model.agrees(&*store, &name, &packages).await;
        }
        // The events tell the way of the tag without a jump.
        let mut points_to = None;
        for change in changes(&*store, "a", before).await {
            match change {
                Change::TagSet { tag, digest, previous } if tag.as_str() == "latest" => {
                    assert_eq!(previous, points_to);
                    assert_ne!(Some(digest), points_to, "a move");
                    points_to = Some(digest);
                }
                Change::TagDeleted { tag, digest } if tag.as_str() == "latest" => {
                    assert_eq!(Some(digest), points_to);
                    points_to = None;
                }
                _ => {}
            }
        }
        assert_eq!(latest(&*store, &name).await, points_to);
    });
}

async fn law_14_nobody_else_writes_latest(Fixture { store, .. }: Fixture) {
    // What stood there before there was a plugin gives way.
    pushed(&*store, NAME, 1, &["latest", "beta"]).await;
    let one = published(&*store, NAME, &package(PID, "1.0", "one")).await;
    assert_eq!(latest(&*store, NAME).await, Some(one));
    let refused = PutManifest::Tag { tag: tag("latest"), refusal: TagRefusal::Follows };
    assert_eq!(store.put_manifest(manifest(NAME, 2, &[], &["latest"])).await.unwrap(), refused);
    let write = TagWrite {
        repository: repository(NAME),
        tag: tag("latest"),
        digest: one.into(),
        condition: TagCondition::Any,
        may_move: true,
    };
    let follows = WriteTags::Refused(vec![(0, TagWriteRefusal::Tag(TagRefusal::Follows))]);
    assert_eq!(store.write_tags(vec![write], &actor()).await.unwrap(), follows);
    // A push to it is one of the version, which may be lower; its condition counts.
    let two = published(&*store, NAME, &package(PID, "2.0", "two")).await;
    let lower = publishing(NAME, &package(PID, "1.1", "lower"), "", &["latest"]);
    let absent = NewManifest { condition: TagCondition::Absent, ..lower.clone() };
    let moved = TagRefusal::Moved { now: Some(two.into()) };
    let refused = PutManifest::Tag { tag: tag("latest"), refusal: moved };
    assert_eq!(store.put_manifest(absent).await.unwrap(), refused);
    assert_eq!(found(&*store, NAME, "1.1").await, None);
    assert_eq!(store.put_manifest(lower).await.unwrap(), PutManifest::Stored);
    assert!(!there(&*store, NAME, "1.1").await.is_latest);
    assert_eq!(latest(&*store, NAME).await, Some(two));
}

async fn law_15_a_version_has_one_package_and_one_spelling(Fixture { store, .. }: Fixture) {
    let (name, plugin) = (repository(NAME), package(PID, "1.0", "one"));
    let digest = published(&*store, NAME, &plugin).await;
    let events = last(&*store, "a").await;
    let again = store.put_manifest(publishing(NAME, &plugin, "", &["latest"])).await.unwrap();
    assert_eq!(again, PutManifest::Present);
    assert_eq!(last(&*store, "a").await, events, "nothing happened");

    let taken =
        PutManifest::VersionTaken { version: version("1.0"), package: plugin.package, manifest: digest };
    let others = [
        publishing(NAME, &package(PID, "1.0", "other"), "", &["stable"]),
        publishing(NAME, &plugin, "another manifest", &[]),
        publishing(NAME, &package(PID, "1.0.0", "one"), "", &[]),
    ];
    for other in &others {
        assert_eq!(store.check_manifest(other).await.unwrap(), taken);
        assert_eq!(store.put_manifest(other.clone()).await.unwrap(), taken);
        assert_eq!(store.manifest(&name, &other.digests.sha256.into()).await.unwrap(), None);
    }
    assert_eq!(store.tag(&name, &tag("stable")).await.unwrap(), None);
    for by_manifest in [false, true] {
        if by_manifest {
            assert!(store.delete_manifest(&name, &digest.into(), &actor()).await.unwrap());
        } else {
            assert!(store.delete_tag(&name, &tag("1.0"), &actor()).await.unwrap());
        }
        let kept = TagRefusal::Kept { rule: TagRule::Version, now: digest.into() };
        let kept = PutManifest::Tag { tag: tag("1.0"), refusal: kept };
        for other in &others {
            assert_eq!(store.check_manifest(other).await.unwrap(), kept);
            assert_eq!(store.put_manifest(other.clone()).await.unwrap(), kept);
        }
        published(&*store, NAME, &plugin).await;
    }
    let longer = package(PID, "2.0.0-rc.1", "longer");
    published(&*store, NAME, &longer).await;
    let shorter = publishing(NAME, &package(PID, "2.0-rc.1", "longer"), "", &[]);
    assert!(matches!(store.put_manifest(shorter).await.unwrap(), PutManifest::VersionTaken { .. }));
    assert_eq!(there(&*store, NAME, "2.0-rc.1").await.version.as_str(), "2.0.0-rc.1");

    // A tag that is a version names that version and nothing else.
    let plain = manifest(NAME, 1, &[], &["3.0"]);
    let refused = PutManifest::Tag { tag: tag("3.0"), refusal: TagRefusal::NotThisVersion };
    assert_eq!(store.put_manifest(plain).await.unwrap(), refused);
    let mut both = publishing(NAME, &package(PID, "3.1", "more"), "", &[]);
    both.tags.push(tag("3.0"));
    assert_eq!(store.put_manifest(both).await.unwrap(), refused);
    assert_eq!(found(&*store, NAME, "3.1").await, None);
}

/// A condition is about the tags that were asked for, and a push to a channel asks for no version.
async fn law_15_the_version_tag_is_made_whatever_the_condition(Fixture { store, .. }: Fixture) {
    let channel = |of: &str, condition: TagCondition| {
        let new = publishing(NAME, &package(PID, of, of), "", &[]);
        NewManifest { condition, tags: vec![tag("stable")], ..new }
    };
    let first = channel("1.0", TagCondition::Absent);
    let moves = TagCondition::PointsTo(vec![first.digests.sha256.into()]);
    assert_eq!(store.put_manifest(first.clone()).await.unwrap(), PutManifest::Stored);
    let second = channel("1.1", moves.clone());
    assert_eq!(store.put_manifest(second.clone()).await.unwrap(), PutManifest::Stored);
    for (of, new) in [("1.0", &first), ("1.1", &second)] {
        let tagged = store.tag(&repository(NAME), &tag(of)).await.unwrap().expect("a tag");
        assert_eq!(tagged.digests, new.digests);
        assert_eq!(there(&*store, NAME, of).await.manifest, new.digests.sha256);
    }
    let now = Some(second.digests.sha256.into());
    let moved = |name: &str| PutManifest::Tag { tag: tag(name), refusal: TagRefusal::Moved { now } };
    assert_eq!(store.put_manifest(channel("1.2", moves)).await.unwrap(), moved("stable"));
    assert_eq!(found(&*store, NAME, "1.2").await, None);
    let asked = NewManifest { tags: vec![tag("1.1")], ..channel("1.1", TagCondition::Absent) };
    assert_eq!(store.put_manifest(asked).await.unwrap(), moved("1.1"), "asked for, it is like any tag");
}

async fn law_15_one_of_sixteen_packages_wins(Fixture { store, .. }: Fixture) {
    for round in 0..5 {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            let of = if writer % 2 == 0 { format!("1.{round}") } else { format!("1.{round}.0") };
            let new = publishing(NAME, &package(PID, &of, &writer.to_string()), "", &[]);
            let store = Arc::clone(&store);
            writers.spawn(async move { (new.clone(), store.put_manifest(new).await.unwrap()) });
        }
        let outcomes = writers.join_all().await;
        let stored = |(_, outcome): &&(NewManifest, PutManifest)| *outcome == PutManifest::Stored;
        let winners: Vec<&NewManifest> = outcomes.iter().filter(stored).map(|(new, _)| new).collect();
        let [winner] = winners[..] else { panic!("{outcomes:?}") };
        let plugin = winner.plugin.as_ref().unwrap();
        let record = there(&*store, NAME, plugin.version.as_str()).await;
        assert_eq!((record.package, record.manifest), (plugin.package, winner.digests.sha256));
        assert_eq!(record.version.as_str(), plugin.version.as_str());
        let (package, manifest) = (record.package, record.manifest);
        let taken = PutManifest::VersionTaken { version: record.version, package, manifest };
        assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == taken).count(), 15, "{outcomes:?}");
    }
    let same = publishing(NAME, &package(PID, "2.0", "same"), "", &[]);
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, same) = (Arc::clone(&store), same.clone());
        writers.spawn(async move { store.put_manifest(same).await.unwrap() });
    }
    let outcomes = writers.join_all().await;
    let count = |expected: PutManifest| outcomes.iter().filter(|outcome| **outcome == expected).count();
    assert_eq!((count(PutManifest::Stored), count(PutManifest::Present)), (1, 15));
}

laws! {
    law_13_the_row_comes_and_goes_with_manifest_and_tag
    law_13_a_tag_alone_brings_no_version_back
    law_13_a_package_is_kept_as_long_as_one_has_it
    law_14_latest_is_the_highest_that_may_be
    law_14_nobody_else_writes_latest
    law_15_a_version_has_one_package_and_one_spelling
    law_15_the_version_tag_is_made_whatever_the_condition
    law_15_one_of_sixteen_packages_wins
}
