//! The laws of the store about what is decided of plugins: states of versions, blocks, what organisations enable.

use std::sync::Arc;

use quire::access::Actor;
use quire::digest::{Digest, Digests, Sha256};
use quire::meta::{
    AuditRecord, BLOCKED, Block, Change, Choice, DeleteOrganisation, Deprecation, ENABLEMENTS, Enabled,
    MetaStore, NewEnablement, NewPlugin, PluginChange, PluginRecord, PutManifest, SetBlock, SetEnablement,
};

use crate::meta_laws::{actor, manifest, repository, tag};
use crate::plugin_laws::{
    NAME, PID, change, changes, enabled, file, found, last, latest, package, published, publishing, there,
    version, yanked,
};
use crate::stores::{self, Fixture, laws};

const OTHER: &str = "b/com.acme.tool";

/// The lines of the audit log behind an id, but for those of others: action, catalog and object.
async fn told(store: &dyn MetaStore, after: u64) -> Vec<(String, String, String)> {
    let own = lines(store, after).await.into_iter().map(|line| line.entry);
    let own = own.filter(|entry| entry.actor == "tester");
    own.map(|entry| (entry.action, entry.catalog.unwrap_or_default(), entry.object)).collect()
}

async fn lines(store: &dyn MetaStore, after: u64) -> Vec<AuditRecord> {
    let mut all = store.audit(None, after, 10_000).await.unwrap();
    while let Some(last) = all.last().map(|line| line.id) {
        let more = store.audit(None, last, 10_000).await.unwrap();
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    all
}

fn line(action: &str, catalog: &str, object: impl ToString) -> (String, String, String) {
    (action.to_owned(), catalog.to_owned(), object.to_string())
}

async fn last_line(store: &dyn MetaStore) -> u64 {
    lines(store, 0).await.last().map_or(0, |line| line.id)
}

async fn law_12_every_change_of_a_version_is_told_once(Fixture { store, .. }: Fixture) {
    let one = published(&*store, NAME, &package(PID, "1.0", "one")).await;
    let two = published(&*store, NAME, &package(PID, "2.0", "two")).await;
    let (first, second) = (there(&*store, NAME, "1.0").await.id, there(&*store, NAME, "2.0").await.id);
    let deprecated = |message: &str, successor: Option<&str>| PluginChange {
        deprecated: Some(Some(Deprecation {
            message: message.to_owned(),
            successor: successor.map(str::to_owned),
        })),
        ..PluginChange::default()
    };
    let state = |of: &str, digest: Sha256| Change::VersionChanged { tag: tag(of), digest };
    let moved =
        |from: Option<Sha256>, to: Sha256| Change::TagSet { tag: tag("latest"), digest: to, previous: from };
    let gone = |from: Sha256| Change::TagDeleted { tag: tag("latest"), digest: from };
    let undo = PluginChange { deprecated: Some(None), ..PluginChange::default() };
    for (id, asked, expected) in [
        (second, PluginChange::default(), vec![]),
        (second, enabled(true), vec![]),
        (second, enabled(false), vec![state("2.0", two), moved(Some(two), one)]),
        (second, enabled(false), vec![]),
        (second, yanked(Some("broken")), vec![state("2.0", two)]),
        (second, yanked(Some("broken")), vec![]),
        (second, yanked(Some("very broken")), vec![state("2.0", two)]),
        (first, deprecated("use 2", None), vec![state("1.0", one)]),
        (first, deprecated("use 2", None), vec![]),
        (first, deprecated("use 2", Some("com.acme.new")), vec![state("1.0", one)]),
        (first, yanked(Some("")), vec![state("1.0", one), gone(one)]),
        (second, yanked(None), vec![state("2.0", two)]),
        (second, enabled(true), vec![state("2.0", two), moved(None, two)]),
        (first, undo, vec![state("1.0", one)]),
        (first, PluginChange { enabled: Some(true), ..yanked(None) }, vec![state("1.0", one)]),
    ] {
        let (before, line_before) = (last(&*store, "a").await, last_line(&*store).await);
        let changed = change(&*store, id, asked.clone()).await;
        assert_eq!(store.plugin_by_id(id).await.unwrap(), Some(changed.clone()));
        assert_eq!(asked.enabled.unwrap_or(changed.enabled), changed.enabled);
        assert_eq!(asked.yanked.clone().unwrap_or(changed.yanked.clone()), changed.yanked);
        assert_eq!(asked.deprecated.clone().unwrap_or(changed.deprecated.clone()), changed.deprecated);
        assert_eq!(changes(&*store, "a", before).await, expected, "{asked:?}");
        let lines = expected.iter().map(|change| match change {
            Change::VersionChanged { tag, digest } => {
                line("version.change", "a", format!("{NAME}:{tag}@{digest}"))
            }
            Change::TagDeleted { tag, digest } => line("tag.delete", "a", format!("{NAME}:{tag}@{digest}")),
            Change::TagSet { tag, digest, .. } => line("tag.set", "a", format!("{NAME}:{tag}@{digest}")),
            other => panic!("{other:?}"),
        });
        assert_eq!(told(&*store, line_before).await, lines.collect::<Vec<_>>());
    }
    let history = store.tag_history(&repository(NAME), &tag("2.0"), None, 99).await.unwrap();
    let history: Vec<Change> = history.items.into_iter().map(|event| event.change).collect();
    assert_eq!(history, [Change::TagSet { tag: tag("2.0"), digest: two, previous: None }]);
    assert_eq!(store.change_plugin(uuid::Uuid::now_v7(), enabled(false), &actor()).await.unwrap(), None);
}

/// A pull by channel finds no yanked version; who names the version does.
async fn a_channel_does_not_lead_to_what_is_yanked(Fixture { store, .. }: Fixture) {
    let plugin = package(PID, "1.0", "one");
    let stable = publishing(NAME, &plugin, "", &["stable"]);
    assert_eq!(store.put_manifest(stable).await.unwrap(), PutManifest::Stored);
    let id = there(&*store, NAME, "1.0").await.id;
    for reason in [Some("broken"), None] {
        change(&*store, id, yanked(reason)).await;
        let found = async |name: &str| store.tag(&repository(NAME), &tag(name)).await.unwrap().is_some();
        assert_eq!((found("stable").await, found("1.0").await), (reason.is_none(), true));
    }
}

fn blocked_by(outcome: SetBlock) -> (Block, bool) {
    match outcome {
        SetBlock::Set { block, made } => (block, made),
        SetBlock::TooMany => panic!("too many"),
    }
}

async fn block(store: &dyn MetaStore, digest: Sha256, reason: &str) -> (Block, bool) {
    blocked_by(store.block(digest, reason, &actor()).await.unwrap())
}

async fn reasons(store: &dyn MetaStore) -> Vec<Option<String>> {
    let mut reasons = Vec::new();
    for name in [NAME, OTHER] {
        reasons.push(found(store, name, "1.0").await.and_then(|record| record.blocked));
    }
    reasons
}

/// A package in two catalogs, under two manifests, above an older one that stays.
async fn two_catalogs(store: &dyn MetaStore) -> (NewPlugin, [Sha256; 2]) {
    let plugin = package(PID, "1.0", "evil");
    let mut manifests = Vec::new();
    for name in [NAME, OTHER] {
        published(store, name, &package(PID, "0.9", "good")).await;
        let new = publishing(name, &plugin, name, &[]);
        manifests.push(new.digests.sha256);
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
    }
    (plugin, manifests.try_into().unwrap())
}

async fn law_16_what_is_blocked_falls_with_all_that_has_it(Fixture { store, .. }: Fixture) {
    let (plugin, manifests) = two_catalogs(&*store).await;
    let older = publishing(NAME, &package(PID, "0.9", "good"), "", &[]).digests.sha256;
    let member = plugin.files[0].sha256;
    for (digest, falls) in
        [(plugin.package, 3), (manifests[0], 3), (manifests[1], 3), (member, 4), (Sha256::of(b"nothing"), 1)]
    {
        let hits = falls > 1;
        let before = [last(&*store, "a").await, last(&*store, "b").await];
        let (version_before, line_before) = (store.access_version().await.unwrap(), last_line(&*store).await);
        let (set, made) = block(&*store, digest, "evil").await;
        assert_eq!(
            (set.digest, &*set.reason, &*set.actor, set.digests, made),
            (digest, "evil", "tester", falls, true)
        );
        assert_eq!(store.blocks(None, 9).await.unwrap().items, std::slice::from_ref(&set));
        let reason = hits.then(|| "evil".to_owned());
        assert_eq!(reasons(&*store).await, [reason.clone(), reason]);
        let mut refused: Vec<Sha256> =
            store.blocked_digests().await.unwrap().into_iter().map(|(digest, _)| digest).collect();
        refused.sort();
        let mut expected = vec![digest];
        if hits {
            expected.extend([plugin.package, manifests[0], manifests[1]]);
        }
        expected.sort();
        expected.dedup();
        assert_eq!(refused, expected);
        assert!(store.access_version().await.unwrap() > version_before, "every node has to know");
        let set_line = line("block.set", "system", Digest::from(digest));
        assert_eq!(told(&*store, line_before).await.last(), Some(&set_line));

        for (place, catalog, name) in [(0, "a", NAME), (1, "b", OTHER)] {
            let now = if hits { older } else { manifests[place] };
            assert_eq!(latest(&*store, name).await, Some(now));
            assert_eq!(there(&*store, name, "1.0").await.is_latest, !hits);
            let state = Change::VersionChanged { tag: tag("1.0"), digest: manifests[place] };
            let moved =
                |previous, digest| Change::TagSet { tag: tag("latest"), digest, previous: Some(previous) };
            let expected = if hits { vec![state.clone(), moved(manifests[place], older)] } else { vec![] };
            assert_eq!(changes(&*store, catalog, before[place]).await, expected);
        }
        // The same again changes nothing; another reason changes nothing else.
        let after = [last(&*store, "a").await, last(&*store, "b").await];
        assert_eq!(block(&*store, digest, "evil").await, (set.clone(), false));
        assert_eq!([last(&*store, "a").await, last(&*store, "b").await], after);
        let (renamed, made) = block(&*store, digest, "very evil").await;
        assert_eq!((renamed, made), (Block { reason: "very evil".into(), ..set }, false));
        let reason = hits.then(|| "very evil".to_owned());
        assert_eq!(reasons(&*store).await, [reason.clone(), reason]);

        let freed = [last(&*store, "a").await, last(&*store, "b").await];
        assert!(store.unblock(&digest, &actor()).await.unwrap());
        assert_eq!(reasons(&*store).await, [None, None]);
        for (place, catalog, name) in [(0, "a", NAME), (1, "b", OTHER)] {
            assert_eq!(latest(&*store, name).await, Some(manifests[place]));
            assert_eq!(changes(&*store, catalog, freed[place]).await.len(), if hits { 2 } else { 0 });
        }
        assert!(store.blocked_digests().await.unwrap().is_empty());
        let told_before = last_line(&*store).await;
        assert!(!store.unblock(&digest, &actor()).await.unwrap());
        assert!(told(&*store, told_before).await.is_empty());
    }
}

async fn law_16_a_version_is_free_when_its_last_block_goes(Fixture { store, .. }: Fixture) {
    let (plugin, manifests) = two_catalogs(&*store).await;
    let causes = [plugin.files[0].sha256, plugin.package, manifests[1]];
    for (at, cause) in causes.iter().enumerate() {
        block(&*store, *cause, &format!("cause {at}")).await;
    }
    for (at, cause) in causes.iter().enumerate() {
        for reason in reasons(&*store).await {
            let reason = reason.expect("still blocked");
            assert!((at..3).any(|left| reason == format!("cause {left}")), "{reason}: after {at}");
        }
        assert!(!there(&*store, NAME, "1.0").await.is_latest);
        assert!(store.unblock(cause, &actor()).await.unwrap());
    }
    assert_eq!(reasons(&*store).await, [None, None]);
    assert_eq!(latest(&*store, OTHER).await, Some(manifests[1]));

    // Lists of blocks are in the order of the digests.
    let mut sorted = causes.to_vec();
    sorted.sort();
    for cause in causes {
        block(&*store, cause, "again").await;
    }
    let digests = async |after: Option<Sha256>, limit: usize| {
        let page = store.blocks(after, limit).await.unwrap();
        (page.items.iter().map(|block| block.digest).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(digests(None, 3).await, (sorted.clone(), false));
    assert_eq!(digests(None, 2).await, (sorted[..2].to_vec(), true));
    assert_eq!(digests(Some(sorted[1]), 2).await, (sorted[2..].to_vec(), false));
    assert_eq!(digests(Some(sorted[2]), 2).await, (vec![], false));
}

async fn law_16_nothing_blocked_is_published(Fixture { store, .. }: Fixture) {
    let evil = package(PID, "1.0", "evil");
    let mut around = package(PID, "1.1", "around");
    around.files.push(file("lib/evil.py", "evil"));
    let member = evil.files[0].sha256;
    let plain_with = |digest: Sha256| {
        let mut new = manifest("c/x", 1, &[], &["v1"]);
        new.manifest.references = publishing(NAME, &evil, "", &[]).manifest.references;
        new.manifest.references[0].digest = digest.into();
        // It comes with the manifest, as an upload brings it.
        new.blobs = publishing(NAME, &evil, "", &[]).blobs;
        new.blobs[0].digests = Digests { sha256: digest, sha512: None };
        new
    };
    // As somebody writes it who names the layer by another algorithm.
    let mut unnamed = publishing(NAME, &evil, "", &[]);
    unnamed.manifest.references[0].digest = Digest::Sha512([7; 64]);
    unnamed.blobs[0].digests.sha512 = Some([7; 64]);
    let own = publishing(NAME, &evil, "", &[]).digests.sha256;
    for (cause, refused) in [
        (
            member,
            vec![publishing(NAME, &evil, "", &[]), publishing(NAME, &around, "", &[]), plain_with(member)],
        ),
        (evil.package, vec![publishing(OTHER, &evil, "n", &[]), plain_with(evil.package), unnamed]),
        (own, vec![publishing(NAME, &evil, "", &[])]),
    ] {
        block(&*store, cause, "evil").await;
        let expected = PutManifest::Blocked { digest: cause, reason: "evil".into() };
        for new in refused {
            assert_eq!(store.check_manifest(&new).await.unwrap(), expected, "{new:?}");
            assert_eq!(store.put_manifest(new.clone()).await.unwrap(), expected);
            assert!(store.tags(&new.repository, None, 9).await.unwrap().is_none(), "nothing is there");
        }
        assert!(store.unblock(&cause, &actor()).await.unwrap());
    }
    // What was there and was deleted does not come back, though its package is forgotten.
    published(&*store, NAME, &evil).await;
    block(&*store, member, "evil").await;
    assert!(store.delete_manifest(&repository(NAME), &own.into(), &actor()).await.unwrap());
    let digest = own;
    let refused = PutManifest::Blocked { digest, reason: "evil".into() };
    assert_eq!(store.put_manifest(publishing(NAME, &evil, "", &[])).await.unwrap(), refused);
    assert!(store.unblock(&member, &actor()).await.unwrap());
    published(&*store, NAME, &evil).await;
}

fn enabling(plugin: &str, choice: Choice) -> NewEnablement {
    NewEnablement { plugin: repository(plugin), choice, expected: None }
}

fn exactly(text: &str) -> Choice {
    Choice::Version(version(text))
}

fn following(channel: &str) -> Choice {
    Choice::Channel(tag(channel))
}

async fn set(store: &dyn MetaStore, new: NewEnablement) -> SetEnablement {
    store.set_enablement("a", new, &actor()).await.unwrap()
}

async fn is_set(store: &dyn MetaStore, new: NewEnablement) -> Enabled {
    match set(store, new).await {
        SetEnablement::Set(enabled) => *enabled,
        other => panic!("{other:?}"),
    }
}

async fn an_enablement_says_what_was_accepted_and_what_is_there(Fixture { store, .. }: Fixture) {
    let system = "system/com.acme.tool";
    let (one, two) = (package(PID, "1.0", "one"), package(PID, "2.0", "two"));
    for name in [NAME, system, OTHER] {
        published(&*store, name, &one).await;
    }
    let line_before = last_line(&*store).await;
    let made = is_set(&*store, enabling(NAME, following("latest"))).await;
    let record = there(&*store, NAME, "1.0").await;
    assert_eq!(made.now.as_ref(), Some(&record));
    let chosen = made.enablement.clone();
    assert_eq!((&chosen.plugin, &chosen.choice), (&repository(NAME), &following("latest")));
    assert_eq!((chosen.accepted.as_str(), chosen.accepted_package), ("1.0", one.package));
    assert_eq!((&chosen.accepted_metadata, &*chosen.actor), (&one.metadata, "tester"));
    let other = Actor { subject: "other".into(), ..actor() };
    let again = store.set_enablement("a", enabling(NAME, following("latest")), &other).await.unwrap();
    assert_eq!(again, SetEnablement::Set(Box::new(made.clone())), "the same says nothing new");
    // The system's of the same id stands beside it, behind it.
    let exact = is_set(&*store, enabling(system, exactly("1.0.0"))).await;
    assert_eq!(exact.enablement.accepted.as_str(), "1.0");
    let expected = [
        line("enablement.set", "a", format!("{NAME}:latest")),
        line("enablement.set", "a", format!("{system}:1.0.0")),
    ];
    assert_eq!(told(&*store, line_before).await, expected);
    let listed = async || store.enablements("a").await.unwrap();
    assert_eq!(listed().await, [made, exact.clone()]);
    assert!(store.enablements("b").await.unwrap().is_empty());

    // A channel that moved leads elsewhere, and what was accepted stays until somebody accepts it.
    published(&*store, NAME, &two).await;
    let now = there(&*store, NAME, "2.0").await;
    let moved = Enabled { enablement: chosen.clone(), now: Some(now.clone()) };
    assert_eq!(listed().await, [moved, exact.clone()]);
    let expecting =
        |package: Sha256| NewEnablement { expected: Some(package), ..enabling(NAME, following("latest")) };
    let differs = set(&*store, expecting(one.package)).await;
    assert_eq!(differs, SetEnablement::Differs(Box::new(now.clone())));
    assert_eq!(listed().await[0].enablement, chosen);
    let accepted = is_set(&*store, expecting(two.package)).await.enablement;
    assert_eq!((accepted.accepted.as_str(), &accepted.accepted_metadata), ("2.0", &two.metadata));
    let pinned = is_set(&*store, enabling(NAME, exactly("1.0"))).await;
    let record = PluginRecord { is_latest: false, ..record };
    assert_eq!((&pinned.enablement.choice, pinned.now.as_ref()), (&exactly("1.0"), Some(&record)));
    assert_eq!(listed().await, [pinned.clone(), exact.clone()], "one choice each");

    for unknown in [
        enabling(NAME, exactly("3.0")),
        enabling(NAME, following("stable")),
        enabling("a/com.acme.none", following("latest")),
        enabling(OTHER, following("latest")),
    ] {
        assert_eq!(set(&*store, unknown).await, SetEnablement::Unknown);
    }
    let nowhere = store.set_enablement("nowhere", enabling(system, exactly("1.0")), &actor()).await.unwrap();
    assert_eq!(nowhere, SetEnablement::Unknown);
    // What can't be loaded is not begun with, and stays in the list of who has it.
    for unusable in [enabled(false), yanked(Some("broken"))] {
        let record = change(&*store, record.id, unusable).await;
        let refused = set(&*store, enabling(NAME, exactly("1.0"))).await;
        assert_eq!(refused, SetEnablement::Unusable(Box::new(record.clone())));
        assert_eq!(listed().await[0].now, Some(record));
        change(
            &*store,
            pinned.now.as_ref().unwrap().id,
            PluginChange { enabled: Some(true), ..yanked(None) },
        )
        .await;
    }
    block(&*store, one.package, "evil").await;
    assert!(matches!(set(&*store, enabling(system, following("1.0"))).await, SetEnablement::Unusable(_)));
    assert!(listed().await.iter().all(|enabled| enabled.now.as_ref().is_some_and(|now| !now.is_usable())));
    store.delete_tag(&repository(NAME), &tag("1.0"), &actor()).await.unwrap();
    assert_eq!(listed().await[0], Enabled { now: None, ..pinned });

    let before = last_line(&*store).await;
    assert!(store.delete_enablement("a", &repository(NAME), &actor()).await.unwrap());
    assert!(!store.delete_enablement("a", &repository(NAME), &actor()).await.unwrap());
    assert!(!store.delete_enablement("b", &repository(system), &actor()).await.unwrap());
    assert_eq!(told(&*store, before).await, [line("enablement.delete", "a", NAME)]);
    assert_eq!(listed().await.len(), 1);
}

async fn enablements_go_with_their_organisation(Fixture { store, .. }: Fixture) {
    let system = "system/com.acme.tool";
    published(&*store, system, &package(PID, "1.0", "one")).await;
    for organisation in ["a", "b"] {
        let new = enabling(system, following("latest"));
        store.set_enablement(organisation, new, &actor()).await.unwrap();
    }
    assert_eq!(store.delete_organisation("a", &actor()).await.unwrap(), DeleteOrganisation::Deleted);
    assert!(store.enablements("a").await.unwrap().is_empty());
    assert_eq!(store.enablements("b").await.unwrap().len(), 1);
    let late = store.set_enablement("a", enabling(system, following("latest")), &actor()).await.unwrap();
    assert_eq!(late, SetEnablement::Unknown);
}

async fn an_organisation_enables_so_many_and_no_more(Fixture { store, .. }: Fixture) {
    // Together, so that they share commits.
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..=ENABLEMENTS {
        let store = Arc::clone(&store);
        writes.spawn(async move {
            let name = format!("system/com.acme.p{number}");
            published(&*store, &name, &package(&format!("com.acme.p{number}"), "1.0", "one")).await;
            set(&*store, enabling(&name, following("latest"))).await
        });
    }
    let outcomes = writes.join_all().await;
    let full = outcomes.iter().filter(|outcome| **outcome == SetEnablement::Full).count();
    assert_eq!((full, outcomes.len()), (1, ENABLEMENTS + 1));
    let listed = store.enablements("a").await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|enabled| enabled.enablement.plugin.without_catalog()).collect();
    assert_eq!(ids.len(), ENABLEMENTS);
    assert!(ids.is_sorted() && listed.iter().all(|enabled| enabled.now.is_some()));
    // What is there may be chosen anew, and what goes makes room.
    let known = listed[0].enablement.plugin.clone();
    is_set(&*store, enabling(known.as_str(), exactly("1.0"))).await;
    let all = (0..=ENABLEMENTS).map(|number| format!("system/com.acme.p{number}"));
    let left_out = all.into_iter().find(|name| listed.iter().all(|it| it.enablement.plugin.as_str() != name));
    let left_out = enabling(&left_out.expect("one that was refused"), following("latest"));
    assert_eq!(set(&*store, left_out.clone()).await, SetEnablement::Full);
    assert!(store.delete_enablement("a", &known, &actor()).await.unwrap());
    is_set(&*store, left_out).await;
}

/// Two plugins that fall and rise together are never seen apart.
async fn a_list_of_enablements_is_of_one_moment(Fixture { store, .. }: Fixture) {
    let names = ["a/com.acme.one", "a/com.acme.two"];
    for name in names {
        let plugin = package(repository(name).without_catalog(), "1.0", "shared");
        published(&*store, name, &plugin).await;
        is_set(&*store, enabling(name, following("1.0"))).await;
    }
    let shared = file("main.py", "shared").sha256;
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for _ in 0..100 {
            block(&*writing, shared, "evil").await;
            assert!(writing.unblock(&shared, &actor()).await.unwrap());
        }
    });
    let mut seen = [0, 0];
    while !writer.is_finished() {
        let listed = store.enablements("a").await.unwrap();
        let blocked = |at: usize| listed[at].now.as_ref().is_some_and(|now| now.blocked.is_some());
        assert_eq!(blocked(0), blocked(1), "after {seen:?}");
        seen[usize::from(blocked(0))] += 1;
    }
    writer.await.unwrap();
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

laws! {
    law_12_every_change_of_a_version_is_told_once
    a_channel_does_not_lead_to_what_is_yanked
    law_16_what_is_blocked_falls_with_all_that_has_it
    law_16_a_version_is_free_when_its_last_block_goes
    law_16_nothing_blocked_is_published
    an_enablement_says_what_was_accepted_and_what_is_there
    enablements_go_with_their_organisation
    an_organisation_enables_so_many_and_no_more
    a_list_of_enablements_is_of_one_moment
}

/// Every node keeps all blocks in memory, so there is an end to them.
#[tokio::test]
async fn sqlite_blocks_so_many_and_no_more() {
    let fixture = stores::sqlite().await.unwrap();
    let store = &fixture.store;
    let (plugin, _) = two_catalogs(&**store).await;
    let mut database = rusqlite::Connection::open(fixture.sqlite_file()).unwrap();
    let filling = database.transaction().unwrap();
    for number in 0..BLOCKED - 3 {
        let digest = Sha256::of(&number.to_le_bytes()).0;
        filling.execute("INSERT INTO blocks VALUES (?1, 'x', 'x', 0)", (digest,)).unwrap();
        filling.execute("INSERT INTO blocked_digests VALUES (?1, ?1)", (digest,)).unwrap();
    }
    filling.commit().unwrap();
    let member = plugin.files[0].sha256;
    assert_eq!(store.block(member, "four fall", &actor()).await.unwrap(), SetBlock::TooMany);
    assert_eq!(reasons(&**store).await, [None, None]);
    let (block, made) = block(&**store, plugin.package, "three fall").await;
    assert_eq!((block.digests, made), (3, true));
    assert_eq!(store.block(member, "full", &actor()).await.unwrap(), SetBlock::TooMany);
    assert_eq!(store.blocked_digests().await.unwrap().len(), BLOCKED);
    let (_, made) = blocked_by(store.block(plugin.package, "another reason", &actor()).await.unwrap());
    assert!(!made, "what is there needs no room");
}
